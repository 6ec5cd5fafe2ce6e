"""The fatbin container: which code objects it holds, read from headers alone.

Nothing is decompressed, because headers never are compressed. There is no public specification; the layout was confirmed
by the file format notes of the project on 49,132 containers of released packages, by the samples in ``tests/data`` and by
``tools/compare_cuobjdump.py``. All integers are little-endian; sizes and offsets are in bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from archfit.arch import ComputeCapability, Suffix, Target
from archfit.binary.source import Read, peek, read_exactly
from archfit.errors import FormatError
from archfit.model import CodeKind, CodeObject

CONTAINER_START = bytes.fromhex("50ed55ba01001000")
"""Magic 0xBA55ED50, version 1, header size 16: eight bytes that were never seen as anything else in data sections."""

_CONTAINER_HEADER_BYTES = 16
HEAD_BYTES = _CONTAINER_HEADER_BYTES + 64
"""The header of a container and that of its first entry: one read for both."""
# Of the 64 bytes: kind, version, size of this header, padded size of the payload, minor, major, arch, flags, plain size.
_ENTRY = struct.Struct("<HHIQ8xHHI8xQ8xQ")
_ENTRY_BYTES = _ENTRY.size
_ENTRY_VERSION = 0x0101
_MAX_ENTRY_HEADER_BYTES = 1 << 24  # a concatenated entry has 64 bytes and more for each of its parts
_CONCATENATED = 0x100
_ELF, _CUBIN = 0x02, 0x04
_KINDS: dict[int, CodeKind] = {
    0x01: "ptx", _ELF: "sass", _CUBIN: "sass", 0x08: "lto", 0x20: "index", 0x40: "ptx", 0x80: "tile",
}  # fmt: skip
_FLAG_DEBUG, _FLAG_OBFUSCATED = 0x2, 0x10000
_FLAG_ARCH_SPECIFIC, _FLAG_FAMILY = 0x100000, 0x200000
_FLAG_LZ4, _FLAG_ZSTD, _FLAGS_COMPRESSED = 0x2000, 0x8000, 0xF000

# Smallest cubin with a kernel ever seen, by generation of the ELF inside (73,000 cubins). What is smaller comes from a
# source file without device code, which nvcc still gives a container for its default target.
_SMALLEST_KERNEL_ABI7, _SMALLEST_KERNEL_ABI8, _SMALLEST_KERNEL_SM100 = 1696, 2856, 4816

Numbers = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry with its place in the file, for who wants the code itself: all numbers in bytes.

    `compressed_bytes` is 0 where the payload is stored as it is.
    """

    code: CodeObject
    offset: int
    payload_bytes: int
    compressed_bytes: int
    plain_bytes: int


class Codes:
    """Every distinct description of a code object of one file, numbered: a library has 20,000 entries and few of these."""

    def __init__(self) -> None:
        self.objects: list[CodeObject] = []
        self._index: dict[CodeObject, int] = {}
        self.rows: dict[tuple[int, ...], tuple[int, int, int]] = {}
        """kind, minor, major, arch, flags -> number if smaller than a kernel can be, number if not, that size in bytes"""

    def row(self, key: tuple[int, ...]) -> tuple[int, int, int]:
        """Number the two code objects that entries with these fields can be."""
        kind, minor, major, arch, flags = key
        full = self.add(_describe(kind, arch, flags, major, minor, has_kernels=True))
        if kind not in (_ELF, _CUBIN):
            self.rows[key] = (full, full, 0)
        else:
            empty = self.add(_describe(kind, arch, flags, major, minor, has_kernels=False))
            self.rows[key] = (empty, full, _smallest_kernel(arch, minor))
        return self.rows[key]

    def number(self, fields: tuple[int, ...]) -> int:
        """The number of the code object that an entry header describes."""
        key = (fields[0], *fields[4:8])
        empty, full, smallest = self.rows.get(key) or self.row(key)
        return full if (fields[8] or fields[3]) >= smallest else empty

    def add(self, code: CodeObject) -> int:
        """The number of this code object."""
        number = self._index.setdefault(code, len(self.objects))
        if number == len(self.objects):
            self.objects.append(code)
        return number

    def named(self, numbers: Numbers) -> tuple[CodeObject, ...]:
        """The code objects behind numbers."""
        return tuple(self.objects[number] for number in numbers)


