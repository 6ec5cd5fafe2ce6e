"""Wheels: the GPU code of every member, read while it is inflated; nothing is unpacked to disk.

A wheel on disk and one behind a package index are the same here: `Archive` reads at offsets. Member bytes are inflated with
ISA-L, about twice as fast as zlib.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

try:
    from isal import isal_zlib as inflater
    from isal.igzip_lib import IsalError as InflateError
except ImportError:  # carried to a node of a fleet, archfit has its pure Python packages only
    import zlib as inflater  # type: ignore[no-redef]
    from zlib import error as InflateError  # type: ignore[assignment]

from archfit.binary.compilers import CompilerTexts, compiler_kind
from archfit.binary.source import open_file, peek, read_exactly
from archfit.binary.stream import read_stream
from archfit.errors import FormatError
from archfit.model import Compiler, Library

_CODE = re.compile(
    r"(\.so(\.\d+)*|\.dll|\.pyd|\.cubin|\.ptx|\.fatbin|\.a|\.lib|\.exe|(^|/)ptxas[\w-]*)$", re.IGNORECASE
)
_LOCAL_HEADER_BYTES = 30
_INPUT_BYTES = 1 << 18
_OUTPUT_BYTES = 1 << 20
_ENCRYPTED, _STORED, _DEFLATED = 0x1, 0, 8
_LARGEST_RATIO, _LARGEST_UNCHECKED_BYTES = 250, 64 << 20  # libraries inflate to 2 to 20 times their size


OnBytes = Callable[[int], None]
"""Told how many packed bytes were read since the last time; may raise to stop."""


class Archive(Protocol):
    """Bytes of a zip file that can be read at offsets and as a stream from an offset on."""

    @property
    def size_bytes(self) -> int:
        """Of the whole file."""

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`."""

    def stream(self, size: int, offset: int) -> Iterator[bytes]:
        """`size` bytes from `offset` on, in pieces."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a wheel: offset of its local header, sizes in bytes, and how it is packed."""

    name: str
    offset: int
    packed_bytes: int
    size_bytes: int
    method: int
    flags: int
    crc: int

    @property
    def may_hold_code(self) -> bool:
        """Does its name say that there can be GPU code, or a compiler, in it?"""
        return _CODE.search(self.name) is not None


class FileArchive:
    """A zip file on disk."""

    def __init__(self, read: Callable[[int, int], bytes], size_bytes: int) -> None:
        self.read = read
        self.size_bytes = size_bytes

    def stream(self, size: int, offset: int) -> Iterator[bytes]:
        """`size` bytes from `offset` on, in pieces."""
        while size > 0 and (piece := peek(self.read, min(_INPUT_BYTES, size), offset)):
            yield piece
            offset, size = offset + len(piece), size - len(piece)


@contextmanager
def open_wheel(path: Path) -> Iterator[FileArchive]:
    """Open a wheel on disk; raises OSError or FormatError."""
    with open_file(path) as (read, size_bytes):
        yield FileArchive(read, size_bytes)


def list_members(archive: Archive) -> tuple[Member, ...]:
    """The directory of a zip file.

    Raises:
        FormatError: no zip file, cut short, or members that claim more bytes than the file has.
    """
    try:
        with zipfile.ZipFile(_Seekable(archive)) as opened:
            rows = opened.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, UnicodeDecodeError) as error:
        raise FormatError("not-zip", offset=0, cause=str(error)) from error
    members = tuple(
        Member(r.filename, r.header_offset, r.compress_size, r.file_size, r.compress_type, r.flag_bits, r.CRC)
        for r in rows
        if not r.filename.endswith("/")
    )
    packed = sum(member.packed_bytes for member in members)
    if packed > archive.size_bytes:
        raise FormatError("zip-bomb", offset=0, found=packed, expected=archive.size_bytes)
    return members


