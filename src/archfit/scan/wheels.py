"""One wheel, on disk or behind an index: its members read side by side."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from threading import Event

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from archfit.arch import CudaVersion
from archfit.binary.wheel import Archive, Member, OnBytes, inflate, list_members, read_member
from archfit.errors import FormatError, Interrupted
from archfit.model import Compiler, Distribution, Library, Text
from archfit.together import abandon, start

_LARGEST_PAGE_BYTES = 1 << 20
_CUDA = re.compile(r"^cuda\b[^=\n]*=\s*['\"](\d+\.\d+)['\"]", re.MULTILINE)
_SIDE_BY_SIDE = min(4, os.cpu_count() or 1)
_GRACE_S = 0.2


def read_wheel(
    archive: Archive, file: str, on_bytes: OnBytes | None = None, on_total: OnBytes | None = None
) -> tuple[Distribution, tuple[tuple[str, Text], ...], CudaVersion | None]:
    """The package in a wheel with its libraries and compilers, the members that could not be read, and torch's CUDA.

    `on_total` is told once how many packed bytes there are to read; `on_bytes` may raise to stop everything.

    Raises:
        FormatError: the file is no wheel.
        ObserveError: the server that it lies on stopped answering.
    """
    members = list_members(archive)
    # Largest first, so that no core waits for the last one.
    worth = sorted((m for m in members if m.may_hold_code), key=lambda m: (-m.packed_bytes, m.name))
    if on_total:
        on_total(sum(m.packed_bytes for m in worth))
    libraries: list[Library] = []
    compilers: list[Compiler] = []
    unreadable: list[tuple[str, Text]] = []
    stop = Event()
    tasks = start([partial(read_member, archive, m, _until(stop, on_bytes)) for m in worth], _SIDE_BY_SIDE)
    try:
        for member, task in zip(worth, tasks, strict=True):
            try:
                library, compiler = task.result()
            except FormatError as error:
                unreadable.append((member.name, Text.why(error)))
            else:
                libraries += [library] if library else []
                compilers += [compiler] if compiler else []
    except BaseException:
        stop.set()
        abandon(tasks, _GRACE_S)
        raise
    name, version = name_and_version(file)
    found = (tuple(sorted(libraries, key=_path)), tuple(sorted(compilers, key=_path)))
    return Distribution(name, version, (), (), *found), tuple(sorted(unreadable, key=_first)), _cuda(archive, members)


def name_and_version(file: str) -> tuple[str, str]:
    """From a wheel's file name; the whole name and nothing for a file that is not called like a wheel."""
    try:
        name, version, _, _ = parse_wheel_filename(file)
    except InvalidWheelFilename:
        return file.removesuffix(".whl"), ""
    return str(name), str(version)


def _until(stop: Event, on_bytes: OnBytes | None) -> OnBytes:
    """`on_bytes` that raises once `stop` is set: a thread cannot be ended from outside."""

    def count(size: int) -> None:
        if stop.is_set():
            raise Interrupted("stopped")
        if on_bytes:
            on_bytes(size)

    return count


def _path(found: Library | Compiler) -> str:
    return found.path


def _first(pair: tuple[str, Text]) -> str:
    return pair[0]


def _cuda(archive: Archive, members: Iterable[Member]) -> CudaVersion | None:
    """As torch's own version file says."""
    page = next((m for m in members if m.name == "torch/version.py" and m.size_bytes < _LARGEST_PAGE_BYTES), None)
    with suppress(FormatError):
        if page and (match := _CUDA.search(b"".join(inflate(archive, page)).decode("utf-8", "replace"))):
            return CudaVersion.parse(match[1])
    return None
