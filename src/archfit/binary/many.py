"""Many files at once: a disk answers several questions in the time of one."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from archfit.binary.library import Search, read_library
from archfit.binary.source import LARGEST_FILE_BYTES
from archfit.errors import FormatError
from archfit.model import Library

COLD_THREADS = 8
"""Files read at the same time where they come from a disk: eight take half the time of one. From memory one is quicker, since
the work between the reads does not run side by side (docs/measurements.md)."""

_PROBED = 4
_HEADER_BYTES = 64


class Wanted(NamedTuple):
    """A file to read, as `read_library` takes it."""

    path: Path
    name: str
    search: Search = "all"


def read_libraries(
    files: Sequence[Wanted], on_read: Callable[[int], None] | None = None, *, threads: int | None = None
) -> list[Library | FormatError | OSError]:
    """Read the GPU code of many files; one that cannot be read has its error in its place.

    `threads` is how many are read at a time; the default is one if the files are in memory, else COLD_THREADS.

    `on_read` is told the size of each file in bytes once it is done, from whichever thread read it.
    """
    found: dict[int, Library | FormatError | OSError] = {}
    sizes = [size_bytes(file.path) for file in files]
    # The largest first, so that none is left for one thread at the end.
    todo = deque(sorted(range(len(files)), key=sizes.__getitem__, reverse=True))
    if threads is None:
        threads = COLD_THREADS if any(_is_cold(files[index].path) for index in list(todo)[:_PROBED]) else 1

    def work() -> None:
        while todo:
            try:
                index = todo.popleft()
            except IndexError:  # another thread was faster
                return
            found[index] = _try(files[index])
            if on_read:
                on_read(sizes[index])

    if threads == 1:
        work()
        return [found[index] for index in range(len(files))]
    with ThreadPoolExecutor(min(threads, len(files)) or 1) as pool:
        workers = [pool.submit(work) for _ in range(threads)]
        try:
            for worker in workers:
                worker.result()
        finally:
            todo.clear()  # interrupted, or a thread failed: the others stop after the file at hand
    return [found[index] for index in range(len(files))]


def _is_cold(path: Path) -> bool:
    """Would reading the headers of this file wait for a disk? True also where the system cannot tell."""
    head = bytearray(_HEADER_BYTES)
    try:
        with path.open("rb", buffering=0) as file:
            os.preadv(file.fileno(), [head], 0, os.RWF_NOWAIT)
            sections = int.from_bytes(head[40:48], "little")  # of an ELF file; they stand at its end
            if head.startswith(b"\x7fELF") and sections < LARGEST_FILE_BYTES:
                os.preadv(file.fileno(), [head], sections, os.RWF_NOWAIT)
    except (OSError, AttributeError):  # BlockingIOError says that it would
        return True
    return False


def _try(wanted: Wanted) -> Library | FormatError | OSError:
    try:
        return read_library(wanted.path, wanted.name, search=wanted.search)
    except (FormatError, OSError) as error:
        return error


def size_bytes(path: Path) -> int:
    """The size of a file; 0 where nobody can tell."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