def read_member(
    archive: Archive, member: Member, on_bytes: OnBytes | None = None
) -> tuple[Library | None, Compiler | None]:
    """Read the GPU code of one member, or what it can compile for, or both.

    `on_bytes` is told how many packed bytes were read since the last time.

    Raises:
        FormatError: the member cannot be read, or is no library.
    """
    refuse_unsafe(member)
    kind = compiler_kind(member.name)
    if kind is None:
        return read_stream(lambda: inflate(archive, member, on_bytes), member.name, member.size_bytes), None
    texts = CompilerTexts(member.name)
    if kind in ("ptxas", "libdevice"):
        for piece in inflate(archive, member, on_bytes):
            texts.feed(piece)
        return None, texts.compiler()
    library = read_stream(lambda: _shared(archive, member, texts, on_bytes), member.name, member.size_bytes)
    return library, texts.compiler()


def refuse_unsafe(member: Member) -> None:
    """Raise FormatError for a member that no honest wheel has."""
    parts = re.split(r"[/\\]", member.name)
    if ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", member.name):
        raise FormatError("zip-name", offset=member.offset, name=member.name)
    if member.flags & _ENCRYPTED:
        raise FormatError("zip-encrypted", offset=member.offset)
    if member.method not in (_STORED, _DEFLATED):
        raise FormatError("zip-method", offset=member.offset, found=member.method)
    too_dense = member.size_bytes > _LARGEST_RATIO * max(1, member.packed_bytes)
    if too_dense and member.size_bytes > _LARGEST_UNCHECKED_BYTES:
        raise FormatError("zip-bomb", offset=member.offset, found=member.size_bytes, expected=member.packed_bytes)


def inflate(archive: Archive, member: Member, on_bytes: OnBytes | None = None) -> Iterator[bytes]:
    """The bytes of a member in pieces of at most 1 MB.

    Raises:
        FormatError: the packed bytes are damaged, or end early; or, behind the last piece, the checksum is another.
    """
    header = peek(archive.read, _LOCAL_HEADER_BYTES, member.offset)
    if len(header) != _LOCAL_HEADER_BYTES or header[:4] != b"PK\3\4":
        raise FormatError("zip-member", offset=member.offset, found=header[:4].hex(" "))
    name_bytes, extra_bytes = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    start = member.offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
    pieces = _counted(archive.stream(member.packed_bytes, start), on_bytes)
    found = 0
    for piece in pieces if member.method == _STORED else _inflate(pieces, member):
        found = inflater.crc32(piece, found)
        yield piece
    if found != member.crc:
        raise FormatError("zip-crc", offset=member.offset, found=f"{found:08x}", expected=f"{member.crc:08x}")


def _shared(archive: Archive, member: Member, texts: CompilerTexts, on_bytes: OnBytes | None) -> Iterator[bytes]:
    for piece in inflate(archive, member, on_bytes):
        texts.feed(piece)
        yield piece


def _inflate(pieces: Iterable[bytes], member: Member) -> Iterator[bytes]:
    machine = inflater.decompressobj(-15)
    try:
        for packed in pieces:
            piece = machine.decompress(packed, _OUTPUT_BYTES)
            while piece:
                yield piece
                piece = machine.decompress(machine.unconsumed_tail, _OUTPUT_BYTES) if machine.unconsumed_tail else b""
            if machine.eof:
                return
        while piece := machine.flush(_OUTPUT_BYTES):
            yield piece
    except (InflateError, EOFError, ValueError) as error:  # type: ignore[misc]  # the stub takes the class for an instance
        raise FormatError("zip-damaged", offset=member.offset, cause=str(error)) from error
    if not machine.eof:
        raise FormatError("zip-damaged", offset=member.offset, cause="ends early")


def _counted(pieces: Iterable[bytes], on_bytes: OnBytes | None) -> Iterator[bytes]:
    for piece in pieces:
        if on_bytes:
            on_bytes(len(piece))
        yield piece


class _Seekable:
    """What `zipfile` reads the directory from."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        at = offset + (0, self._at, self._archive.size_bytes)[whence]
        if at < 0:
            raise ValueError("an offset before the start")
        self._at = at
        return at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._archive.size_bytes - self._at)
        data = read_exactly(self._archive.read, left if size < 0 else min(size, left), self._at, "zip directory")
        self._at += len(data)
        return data
