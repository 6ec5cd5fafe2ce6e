"""Just enough ELF: the sections of an object file and the libraries it asks for.

Layout: System V ABI, "Object Files"; only 64-bit little-endian files, which is all that CUDA exists for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial

from archfit.binary.source import LARGEST_READ_BYTES, Read, Section, peek, read_exactly, text_at
from archfit.errors import FormatError

MAGIC = b"\x7fELF"
MACHINE_CUDA = 190

SECTION = struct.Struct("<IIQQQQI20x")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_SHT_NULL, SHT_NOBITS, _SHT_DYNAMIC = 0, 8, 6
_WITHOUT_BYTES = (SHT_NOBITS, _SHT_NULL)
_SHF_ALLOC, _SHF_EXECINSTR = 2, 4
_PT_LOAD, _PF_X, _PF_W = 1, 1, 2
_DT_NULL, _DT_NEEDED = 0, 1
_SHN_XINDEX, _PN_XNUM = 0xFFFF, 0xFFFF
_MAX_NAME_BYTES, _NAMES_TOGETHER_BYTES = 256, 1 << 14
_LARGEST_DYNAMIC_BYTES = 1 << 20  # 816 bytes are the most among 1,134 libraries
_section = partial(tuple.__new__, Section)  # what Section(...) does, in half the time
_MAX_SECTIONS = 1 << 17  # a relocatable file has a few for every function; more is no file that a linker made


def parse_ident(read: Read) -> bytes:
    """The 64 bytes at the start of a 64-bit little-endian ELF file.

    Raises:
        FormatError: it is another kind of file, or cut short.
    """
    ident = read_exactly(read, 64, 0, "ELF header")
    if ident[:6] != b"\x7fELF\x02\x01":
        raise FormatError("not-elf", offset=0, found=ident[:6].hex(" "))
    return ident


def machine_of(ident: bytes) -> int:
    """The machine that an ELF header names: 62 x86-64, 183 aarch64, 190 CUDA."""
    return int.from_bytes(ident[18:20], "little")


def section_table(read: Read) -> tuple[int, int]:
    """Offset and size in bytes of the section headers, as far as the ELF header tells; raises FormatError."""
    ident = parse_ident(read)
    return int.from_bytes(ident[40:48], "little"), SECTION.size * int.from_bytes(ident[60:62], "little")


def parse_sections(read: Read) -> tuple[Section, ...]:
    """List the sections of an ELF file in file order, those without bytes in the file included with size 0.

    A file whose section headers were stripped has its loaded segments listed instead.

    Raises:
        FormatError: not a 64-bit little-endian ELF file, or cut short.
    """
    ident = parse_ident(read)
    table, entry_size, count, names_index = (
        *struct.unpack_from("<Q", ident, 40),
        *struct.unpack_from("<HHH", ident, 58),
    )
    if table == 0:
        return parse_segments(read)
    if entry_size != SECTION.size:
        raise FormatError("elf-section-size", offset=58, found=entry_size, expected=SECTION.size)
    if count == 0 or names_index == _SHN_XINDEX:  # the real numbers stand in section 0
        first = SECTION.unpack(read_exactly(read, entry_size, table, "first section header"))
        count = count or first[5]
        names_index = first[6] if names_index == _SHN_XINDEX else names_index
    if count > _MAX_SECTIONS:
        raise FormatError("elf-section-count", offset=60, found=count, expected=_MAX_SECTIONS)
    headers = list(SECTION.iter_unpack(read_exactly(read, count * entry_size, table, "section headers")))
    if names_index >= len(headers):
        raise FormatError("elf-names", offset=62, found=names_index, expected=len(headers))
    names = read_exactly(read, headers[names_index][5], headers[names_index][4], "section names") + b"\0"
    _refuse_endless_names(headers, names_index, names)
    text = names.decode("ascii") if names.isascii() else ""
    rows = [
        (
            text[name : text.find("\0", name)] if text else text_at(names, name),
            offset,
            0 if kind in _WITHOUT_BYTES else size,
            address,
            flags & _SHF_ALLOC != 0,
            flags & _SHF_EXECINSTR != 0,
            kind,
            link,
            False,
        )
        for name, kind, flags, address, offset, size, link in headers
    ]
    return tuple(map(_section, rows))


def _refuse_endless_names(headers: list[tuple[int, ...]], index: int, names: bytes) -> None:
    """Names without an end in one table would be far more text than the table; raise FormatError."""
    if len(headers) * len(names) <= LARGEST_READ_BYTES:
        return
    total = 0
    for name, *_ in headers:  # not one more than it takes: each may be the whole table
        total += max(0, names.find(b"\0", name) - name)
        if total > LARGEST_READ_BYTES:
            at, length = headers[index][4], len(names) - 1
            raise FormatError("too-large", what="section names", offset=at, found=total, expected=length)


def parse_segments(read: Read) -> tuple[Section, ...]:
    """The loaded segments of an ELF file, each as a section without a name of its own.

    Only one that begins behind offset 0 counts as executable, which means nothing but instructions: older linkers make one
    segment of the headers, the instructions and the constants.

    Raises:
        FormatError: not a 64-bit little-endian ELF file, or cut short.
    """
    ident = parse_ident(read)
    table, entry_size, count = (*struct.unpack_from("<Q", ident, 32), *struct.unpack_from("<HH", ident, 54))
    if table == 0 or count in (0, _PN_XNUM):
        return ()
    if entry_size != _SEGMENT.size:
        raise FormatError("elf-section-size", offset=54, found=entry_size, expected=_SEGMENT.size)
    rows = _SEGMENT.iter_unpack(read_exactly(read, count * entry_size, table, "program headers"))
    return tuple(
        Section(
            "PT_LOAD", offset, size, address, executable=bool(flags & _PF_X and offset), writable=bool(flags & _PF_W)
        )
        for kind, flags, offset, address, _, size, _, _ in rows
        if kind == _PT_LOAD
    )


def parse_needed(read: Read, sections: tuple[Section, ...]) -> tuple[str, ...]:
    """The sonames this file asks the loader for (``DT_NEEDED``), in order."""
    dynamic = next((s for s in sections if s.type == _SHT_DYNAMIC), None)
    if dynamic is None or dynamic.link >= len(sections):
        return ()
    usable = dynamic.size - dynamic.size % _DYNAMIC.size
    places = []
    table = read_exactly(read, usable, dynamic.offset, "dynamic section", _LARGEST_DYNAMIC_BYTES)
    for tag, value in _DYNAMIC.iter_unpack(table):
        if tag == _DT_NEEDED:
            places.append(value)
        elif tag == _DT_NULL:
            break
    return tuple(_texts(read, sections[dynamic.link].offset, places))


def _texts(read: Read, table: int, places: list[int]) -> Iterator[str]:
    """Texts of a table of strings. Linkers put the names of libraries side by side, so that one read has them all."""
    start, end = min(places, default=0), max(places, default=0) + _MAX_NAME_BYTES
    together = peek(read, end - start, table + start) if places and end - start <= _NAMES_TOGETHER_BYTES else b""
    for place in places:
        at = place - start
        name = together[at : at + _MAX_NAME_BYTES] if together else peek(read, _MAX_NAME_BYTES, table + place)
        yield text_at(name, 0)
