"""Many files at once: a disk answers several questions in the time of one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from archfit.binary.library import Search, read_library
from archfit.errors import FormatError
from archfit.model import Library

THREADS = 8
"""Files read at the same time. Cold, eight halve the time of one; warm, they cost nothing (docs/measurements.md)."""


class Wanted(NamedTuple):
    """A file to read, as `read_library` takes it."""

    path: Path
    name: str
    search: Search = "all"


def read_libraries(
    files: Sequence[Wanted], on_read: Callable[[int, int], None] | None = None, *, threads: int = THREADS
) -> list[Library | FormatError | OSError]:
    """Read the GPU code of many files; one that cannot be read has its error in its place.

    `on_read` is told how many files are done and how many there are, from whichever thread read the last one.
    """
    found: dict[int, Library | FormatError | OSError] = {}
    # The largest first, so that none is left for one thread at the end.
    todo = deque(sorted(range(len(files)), key=lambda index: _size_bytes(files[index].path), reverse=True))

    def work() -> None:
        while todo:
            try:
                index = todo.popleft()
            except IndexError:  # another thread was faster
                return
            found[index] = _try(files[index])
            if on_read:
                on_read(len(found), len(files))

    with ThreadPoolExecutor(min(threads, len(files)) or 1) as pool:
        workers = [pool.submit(work) for _ in range(threads)]
        try:
            for worker in workers:
                worker.result()
        finally:
            todo.clear()  # interrupted, or a thread failed: the others stop after the file at hand
    return [found[index] for index in range(len(files))]


def _try(wanted: Wanted) -> Library | FormatError | OSError:
    try:
        return read_library(wanted.path, wanted.name, search=wanted.search)
    except (FormatError, OSError) as error:
        return error


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
