"""A folder as a whole: clone it with hard links, know whether it changed, remove it."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import shutil
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The environment's own lock belongs to installers at work in the live tree, not to its copies.
_NOT_CLONED = frozenset({".lock"})
# Small files that people and old installers write into: a copy of each keeps the states apart. conda writes into all of its
# own records.
_WRITTEN_IN_PLACE = (".pth", ".cfg", ".egg-link", ".ini")
_COPIED_FOLDERS = frozenset({"conda-meta"})
_REMOVE_ATTEMPTS, _REMOVE_PAUSE_S = 5, 0.5
_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_BTIME = 0x800
_NO_LINK = frozenset({errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EXDEV, errno.EACCES})


def clone_tree(source: Path, target: Path) -> None:
    """Make `target` a copy of `source` whose files are hard links: nothing is copied, both see the same bytes.

    Safe as long as whoever changes the clone replaces files and never writes into them; installers do. Where the file
    system refuses a link, that file is copied. Modes and times of folders are kept.

    Raises:
        OSError: a folder or file could not be made; what was made so far stays.
    """
    _clone(os.fspath(source), os.fspath(target), _NOT_CLONED)


@contextmanager
def flushing(folder: Path) -> Iterator[None]:
    """Bring everything that was written to the file system of `folder` onto the disk, beside what is done meanwhile.

    Without it a power cut soon after an exchange could leave a new name and files without their bytes.
    """
    thread = threading.Thread(target=_sync, args=(folder,))
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _sync(folder: Path) -> None:
    """syncfs(2): one call for all files of a file system, where a call per file would take minutes."""
    syncfs = getattr(ctypes.CDLL(None), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syncfs(descriptor)
    finally:
        os.close(descriptor)


def _clone(source: str, target: str, left_out: frozenset[str]) -> None:
    """With names as plain text: for twenty thousand files, objects of them would take as long as the links."""
    os.mkdir(target)  # noqa: PTH102
    link = _copy if target.rpartition("/")[2] in _COPIED_FOLDERS else _link
    with os.scandir(source) as entries:
        for entry in entries:
            copy = f"{target}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), copy)  # noqa: PTH115, PTH211 - the text of the link, as it is
            elif entry.is_dir():
                _clone(entry.path, copy, frozenset())
            elif entry.name not in left_out:
                link(entry.path, copy)
    shutil.copystat(source, target)


def _copy(source: str, copy: str) -> None:
    shutil.copy2(source, copy, follow_symlinks=False)


def _link(source: str, copy: str) -> None:
    if copy.endswith(_WRITTEN_IN_PLACE):
        _copy(source, copy)
        return
    try:
        os.link(source, copy)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy(source, copy)


def fingerprint(root: Path) -> str:
    """A hash over path, mode, size, time and link text of everything below `root`; contents are not read.

    A file that is replaced or written to changes it. Times of folders are left out: a folder is what is in it; so is
    compiled code in ``__pycache__``, which Python makes again.
    """
    digest = hashlib.blake2b(digest_size=16)
    for line in _describe(root, ""):
        digest.update(line)
    return digest.hexdigest()


def _describe(folder: Path, prefix: str) -> Iterator[bytes]:
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        name = prefix + entry.name
        if entry.name in _NOT_CLONED and not prefix:
            continue
        if entry.is_symlink():
            yield os.fsencode(f"l {name} {os.readlink(entry.path)}\0")  # noqa: PTH115
        elif entry.is_dir():
            if entry.name == "__pycache__":
                continue  # whoever imports something meanwhile writes there; Python makes it anew
            yield os.fsencode(f"d {name} {entry.stat(follow_symlinks=False).st_mode:o}\0")
            yield from _describe(Path(entry.path), name + "/")
        else:
            status = entry.stat(follow_symlinks=False)
            yield os.fsencode(f"f {name} {status.st_mode:o} {status.st_size} {status.st_mtime_ns}\0")


def remove_tree(root: Path) -> None:
    """Remove a folder, folders in it that may not be written included; it is fine if it is gone already."""
    if not os.path.lexists(root):
        return
    for attempt in range(_REMOVE_ATTEMPTS):
        try:
            for folder in _folders(root):
                folder.chmod(0o700)  # folders are never shared with another state
            shutil.rmtree(root)
            return
        except OSError as error:
            # An installer that outlived a killed archfit may still be writing here.
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT) or attempt + 1 == _REMOVE_ATTEMPTS:
                raise
            time.sleep(_REMOVE_PAUSE_S)


def _folders(folder: Path) -> Iterator[Path]:
    yield folder
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    for name in names:
        yield from _folders(folder / name)


def identity(root: Path) -> str | None:
    """What tells one folder from all others whatever it is called: inode and time of birth; None where nothing is.

    The inode alone is not enough: file systems give the one of a removed folder to the next that is made.
    """
    try:
        number = os.lstat(root).st_ino
    except FileNotFoundError:
        return None
    return f"{number}@{_born_ns(root)}"


def _born_ns(path: Path) -> int:
    """When a file was made, in ns since 1970; 0 where the file system or the C library does not tell.

    Source: statx(2); offsets of `struct statx` from linux/stat.h, the same on all 64-bit machines.
    """
    statx = getattr(ctypes.CDLL(None), "statx", None)
    answer = ctypes.create_string_buffer(256)
    if statx is None or statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, answer) != 0:
        return 0
    (told,) = struct.unpack_from("=I", answer, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", answer, 80)
    return int(seconds * 1_000_000_000 + nanoseconds) if told & _STATX_BTIME else 0
