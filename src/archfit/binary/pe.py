"""Just enough PE and COFF: the sections of a Windows library, program or object file, and the libraries it asks for.

Layout: Microsoft, "PE Format"; only 64-bit files (PE32+), which is all that CUDA exists for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from archfit.binary.source import Read, Section, peek, read_exactly, text_at
from archfit.errors import FormatError

MAGIC = b"MZ"
MACHINES = {0x8664: "x86_64", 0xAA64: "aarch64"}

_COFF = struct.Struct("<HHIIIHH")
_SECTION = struct.Struct("<8sIIIIIIHHI")
_IMPORT = struct.Struct("<IIIII")
_PE32, _PE32_PLUS = 0x10B, 0x20B
# Objects with more than 65,279 sections, which cl makes with /bigobj: signature, version, machine, class, then sizes.
_BIG_START, _BIG_CLASS = b"\0\0\xff\xff", bytes.fromhex("c7a1bad1eebaa94baf20faf66aa4dcb8")
_BIG_HEADER_BYTES, _SYMBOL_BYTES, _BIG_SYMBOL_BYTES = 56, 18, 20
_MAX_IMAGE_SECTIONS = 96  # "the Windows loader limits the number of sections to 96"
_MAX_OBJECT_SECTIONS = 1 << 17
_UNINITIALIZED, _EXECUTE, _DISCARDABLE = 0x80, 0x20000000, 0x02000000
_MAX_IMPORTS, _MAX_NAME_BYTES = 4096, 256


def parse_sections(read: Read) -> tuple[Section, ...]:
    """List the sections of a PE file in file order; addresses include the preferred image base.

    Raises:
        FormatError: not a 64-bit PE file, or cut short; carries the offset.
    """
    header, optional, image_base = _headers(read)
    _, count, _, symbols, symbol_count, size, _ = _COFF.unpack(read_exactly(read, _COFF.size, header, "COFF header"))
    if count > _MAX_IMAGE_SECTIONS:
        raise FormatError("pe-section-count", offset=header + 2, found=count, expected=_MAX_IMAGE_SECTIONS)
    return _sections(read, optional + size, count, symbols and symbols + symbol_count * _SYMBOL_BYTES, image_base)


def parse_needed(read: Read, sections: tuple[Section, ...]) -> tuple[str, ...]:
    """The DLLs in the import table, in order.

    Raises:
        FormatError: the table is cut short.
    """
    _, optional, image_base = _headers(read)
    directory = peek(read, 8, optional + 120)  # entry 1 of the data directories: imports
    address = int.from_bytes(directory[:4], "little")
    return tuple(_imports(read, sections, address + image_base, image_base)) if address else ()


def is_object(start: bytes) -> bool:
    """Does a file that starts like this hold a COFF object, as the members of a ``.lib`` do?"""
    if len(start) < _BIG_HEADER_BYTES:
        return False
    if start.startswith(_BIG_START):
        return start[12:28] == _BIG_CLASS
    machine, sections, _, symbols, _, optional, _ = _COFF.unpack_from(start)
    return machine in MACHINES and 0 < sections < 0xFF00 and optional == 0 and symbols != 0


def parse_object_sections(read: Read) -> tuple[Section, ...]:
    """List the sections of a COFF object.

    Raises:
        FormatError: cut short.
    """
    start = read_exactly(read, _BIG_HEADER_BYTES, 0, "COFF header")
    if start.startswith(_BIG_START):
        count, symbols, symbol_count = struct.unpack_from("<III", start, 44)
        table, symbol_bytes = _BIG_HEADER_BYTES, _BIG_SYMBOL_BYTES
    else:
        _, count, _, symbols, symbol_count, _, _ = _COFF.unpack_from(start)
        table, symbol_bytes = _COFF.size, _SYMBOL_BYTES
    if count > _MAX_OBJECT_SECTIONS:
        raise FormatError("pe-section-count", offset=44, found=count, expected=_MAX_OBJECT_SECTIONS)
    return _sections(read, table, count, symbols and symbols + symbol_count * symbol_bytes, 0)


def is_32_bit(start: bytes) -> bool:
    """Is this the start of a program or library for 32-bit Windows?"""
    at = int.from_bytes(start[60:64], "little")
    return (
        start.startswith(MAGIC)
        and start[at : at + 4] == b"PE\0\0"
        and start[at + 24 : at + 26] == _PE32.to_bytes(2, "little")
    )


def _headers(read: Read) -> tuple[int, int, int]:
    """Offset of the COFF header, offset of the optional header, image base."""
    start = read_exactly(read, 64, 0, "DOS header")
    at = int.from_bytes(start[60:64], "little")
    signature = read_exactly(read, 4, at, "PE signature")
    if start[:2] != MAGIC or signature != b"PE\0\0":
        raise FormatError("not-pe", offset=at, found=signature.hex(" "))
    optional = at + 4 + _COFF.size
    head = read_exactly(read, 32, optional, "PE optional header")
    if int.from_bytes(head[:2], "little") != _PE32_PLUS:
        raise FormatError("not-pe", offset=optional, found=head[:2].hex(" "))
    return at + 4, optional, int.from_bytes(head[24:32], "little")


def _sections(read: Read, table: int, count: int, strings: int, image_base: int) -> tuple[Section, ...]:
    raw = read_exactly(read, count * _SECTION.size, table, "section headers")
    return tuple(_section(row, read, strings, image_base) for row in _SECTION.iter_unpack(raw))


def _section(row: tuple[Any, ...], read: Read, strings: int, image_base: int) -> Section:
    name, virtual_size, address, size, offset, flags = *row[:5], row[9]
    if virtual_size and virtual_size < size:
        size = virtual_size  # the rest of the last block of the file is padding
    return Section(
        name=_name(name, read, strings),
        offset=offset,
        size=0 if flags & _UNINITIALIZED or not offset else size,
        address=address + image_base,
        loaded=not flags & _DISCARDABLE,
        executable=bool(flags & _EXECUTE),
    )


def _name(raw: bytes, read: Read, strings: int) -> str:
    """Names over eight characters stand in the string table: ``/123``. Linkers of Windows cut them instead."""
    short = text_at(raw, 0)
    digits = short[1:]
    if strings and short.startswith("/") and digits.isascii() and digits.isdigit():
        text = peek(read, _MAX_NAME_BYTES, strings + int(digits))
        if b"\0" not in text:
            raise FormatError(
                "file-cut", what="section names", offset=strings, expected=int(digits) + 1, found=len(text)
            )
        return text_at(text, 0)
    return short


def _imports(read: Read, sections: tuple[Section, ...], table: int, image_base: int) -> Iterator[str]:
    for number in range(_MAX_IMPORTS):
        place = offset_of(sections, table + number * _IMPORT.size)
        if place is None:
            return
        fields = _IMPORT.unpack(read_exactly(read, _IMPORT.size, place, "import table"))
        name = offset_of(sections, fields[3] + image_base)
        if not any(fields) or name is None:
            return
        yield text_at(peek(read, _MAX_NAME_BYTES, name), 0)


def offset_of(sections: tuple[Section, ...], address: int) -> int | None:
    """Where in the file an address lies; None if no section holds it."""
    for section in sections:
        if section.address <= address < section.address + section.size:
            return section.offset + address - section.address
    return None
