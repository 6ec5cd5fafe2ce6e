"""Fill a folder with every wheel of a plan's best option, for a machine without a network.

What lies there already is checked and not loaded again; a file that was cut is taken up where it ended.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

from packaging.tags import Tag

from archfit.errors import ApplyError, Interrupted, ObserveError
from archfit.model import LockedPackage
from archfit.scan.index import RemoteWheel, open_remote
from archfit.scan.releases import published
from archfit.scan.tags import best_fit, tags_for
from archfit.together import abandon, start
from archfit.transaction.bundle import Wheel, wheel_folder

OnCount = Callable[[int], None]

_SIDE_BY_SIDE = 3
_READ_BYTES = 1 << 22
_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """The interpreter that the wheels are for: ``cp311``, ``linux_x86_64``, ``glibc 2.36`` (None: not known)."""

    python_tag: str
    platform: str
    libc: str | None


def find_wheels(packages: Sequence[LockedPackage], target: Target) -> tuple[RemoteWheel, ...]:
    """The one file of each package that fits the target best, among those whose hashes the plan has.

    Raises:
        ObserveError: an index does not list such a file.
    """
    tags = tags_for(target.python_tag, target.platform, target.libc)
    tasks = start([partial(_find, package, tags) for package in packages], _SIDE_BY_SIDE)
    try:
        return tuple(task.result() for task in tasks)
    finally:
        abandon(tasks, 0)


def _find(package: LockedPackage, tags: tuple[Tag, ...]) -> RemoteWheel:
    index = package.index if package.index and package.index != "PyPI" else None
    allowed = set(package.hashes)
    files = {file.file: file for file in published(package.name, index) if file.sha256 in allowed}
    best = best_fit(files, tags)
    if best is None:
        where = package.index or "PyPI"
        raise ObserveError("bundle-no-wheel", package=f"{package.name} {package.wanted}", index=where)
    return files[best]


def fill(
    folder: Path,
    files: Sequence[RemoteWheel],
    on_bytes: OnCount = lambda _: None,
    on_total: OnCount = lambda _: None,
) -> tuple[Wheel, ...]:
    """Load the files into the folder's wheels, each held against its hash; returns what lies there in the end.

    Raises:
        ApplyError: there is no room, or a file does not have the bytes that the index promised; what was loaded stays.
        ObserveError: an index stopped answering; what was loaded stays.
        Interrupted: the person stopped it; what was loaded stays.
    """
    wheels = wheel_folder(folder)
    try:
        wheels.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ApplyError("bundle-unwritable", path=folder, cause=error.strerror) from error
    sizes = sum(file.size_bytes or 0 for file in files)
    _check_room(wheels, files, sizes)
    on_total(sizes)
    stop = Event()
    tasks = start([partial(_load, wheels, file, on_bytes, stop) for file in files], _SIDE_BY_SIDE)
    try:
        return tuple(task.result() for task in tasks)
    except BaseException:
        stop.set()
        abandon(tasks, _GRACE_S)
        raise


def _check_room(wheels: Path, files: Sequence[RemoteWheel], total: int) -> None:
    held = sum(path.stat().st_size for f in files for path in (wheels / f.file, _part(wheels, f)) if path.is_file())
    free = shutil.disk_usage(wheels).free
    if total - held > free:
        raise ApplyError("bundle-no-room", path=wheels, needed=total - held, free=free)


def _part(wheels: Path, file: RemoteWheel) -> Path:
    return wheels / f"{file.file}.part"


def _load(wheels: Path, file: RemoteWheel, on_bytes: OnCount, stop: Event) -> Wheel:
    path, part = wheels / file.file, _part(wheels, file)
    if path.is_file() and _digest(path, stop) == (file.sha256, file.size_bytes or path.stat().st_size):
        on_bytes(path.stat().st_size)
        return Wheel(file.file, str(file.sha256), path.stat().st_size)
    with open_remote(file) as archive, part.open("ab") as out:
        offset = min(out.tell(), archive.size_bytes)
        on_bytes(offset)
        try:
            for piece in archive.stream(archive.size_bytes - offset, offset) if offset < archive.size_bytes else ():
                _go_on(stop)
                out.write(piece)
                on_bytes(len(piece))
        except OSError as error:
            raise ApplyError("bundle-unwritable", path=part, cause=error.strerror) from error
    found, size_bytes = _digest(part, stop)
    if found != file.sha256:
        part.unlink()  # a rest that does not belong to this file would spoil every further try
        raise ApplyError("bundle-wrong-bytes", file=file.file, found=found, expected=file.sha256)
    part.replace(path)
    return Wheel(file.file, found, size_bytes)


def _digest(path: Path, stop: Event) -> tuple[str, int]:
    digest, count = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            _go_on(stop)
            digest.update(block)
            count += len(block)
    return digest.hexdigest(), count


def _go_on(stop: Event) -> None:
    """A thread cannot be ended from outside: each looks at this with every piece."""
    if stop.is_set():
        raise Interrupted("stopped")
