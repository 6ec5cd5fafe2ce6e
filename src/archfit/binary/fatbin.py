"""The fatbin container: which code objects it holds, read from headers alone.

Nothing is decompressed, because headers never are compressed. There is no public specification; the layout was confirmed
by the file format notes of the project on 49,132 containers of released packages and by the samples in ``tests/data``.
All integers are little-endian; sizes and offsets are in bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache

from archfit.arch import ComputeCapability, Suffix, Target
from archfit.binary.elf import Read, read_exactly
from archfit.errors import FormatError
from archfit.model import CodeKind, CodeObject

CONTAINER_START = bytes.fromhex("50ed55ba01001000")
"""Magic 0xBA55ED50, version 1, header size 16: eight bytes that were never seen as anything else."""

_CONTAINER_HEADER_BYTES = 16
_ENTRY = struct.Struct("<HHIQIIHHIIIQQQ")  # 64 bytes
_CONCATENATED = 0x100
_KINDS: dict[int, CodeKind] = {0x01: "ptx", 0x02: "sass", 0x04: "sass", 0x08: "lto", 0x40: "ptx", 0x80: "tile"}
_FLAG_ARCH_SPECIFIC, _FLAG_FAMILY = 0x100000, 0x200000
_FLAG_LZ4, _FLAG_ZSTD, _FLAGS_COMPRESSED = 0x2000, 0x8000, 0xF000
_FLAG_WORD_USED = _FLAG_ARCH_SPECIFIC | _FLAG_FAMILY | _FLAGS_COMPRESSED

# Smallest cubin with a kernel ever seen, by generation of the ELF inside (73,000 cubins). What is smaller comes from a
# source file without device code, which nvcc still gives a container for its default target.
_SMALLEST_KERNEL_ABI7, _SMALLEST_KERNEL_ABI8, _SMALLEST_KERNEL_SM100 = 1696, 2856, 4816


def parse_fatbin(read: Read, offset: int, limit: int) -> tuple[tuple[CodeObject, ...], int]:
    """List the code objects of the container at `offset`.

    Returns the code objects and the offset behind the container (before alignment).

    Raises:
        FormatError: magic, version or a length does not fit, or the container passes `limit`; carries the offset.
    """
    header = read_exactly(read, offset, _CONTAINER_HEADER_BYTES, "fatbin header")
    if header[:8] != CONTAINER_START:
        raise FormatError("fatbin-magic", offset=offset, found=header[:8].hex(" "))
    position = offset + _CONTAINER_HEADER_BYTES
    end = position + int.from_bytes(header[8:], "little")
    if end > limit:
        raise FormatError("fatbin-length", offset=offset + 8, found=end, expected=limit)
    objects: list[CodeObject] = []
    while position < end:
        found, size = _parse_entry(read, position)
        objects.extend(found)
        position += size
    if position != end:
        raise FormatError("fatbin-length", offset=position, found=position, expected=end)
    return tuple(objects), end


def walk_packed(read: Read, start: int, end: int) -> Iterator[tuple[CodeObject, ...]]:
    """Containers of a section that holds nothing else (``.nv_fatbin``): back to back, 8-aligned, zeros between.

    Raises:
        FormatError: anything but zeros stands between two containers.
    """
    position = start
    while (position := _skip_zeros(read, position, end)) < end:
        objects, position = parse_fatbin(read, position, end)
        position += -position % 8
        yield objects


def walk_scattered(read: Read, start: int, end: int) -> Iterator[tuple[CodeObject, ...]]:
    """Containers of a section that holds other data too; whatever does not start like a container is passed over."""
    position = start
    while (position := _find_container(read, position, end)) < end:
        objects, position = parse_fatbin(read, position, end)
        yield objects


def _parse_entry(read: Read, offset: int) -> tuple[list[CodeObject], int]:
    header = read_exactly(read, offset, _ENTRY.size, "fatbin entry")
    fields = _ENTRY.unpack(header)
    kind, header_bytes, payload_bytes = fields[0], fields[2], fields[3]
    if header_bytes < _ENTRY.size:
        raise FormatError("fatbin-entry", offset=offset + 4, found=header_bytes, expected=_ENTRY.size)
    size = header_bytes + payload_bytes
    if kind != _CONCATENATED:
        return [_describe(fields)], size
    extension = read_exactly(read, offset, header_bytes, "concatenated fatbin entry")
    return list(_parse_concatenated(extension, offset)), size


def _parse_concatenated(extension: bytes, offset: int) -> Iterator[CodeObject]:
    """Sub-headers of an entry made with ``--concat`` (CUDA 13.4 and newer): the same 64 bytes each, name, options."""
    count = int.from_bytes(extension[64:68], "little")
    position = 72
    for _ in range(count):
        if position + _ENTRY.size > len(extension):
            raise FormatError("fatbin-entry", offset=offset + position, found=len(extension), expected=position + 64)
        fields = _ENTRY.unpack_from(extension, position)
        yield _describe(fields)
        options, name, name_length = fields[5], fields[9], fields[10]
        size = _ENTRY.size + (name_length + 1 if name else 0)
        if options:  # they follow the name, if there is one
            length = int.from_bytes(extension[position + options + 4 : position + options + 8], "little")
            size = options + 8 + length + 1
        position += max(_ENTRY.size, (size + 7) & ~7)


def _describe(fields: tuple[int, ...]) -> CodeObject:
    kind, payload, minor, major, arch, flags, size = (fields[i] for i in (0, 3, 6, 7, 8, 11, 13))
    has_kernels = kind not in (0x02, 0x04) or (size or payload) >= _smallest_kernel(arch, minor)
    return _code_object(kind, arch, flags & _FLAG_WORD_USED, major, minor, has_kernels)


def _smallest_kernel(arch: int, abi: int) -> int:
    if arch >= 100:
        return _SMALLEST_KERNEL_SM100
    return _SMALLEST_KERNEL_ABI8 if abi >= 8 else _SMALLEST_KERNEL_ABI7


@cache
def _code_object(kind: int, arch: int, flags: int, major: int, minor: int, has_kernels: bool) -> CodeObject:
    """One shared record per distinct description: an environment has 20,000 entries and a few hundred of these."""
    name = _KINDS.get(kind, "unknown")
    suffix: Suffix = "a" if flags & _FLAG_ARCH_SPECIFIC else "f" if flags & _FLAG_FAMILY else ""
    target = None
    if name in ("sass", "ptx"):
        capability = ComputeCapability(arch // 10, arch % 10)
        target = Target(capability, "ptx" if name == "ptx" else "sass", suffix)
    return CodeObject(
        kind=name,
        target=target,
        isa=f"{major}.{minor}" if name == "ptx" else None,
        compression="zstd" if flags & _FLAG_ZSTD else "lz4" if flags & _FLAG_LZ4 else None,
        has_kernels=has_kernels,
    )


_LARGEST_SEARCH_BYTES = 1 << 20


def _skip_zeros(read: Read, position: int, end: int) -> int:
    while position < end:
        step = min(64, end - position)
        chunk = read_exactly(read, position, step, "fatbin section")
        rest = chunk.lstrip(b"\0")
        if rest:
            return position + len(chunk) - len(rest)
        position += step
    return end


def _find_container(read: Read, position: int, end: int) -> int:
    """Offset of the next container start, or `end`. The next one is mostly a few bytes away, so the search starts small."""
    overlap = len(CONTAINER_START) - 1
    size = 64
    while position < end:
        chunk = read(position, min(size, end - position))
        if (found := chunk.find(CONTAINER_START)) >= 0:
            return position + found
        if len(chunk) <= overlap or position + len(chunk) >= end:
            return end
        position += len(chunk) - overlap
        size = min(2 * size, _LARGEST_SEARCH_BYTES)
    return end
