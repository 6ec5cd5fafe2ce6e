"""Where bytes come from, and the sections that every object format has."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from archfit.errors import FormatError

Read = Callable[[int, int], bytes]
"""``read(size, offset)`` returns up to `size` bytes at `offset`, as ``os.pread`` does behind a descriptor.

The walk over code objects calls it 20,000 times for one environment, so it is that very function where it can be. Sizes and
offsets out of a file may be absurd: those go through `read_exactly` or `peek`.
"""

LARGEST_FILE_BYTES = 1 << 62
LARGEST_READ_BYTES = 1 << 26
"""No table of an honest file is larger, and a sparse file that claims one costs no memory."""
_PIECE_BYTES = 1 << 24
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_NOATIME = getattr(os, "O_NOATIME", 0)  # Linux


class Section(NamedTuple):
    """A part of an object file that has bytes in it; `offset` and `size` in bytes, `address` where it is loaded.

    `loaded` sections are in memory when the program runs, `executable` ones hold machine code of the CPU. `type` and `link`
    are ELF's own numbers, 0 elsewhere.
    """

    name: str
    offset: int
    size: int
    address: int = 0
    loaded: bool = True
    executable: bool = False
    type: int = 0
    link: int = 0
    writable: bool = False

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.offset + self.size


class FileRead(partial[bytes]):
    """``os.pread`` of one open file, which says of which, for who can read faster than by calls."""

    @property
    def descriptor(self) -> int:
        """The file's number."""
        return int(self.args[0])


def read_exactly(read: Read, size: int, offset: int, what: str, limit: int = LARGEST_READ_BYTES) -> bytes:
    """Read `size` bytes or raise FormatError("file-cut") that says where the file ends; "too-large" over `limit` bytes.

    A size that the file does not have costs no memory: large ones are read in pieces.
    """
    if size > limit:
        raise _too_large_or_cut(read, size, offset, what, limit)
    data = peek(read, min(size, _PIECE_BYTES), offset)
    if size > _PIECE_BYTES and len(data) == _PIECE_BYTES:
        pieces = [data]
        while (missing := size - sum(map(len, pieces))) > 0 and (
            piece := peek(read, min(missing, _PIECE_BYTES), offset + size - missing)
        ):
            pieces.append(piece)
        data = b"".join(pieces)
    if len(data) != size:
        raise FormatError("file-cut", what=what, offset=offset, expected=size, found=len(data))
    return data


def _too_large_or_cut(read: Read, size: int, offset: int, what: str, limit: int) -> FormatError:
    if peek(read, 1, offset + size - 1):
        return FormatError("too-large", what=what, offset=offset, found=size, expected=limit)
    return FormatError("file-cut", what=what, offset=offset, expected=size, found=len(peek(read, _PIECE_BYTES, offset)))


def peek(read: Read, size: int, offset: int) -> bytes:
    """Read at an offset that came out of the file: nothing where no file can be that large."""
    return read(size, offset) if 0 <= offset < LARGEST_FILE_BYTES and 0 < size <= _PIECE_BYTES else b""


def text_at(data: bytes, offset: int) -> str:
    """The zero-terminated text at `offset`; what stands there if nothing ends it."""
    end = data.find(b"\0", offset)
    return data[offset : end if end >= 0 else len(data)].decode("utf-8", "replace")


def reader_of(data: bytes, start: int = 0) -> Read:
    """Read from bytes in memory, the first of which is at offset `start`."""
    return lambda size, offset: data[offset - start : offset - start + size]


def part_of(read: Read, start: int, length: int) -> Read:
    """Read from a file within a file: offset 0 is `start`, nothing is seen behind `length`."""

    def read_part(size: int, offset: int) -> bytes:
        return peek(read, min(size, length - offset), start + offset)

    return read_part


def _open(path: Path) -> int:
    """A descriptor. The time of last access is left alone where that is allowed: looking changes nothing, and costs less."""
    try:
        return os.open(path, _FLAGS | _NOATIME)
    except PermissionError:  # the file is somebody else's, or may not be read at all
        return os.open(path, _FLAGS)


@contextmanager
def open_file(path: Path) -> Iterator[tuple[Read, int]]:
    """Open a file for reading at offsets; gives the reader and the size in bytes.

    Raises:
        OSError: the file cannot be opened.
        FormatError: what is there is no file (a pipe or a device would be waited for without end).
    """
    descriptor = _open(path)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FormatError("not-a-file", offset=0, path=path)
        yield FileRead(os.pread, descriptor), status.st_size
    finally:
        os.close(descriptor)
