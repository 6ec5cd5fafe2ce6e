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
_PE32_PLUS = 0x20B
_UNINITIALIZED, _EXECUTE, _DISCARDABLE = 0x80, 0x20000000, 0x02000000
_MAX_IMPORTS, _MAX_NAME_BYTES = 4096, 256


def parse_sections(read: Read) -> tuple[Section, ...]:
    """List the sections of a PE file in file order; addresses include the preferred image base.

    Raises:
        FormatError: not a 64-bit PE file, or cut short; carries the offset.
    """
    header, optional, image_base = _headers(read)
    return _sections(read, header, optional, image_base)


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
    if len(start) < _COFF.size:
        return False
    machine, sections, _, symbols, _, optional, _ = _COFF.unpack_from(start)
    return machine in MACHINES and 0 < sections < 0xFF00 and optional == 0 and symbols != 0


def parse_object_sections(read: Read) -> tuple[Section, ...]:
    """List the sections of a COFF object.

    Raises:
        FormatError: cut short.
    """
    return _sections(read, 0, _COFF.size, 0)


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


def _sections(read: Read, header: int, optional: int, image_base: int) -> tuple[Section, ...]:
    fields = _COFF.unpack(read_exactly(read, _COFF.size, header, "COFF header"))
    count, symbols, symbol_count, optional_size = fields[1], fields[3], fields[4], fields[5]
    raw = read_exactly(read, count * _SECTION.size, optional + optional_size, "section headers")
    strings = symbols + symbol_count * 18 if symbols else 0
    return tuple(_section(row, read, strings, image_base) for row in _SECTION.iter_unpack(raw))


def _section(row: tuple[Any, ...], read: Read, strings: int, image_base: int) -> Section:
    name, virtual_size, address, size, offset, flags = row[0], row[1], row[2], row[3], row[4], row[9]
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
    if strings and short.startswith("/") and short[1:].isdigit():
        return text_at(peek(read, _MAX_NAME_BYTES, strings + int(short[1:])), 0)
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
