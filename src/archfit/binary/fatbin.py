"""The fatbin container: which code objects it holds, read from headers alone.

Nothing is decompressed, because headers never are compressed. There is no public specification; the layout was confirmed
by the file format notes of the project on 49,132 containers of released packages, by the samples in ``tests/data`` and by
``tools/compare_cuobjdump.py``. All integers are little-endian; sizes and offsets are in bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

from archfit.arch import ComputeCapability, Suffix, Target
from archfit.binary.source import FileRead, Read, read_exactly
from archfit.errors import FormatError
from archfit.model import CodeKind, CodeObject

try:
    from archfit.binary import _follow
except ImportError:  # installed where nothing could be compiled
    _follow = None  # type: ignore[assignment]

CONTAINER_START = bytes.fromhex("50ed55ba01001000")
"""Magic 0xBA55ED50, version 1, header size 16: eight bytes that were never seen as anything else in data sections."""

_CONTAINER_HEADER_BYTES = 16
# Of the 64 bytes of an entry: kind and version, size of this header, padded size of the payload, what it was made for (minor
# and major version, arch), flags, plain size. Fields that only matter together are one number: there are 50,000 entries.
_ENTRY = struct.Struct("<IIQ8xQ8xQ8xQ")
# The header of a container and that of its first entry: one read for both.
_HEAD = struct.Struct("<8sQ" + _ENTRY.format[1:])
_LARGEST_GAP_BYTES = 24  # linkers align containers to 32 bytes at most
_HEAD_BYTES, _ENTRY_BYTES = _HEAD.size, _ENTRY.size
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
"""The code objects of one container, as numbers of `Codes`."""

Place = tuple[int, int, Numbers]
"""Where a container begins, the offset behind it, both in bytes, and the numbers of its code objects."""

RowKey = tuple[int, int, int]
"""What tells entries apart: kind and version, what it was made for, flags."""

Row = tuple[int, int, int]
"""Number of an entry smaller than a kernel can be, number of any other, that size in bytes."""

Rows = dict[RowKey, Row]

OnDamage = Callable[[FormatError, int], None]
"""Told what is wrong, and the offset of the container."""


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
        self.rows: Rows = {}

    def row(self, key: RowKey) -> Row:
        """Number the two code objects that entries with these fields can be."""
        kind, made_for, flags = key[0] & 0xFFFF, key[1], key[2]
        minor, major, arch = made_for & 0xFFFF, made_for >> 16 & 0xFFFF, made_for >> 32
        full = self.add(_describe(kind, arch, flags, major, minor, has_kernels=True))
        if kind not in (_ELF, _CUBIN):
            self.rows[key] = (full, full, 0)
        else:
            empty = self.add(_describe(kind, arch, flags, major, minor, has_kernels=False))
            self.rows[key] = (empty, full, _smallest_kernel(arch, minor))
        return self.rows[key]

    def plain_row(self, key: RowKey) -> Row | None:
        """The same; None where an entry with these fields stands for several code objects, or is of no known version."""
        return self.row(key) if _is_plain(key[0]) else None

    def number(self, fields: tuple[int, ...]) -> int:
        """The number of the code object that the fields of an entry header describe."""
        kind, _, payload, made_for, flags, plain = fields
        key = (kind, made_for, flags)
        empty, full, smallest = self.rows.get(key) or self.row(key)
        return full if (plain or payload) >= smallest else empty

    def add(self, code: CodeObject) -> int:
        """The number of this code object."""
        number = self._index.setdefault(code, len(self.objects))
        if number == len(self.objects):
            self.objects.append(code)
        return number

    def named(self, numbers: Numbers) -> tuple[CodeObject, ...]:
        """The code objects behind numbers."""
        return tuple(self.objects[number] for number in numbers)


def walk_containers(
    read: Read, start: int, limit: int, codes: Codes, on_damage: OnDamage | None = None
) -> Generator[list[Place], None, int]:
    """Containers that follow each other from `start` on, with a few zeros between them at most; returns where that ends.

    They come in lists, because a call for each would be a tenth of all work. `on_damage` is told of what starts like a
    container and is none, and the walk ends behind that start.

    Raises:
        FormatError: a version or a length does not fit, or a container passes `limit`; carries the offset.
    """
    unpack_head, unpack, known = _HEAD.unpack_from, _ENTRY.unpack, codes.rows.get
    ahead = None
    if _follow and isinstance(read, FileRead):
        ahead = partial(_follow.follow, read.descriptor, codes.rows, codes.plain_row)
    offset = start
    try:
        while offset < limit:
            if ahead:
                places, offset = ahead(offset, limit)
                yield places
                if offset >= limit:
                    break
            head = read(_HEAD_BYTES + _LARGEST_GAP_BYTES, offset)
            if not head.startswith(CONTAINER_START):
                gap = _zeros_before_start(head[: min(limit - offset, _LARGEST_GAP_BYTES + len(CONTAINER_START))])
                if not gap:
                    break
                offset, head = offset + gap, head[gap:]
            if len(head) < _HEAD_BYTES:  # an empty container at the end of a file, or half a one
                head = read_exactly(read, _CONTAINER_HEADER_BYTES, offset, "fatbin header").ljust(_HEAD_BYTES, b"\0")
            _, size, kind, header_bytes, payload, made_for, flags, plain = unpack_head(head)
            position = offset + _CONTAINER_HEADER_BYTES
            end = position + size
            if end > limit:
                raise _too_long(offset, end, limit)
            numbers: list[int] = []
            while position < end:  # spelled out because it runs once for each of 50,000 entries
                behind = position + header_bytes + payload
                if behind > end or not _ENTRY_BYTES <= header_bytes <= _MAX_ENTRY_HEADER_BYTES:
                    raise _unfit(read, position, end)
                if row := known((kind, made_for, flags)):
                    empty, full, smallest = row
                    numbers.append(full if (plain or payload) >= smallest else empty)
                else:
                    numbers += _first_of_its_kind(read, position, end, codes)
                position = behind
                if position < end:
                    try:
                        kind, header_bytes, payload, made_for, flags, plain = unpack(read(_ENTRY_BYTES, position))
                    except struct.error:
                        raise _unfit(read, position, end) from None
            yield [(offset, end, tuple(numbers))]
            offset = end
    except FormatError as error:
        if on_damage is None:
            raise
        on_damage(error, offset)
        offset += len(CONTAINER_START)
    return offset


def parse_fatbin(read: Read, offset: int, limit: int, codes: Codes) -> tuple[Numbers, int]:
    """List the code objects of the container at `offset`, as numbers of `codes`.

    Returns the numbers and the offset behind the container (before alignment).

    Raises:
        FormatError: magic, version or a length does not fit, or the container passes `limit`; carries the offset.
    """
    for places in walk_containers(read, offset, limit, codes):
        for _, behind, numbers in places:
            return numbers, behind
    found = read_exactly(read, _CONTAINER_HEADER_BYTES, offset, "fatbin header")
    raise FormatError("fatbin-magic", offset=offset, found=found[:8].hex(" "))


def _is_plain(kind: int) -> bool:
    """Does this kind, with the version above it, stand for one code object in an entry of the version that is known?"""
    return kind >> 16 == _ENTRY_VERSION and kind & 0xFFFF != _CONCATENATED


def _first_of_its_kind(read: Read, position: int, end: int, codes: Codes) -> list[int]:
    """The code objects of an entry whose fields were not met before, or that holds several."""
    fields = _fields_at(read, position)
    if fields[0] >> 16 != _ENTRY_VERSION or not _ENTRY_BYTES <= fields[1] <= _MAX_ENTRY_HEADER_BYTES:
        raise _unfit(read, position, end)
    if _is_plain(fields[0]):
        return [codes.number(fields)]
    extension = read_exactly(read, fields[1], position, "concatenated fatbin entry")
    return [codes.number(part) for part in _concatenated(extension, position)]


def _fields_at(read: Read, position: int) -> tuple[int, ...]:
    return _ENTRY.unpack(read_exactly(read, _ENTRY_BYTES, position, "fatbin entry"))


def _unfit(read: Read, position: int, end: int) -> FormatError:
    """Why there is no entry at `position`."""
    kind, header_bytes, payload, *_ = _fields_at(read, position)
    if kind >> 16 != _ENTRY_VERSION:
        return FormatError("fatbin-version", offset=position + 2, found=kind >> 16, expected=_ENTRY_VERSION)
    if not _ENTRY_BYTES <= header_bytes <= _MAX_ENTRY_HEADER_BYTES:
        return FormatError("fatbin-entry", offset=position + 4, found=header_bytes, expected=_ENTRY_BYTES)
    return _too_long(position, position + header_bytes + payload, end)


def _too_long(offset: int, end: int, limit: int) -> FormatError:
    """The size of what is at `offset` stands eight bytes behind it, in containers and entries alike."""
    return FormatError("fatbin-length", offset=offset + 8, found=end, expected=limit)


def _zeros_before_start(head: bytes) -> int:
    """How many zeros stand before the start of a container; 0 if anything else does."""
    rest = head.lstrip(b"\0")
    return len(head) - len(rest) if rest.startswith(CONTAINER_START) else 0


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
        fields = kind, header_bytes, payload, _, flags, plain = _fields_at(read, position)
        behind = position + header_bytes + payload
        if kind >> 16 != _ENTRY_VERSION or behind > end or header_bytes < _ENTRY_BYTES:
            raise _unfit(read, position, end)
        if kind & 0xFFFF != _CONCATENATED:
            packed = int.from_bytes(read(4, position + 16), "little") if flags & _FLAGS_COMPRESSED else 0
            yield Entry(codes.objects[codes.number(fields)], position + header_bytes, payload, packed, plain)
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


@lru_cache(maxsize=4096)
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
