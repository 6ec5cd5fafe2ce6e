"""Which folders can be cloned and exchanged: everything that cannot is refused before anything is begun."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from archfit.errors import ApplyError
from archfit.model import CONDA_BASE
from archfit.transaction.exchange import rename_exchange
from archfit.transaction.users import users_of

_OVERLAY = 0x794C7630
"""`f_type` of overlayfs, from linux/magic.h."""


def locate(root: Path) -> Path:
    """The real folder of an environment, through symbolic links; a rehearsal that was cut off is ended first."""
    probe = _probe_name(root)
    if root.is_symlink() and root.parent / root.readlink() == probe:
        rename_exchange(root, probe)
        probe.unlink()
    return root.resolve()


def refuse_unfit(root: Path) -> None:
    """Say no to what cannot be changed this way.

    Raises:
        ApplyError: no environment of its own, another user's, not writable, or not to be exchanged.
    """
    root = locate(root)
    _refuse_base(root)
    for folder in (root, root.parent):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ApplyError("refuse-read-only", path=folder, target=root)
    _refuse_mounts(root)
    owner = root.stat().st_uid
    if owner != os.geteuid():
        raise ApplyError("refuse-owner", target=root, owner=_user(owner))
    for folder in _code_folders(root):
        if not _inside(folder, root):
            raise ApplyError("refuse-outside", path=folder, real=folder.resolve(), target=root)
    _refuse_image_layer(root)


def refuse_busy(root: Path) -> None:
    """Name the processes that run from the environment.

    Raises:
        ApplyError: there are some.
    """
    if users := users_of(root):
        raise ApplyError("in-use", target=root, count=len(users), processes=", ".join(map(str, users[:_NAMED])))


_NAMED = 5


def refuse_full_disk(folder: Path, needed: int | None) -> None:
    """Compare what a change takes with what is free.

    Raises:
        ApplyError: there is not enough room.
    """
    free = shutil.disk_usage(folder).free
    if needed is not None and free < needed:
        raise ApplyError("disk-full", needed=_gigabytes(needed), free=_gigabytes(free), path=folder)


def refuse_linked(root: Path, packages: dict[str, tuple[str, ...]]) -> None:
    """Refuse to replace packages that lie, through a link in site-packages, in a folder of somebody else.

    `packages` are the names of those that change, with their top-level modules.

    Raises:
        ApplyError: an installer would follow the link and change what is behind it.
    """
    tops = {top: name for name, modules in packages.items() for top in (name.replace("-", "_"), *modules)}
    for site in _site_folders(root):
        for path in (site / top for top in tops):
            if path.is_symlink() and path.is_dir() and not _inside(path, root):
                raise ApplyError("refuse-linked", package=tops[path.name], path=path, real=path.resolve(), target=root)


def _refuse_base(root: Path) -> None:
    if (root / "pyvenv.cfg").is_file():
        return
    if not (root / "conda-meta").is_dir():
        raise ApplyError("refuse-not-venv", target=root)
    if any((root / part).exists() for part in CONDA_BASE):
        raise ApplyError("refuse-conda-base", target=root)
    # https://pixi.prefix.dev/latest/workspace/environment/, read 2026-11-25
    if (root / "conda-meta/pixi").exists():
        raise ApplyError("refuse-pixi", target=root)
    marks = (root / "conda-meta/frozen", *root.glob("lib/python*/EXTERNALLY-MANAGED"))  # CEP 22, PEP 668
    if mark := next((mark for mark in marks if mark.exists()), None):
        raise ApplyError("refuse-conda-closed", target=root, path=mark)


def _code_folders(root: Path) -> Iterator[Path]:
    """Where installers write."""
    yield from (
        folder for name in ("bin", "lib", "lib64", "include", "share", "etc") if (folder := root / name).exists()
    )
    yield from _site_folders(root)


def _site_folders(root: Path) -> Iterator[Path]:
    for lib in ("lib", "lib64"):
        yield from (root / lib).glob("python*/site-packages")


def _inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root)


def _refuse_mounts(root: Path) -> None:
    points = _mount_points()
    if os.path.ismount(root) or root in points:
        raise ApplyError("refuse-mount", target=root)
    if inside := next((point for point in points if point.is_relative_to(root)), None):
        raise ApplyError("refuse-mount-inside", path=inside, target=root)


def _mount_points() -> tuple[Path, ...]:
    """Where something is mounted, bind mounts too, as this process sees it; nothing where there is no /proc."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return ()
    names = (line.split(b" ")[4] for line in lines)  # blanks and the like are written as octal numbers: proc(5)
    return tuple(Path(os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), name))) for name in names)


def _refuse_image_layer(root: Path) -> None:
    """Folders in a layer of a container's image cannot be renamed (EXDEV); only trying tells.

    What is tried does no harm: the environment trades names with a link that leads, from its new place, back to it. So its
    name leads to it at every moment.
    """
    if _file_system(root) != _OVERLAY:
        return
    probe = _probe_name(root)
    with suppress(FileNotFoundError):
        probe.unlink()
    probe.symlink_to(probe.name)
    try:
        rename_exchange(root, probe)
        rename_exchange(root, probe)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise ApplyError("refuse-image", target=root) from error
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    finally:
        probe.unlink()


def _probe_name(root: Path) -> Path:
    return root.with_name(f"{root.name}.archfit-probe")


def _file_system(path: Path) -> int:
    """`f_type` of statfs(2); 0 where the C library does not tell. Its first field, a long, on all 64-bit Linux."""
    statfs = getattr(ctypes.CDLL(None), "statfs", None)
    answer = ctypes.create_string_buffer(256)
    if statfs is None or statfs(os.fsencode(path), answer) != 0:
        return 0
    return ctypes.c_long.from_buffer(answer).value


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"'#{number}'"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
