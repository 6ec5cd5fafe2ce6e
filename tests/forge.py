"""Files made by hand, byte by byte: for what no tool makes, and for what no honest tool would make."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from archfit.binary.fatbin import CONTAINER_START

SASS, PTX, LTO, TILE, CONCATENATED = 0x02, 0x01, 0x08, 0x80, 0x100
ARCH_SPECIFIC, FAMILY, LZ4, ZSTD = 0x100000, 0x200000, 0x2000, 0x8000


def altered(data: bytes, offset: int, new: bytes) -> bytes:
    """`data` with `new` at `offset`."""
    return data[:offset] + new + data[offset + len(new) :]


# --- fatbins ---------------------------------------------------------------------------------------------------------


def entry(
    kind: int = SASS, arch: int = 90, payload: int = 8192, flags: int = 0x11, version: tuple[int, int] = (1, 8)
) -> bytes:
    """An entry without extension: header, then `payload` bytes."""
    header = (kind, 0x0101, 64, payload, 0, 0, version[1], version[0], arch, 0, 0, flags, 0, 0)
    return struct.pack("<HHIQIIHHIIIQQQ", *header) + bytes(payload)


def concatenated(*subheaders: bytes, count: int | None = None) -> bytes:
    """An entry of kind 0x100: the sub-headers stand in its extension, 64 bytes of payload follow."""
    extension = struct.pack("<II", len(subheaders) if count is None else count, 8) + b"".join(subheaders)
    outer = (CONCATENATED, 0x0101, 64 + len(extension), 64, 60, 0x40, 1, 0, 0, 0, 0, ZSTD | 0x11, 0, 9000)
    return struct.pack("<HHIQIIHHIIIQQQ", *outer) + extension + bytes(64)


def container(*entries: bytes) -> bytes:
    """A whole container: header and entries."""
    body = b"".join(entries)
    return CONTAINER_START + struct.pack("<Q", len(body)) + body


def wrapper(address: int, version: int = 1) -> bytes:
    """What the CUDA runtime finds a container by."""
    return struct.pack("<IIQQ", 0x466243B1, version, address, 0)


# --- ELF -------------------------------------------------------------------------------------------------------------

ALLOC, WRITE, EXEC = 2, 1, 4


@dataclass(frozen=True)
class Part:
    """A section to be: `size` is what its header says, which is the truth unless told otherwise."""

    name: str
    data: bytes = b""
    flags: int = ALLOC
    offset: int | None = None
    size: int | None = None
    type: int = 1


def elf(*parts: Part, machine: int = 62, names: bytes | None = None) -> bytes:
    """An ELF file: header, these sections from offset 64 on, their names, section headers. Addresses are offsets."""
    body, rows, table = bytearray(64), [bytes(64)], b"\0"
    for part in (*parts, Part(".shstrtab", names or b"", flags=0, type=3)):
        body += bytes(-len(body) % 8)
        start = len(table)
        table += part.name.encode() + b"\0"
        data = part.data if part.name != ".shstrtab" else names or table
        offset = len(body) if part.offset is None else part.offset
        size = len(data) if part.size is None else part.size
        rows.append(struct.pack("<IIQQQQIIQQ", start, part.type, part.flags, offset, offset, size, 0, 0, 8, 0))
        body += data
    body += bytes(-len(body) % 8)
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    counts = (64, 56, 0, 64, len(rows), len(rows) - 1)
    body[:64] = ident + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 0, len(body), 0, *counts)
    return bytes(body) + b"".join(rows)


# --- zip -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packed:
    """A member of a zip file as its headers tell it: every number may lie."""

    name: str
    packed: bytes
    size: int
    crc: int = 0
    method: int = 8
    flags: int = 0
    packed_size: int | None = None
    offset: int | None = None


def zipped(*members: Packed, comment: bytes = b"") -> bytes:
    """A zip file with these members, stored as they are."""
    body, directory = b"", b""
    for m in members:
        name = m.name.encode()
        size = len(m.packed) if m.packed_size is None else m.packed_size
        common = struct.pack("<HHHHHIIIHH", 20, m.flags, m.method, 0, 33, m.crc, size, m.size, len(name), 0)
        offset = len(body) if m.offset is None else m.offset
        body += b"PK\3\4" + common + name + m.packed
        directory += b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + name
    count = len(members)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(directory), len(body), len(comment))
    return body + directory + end + comment