def parse_fatbin(read: Read, offset: int, limit: int, codes: Codes, head: bytes = b"") -> tuple[Numbers, int]:
    """List the code objects of the container at `offset`, as numbers of `codes`.

    `head` is what stands at `offset`, if it was read already: HEAD_BYTES bytes.

    Returns the numbers and the offset behind the container (before alignment).

    Raises:
        FormatError: magic, version or a length does not fit, or the container passes `limit`; carries the offset.
    """
    head = head or peek(read, HEAD_BYTES, offset)
    if len(head) < _CONTAINER_HEADER_BYTES:
        read_exactly(read, _CONTAINER_HEADER_BYTES, offset, "fatbin header")
    if not head.startswith(CONTAINER_START):
        raise FormatError("fatbin-magic", offset=offset, found=head[:8].hex(" "))
    position = offset + _CONTAINER_HEADER_BYTES
    end = position + int.from_bytes(head[8:16], "little")
    if end > limit:
        raise FormatError("fatbin-length", offset=offset + 8, found=end, expected=limit)
    numbers: list[int] = []
    header = head[_CONTAINER_HEADER_BYTES:]
    unpack, rows = _ENTRY.unpack, codes.rows
    while position < end:
        if len(header) != _ENTRY_BYTES:
            header = read_exactly(read, _ENTRY_BYTES, position, "fatbin entry")
        kind, version, header_bytes, payload, minor, major, arch, flags, plain = unpack(header)
        behind = position + header_bytes + payload
        if version != _ENTRY_VERSION or behind > end or not _ENTRY_BYTES <= header_bytes <= _MAX_ENTRY_HEADER_BYTES:
            raise _unfit(version, header_bytes, position, behind, end)
        if kind == _CONCATENATED:
            extension = read_exactly(read, header_bytes, position, "concatenated fatbin entry")
            numbers += (codes.number(part) for part in _concatenated(extension, position))
        else:  # what follows is `codes.number`, spelled out: it runs once for each of 50,000 entries
            key = (kind, minor, major, arch, flags)
            empty, full, smallest = rows.get(key) or codes.row(key)
            numbers.append(full if (plain or payload) >= smallest else empty)
        position = behind
        if position < end:
            header = read(_ENTRY_BYTES, position)
    return tuple(numbers), end


def _unfit(version: int, header_bytes: int, offset: int, behind: int, end: int) -> FormatError:
    """Why numbers cannot be those of an entry at `offset`."""
    if version != _ENTRY_VERSION:
        return FormatError("fatbin-version", offset=offset + 2, found=version, expected=_ENTRY_VERSION)
    if not _ENTRY_BYTES <= header_bytes <= _MAX_ENTRY_HEADER_BYTES:
        return FormatError("fatbin-entry", offset=offset + 4, found=header_bytes, expected=_ENTRY_BYTES)
    return FormatError("fatbin-length", offset=offset + 8, found=behind, expected=end)


def walk_entries(read: Read, offset: int, limit: int) -> Iterator[Entry]:
    """The entries of one container with their places, those of a concatenated entry left out.

    Raises:
        FormatError: as `parse_fatbin`.
    """
    codes = Codes()
    head = read_exactly(read, _CONTAINER_HEADER_BYTES, offset, "fatbin header")
    position = offset + _CONTAINER_HEADER_BYTES
    end = min(limit, position + int.from_bytes(head[8:16], "little"))
    while position < end:
        header = read_exactly(read, _ENTRY_BYTES, position, "fatbin entry")
        fields = _ENTRY.unpack(header)
        behind = position + fields[2] + fields[3]
        if fields[1] != _ENTRY_VERSION or behind > end or fields[2] < _ENTRY_BYTES:
            raise _unfit(fields[1], fields[2], position, behind, end)
        if fields[0] != _CONCATENATED:
            packed = int.from_bytes(header[16:20], "little") if fields[7] & _FLAGS_COMPRESSED else 0
            yield Entry(codes.objects[codes.number(fields)], position + fields[2], fields[3], packed, fields[8])
        position = behind


def _concatenated(extension: bytes, offset: int) -> Iterator[tuple[int, ...]]:
    """Sub-headers of an entry made with ``--concat`` (CUDA 13.4 and newer): the same 64 bytes each, name, options."""
    count = int.from_bytes(extension[64:68], "little")
    position = 72
    for _ in range(count):
        if position + _ENTRY_BYTES > len(extension):
            raise FormatError("fatbin-entry", offset=offset + position, found=len(extension), expected=position + 64)
        yield _ENTRY.unpack_from(extension, position)
        options, name, name_length = (
            int.from_bytes(extension[position + at : position + at + 4], "little") for at in (20, 32, 36)
        )
        size = _ENTRY_BYTES + (name_length + 1 if name else 0)
        if options:  # they follow the name, if there is one
            length = int.from_bytes(extension[position + options + 4 : position + options + 8], "little")
            size = options + 8 + length + 1
        position += max(_ENTRY_BYTES, (size + 7) & ~7)


def _smallest_kernel(arch: int, abi: int) -> int:
    if arch >= 100:
        return _SMALLEST_KERNEL_SM100
    return _SMALLEST_KERNEL_ABI8 if abi >= 8 else _SMALLEST_KERNEL_ABI7


def _describe(kind: int, arch: int, flags: int, major: int, minor: int, *, has_kernels: bool) -> CodeObject:
    name = _KINDS.get(kind, "unknown")
    suffix: Suffix = "a" if flags & _FLAG_ARCH_SPECIFIC else "f" if flags & _FLAG_FAMILY else ""
    target = None
    if name in ("sass", "ptx", "lto") and arch:
        target = Target(ComputeCapability(arch // 10, arch % 10), name, suffix)
    return CodeObject(
        kind=name,
        target=target,
        isa=f"{major}.{minor}" if name == "ptx" else None,
        compression=_compression(flags),
        has_kernels=has_kernels,
        debug=bool(flags & _FLAG_DEBUG),
        obfuscated=bool(flags & _FLAG_OBFUSCATED),
        number=kind,
    )


def _compression(flags: int) -> str | None:
    if flags & _FLAG_ZSTD:
        return "zstd"
    if flags & _FLAG_LZ4:
        return "lz4"
    return "unknown" if flags & _FLAGS_COMPRESSED else None
