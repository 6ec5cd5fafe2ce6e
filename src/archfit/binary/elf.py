"""Just enough ELF: the sections of a shared object and the libraries it asks for.

Layout: System V ABI, "Object Files"; only 64-bit little-endian files, which is all that CUDA exists for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from archfit.errors import FormatError

Read = Callable[[int, int], bytes]
"""Returns up to `size` bytes at `offset`: ``read(offset, size)``."""

_SECTION = struct.Struct("<IIQQQQIIQQ")
_DYNAMIC = struct.Struct("<qQ")
_SHT_NOBITS, _SHT_DYNAMIC = 8, 6
_DT_NULL, _DT_NEEDED = 0, 1
_SHN_XINDEX = 0xFFFF
_MAX_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class Section:
    """A section with bytes in the file; offset and size in bytes."""

    name: str
    type: int
    offset: int
    size: int
    link: int


def read_exactly(read: Read, offset: int, size: int, what: str) -> bytes:
    """Read `size` bytes or raise FormatError("file-cut") that says where the file ends."""
    data = read(offset, size)
    if len(data) != size:
        raise FormatError("file-cut", what=what, offset=offset, expected=size, found=len(data))
    return data


def parse_sections(read: Read) -> tuple[Section, ...]:
    """List the sections of an ELF file in file order, those without bytes in the file left out.

    Raises:
        FormatError: not a 64-bit little-endian ELF file, or cut short.
    """
    ident = read_exactly(read, 0, 64, "ELF header")
    if ident[:6] != b"\x7fELF\x02\x01":
        raise FormatError("not-elf", offset=0, found=ident[:6].hex(" "))
    table, entry_size, count, names_index = (
        *struct.unpack_from("<Q", ident, 40),
        *struct.unpack_from("<HHH", ident, 58),
    )
    if table == 0:
        return ()
    if entry_size != _SECTION.size:
        raise FormatError("elf-section-size", offset=58, found=entry_size, expected=_SECTION.size)
    if count == 0 or names_index == _SHN_XINDEX:  # the real numbers stand in section 0
        first = _SECTION.unpack(read_exactly(read, table, entry_size, "first section header"))
        count = count or first[5]
        names_index = first[6] if names_index == _SHN_XINDEX else names_index
    raw = read_exactly(read, table, count * entry_size, "section headers")
    headers = list(_SECTION.iter_unpack(raw))
    if names_index >= len(headers):
        raise FormatError("elf-names", offset=62, found=names_index, expected=len(headers))
    names = read_exactly(read, headers[names_index][4], headers[names_index][5], "section names")
    return tuple(Section(_text_at(names, h[0]), h[1], h[4], 0 if h[1] == _SHT_NOBITS else h[5], h[6]) for h in headers)


def parse_needed(read: Read, sections: tuple[Section, ...]) -> tuple[str, ...]:
    """The sonames this file asks the loader for (``DT_NEEDED``), in order."""
    dynamic = next((s for s in sections if s.type == _SHT_DYNAMIC), None)
    if dynamic is None or dynamic.link >= len(sections):
        return ()
    strings = sections[dynamic.link]
    found = []
    usable = dynamic.size - dynamic.size % _DYNAMIC.size
    for tag, value in _DYNAMIC.iter_unpack(read_exactly(read, dynamic.offset, usable, "dynamic section")):
        if tag == _DT_NULL:
            break
        if tag == _DT_NEEDED:
            found.append(_text_at(read(strings.offset + value, _MAX_NAME_BYTES), 0))
    return tuple(found)


def _text_at(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    return data[offset : end if end >= 0 else len(data)].decode("utf-8", "replace")
