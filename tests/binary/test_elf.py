"""ELF: sections and needed libraries, of real files and of damaged ones."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from archfit.binary.elf import parse_needed, parse_sections
from archfit.binary.source import Section, reader_of
from archfit.errors import FormatError

DATA = Path(__file__).parents[1] / "data"
SMALL = (DATA / "libno_gpu.so").read_bytes()
TABLE = int.from_bytes(SMALL[40:48], "little")
COUNT = int.from_bytes(SMALL[60:62], "little")
NAMES = int.from_bytes(SMALL[62:64], "little")
ENTRY = 64


def altered(offset: int, new: bytes, data: bytes = SMALL) -> bytes:
    return data[:offset] + new + data[offset + len(new) :]


def test_sections_of_a_library_with_gpu_code() -> None:
    names = {s.name: s for s in parse_sections(reader_of((DATA / "libsm_90.so").read_bytes()))}
    assert {".nv_fatbin", ".nvFatBinSegment", ".dynamic", ".text"} <= set(names)
    assert names[".bss"].size == 0


def test_a_section_says_where_its_bytes_are() -> None:
    data = (DATA / "libsm_90.so").read_bytes()
    fatbin = next(s for s in parse_sections(reader_of(data)) if s.name == ".nv_fatbin")
    assert data[fatbin.offset : fatbin.offset + 4].hex() == "50ed55ba"
    assert fatbin == Section(".nv_fatbin", fatbin.offset, fatbin.size, fatbin.address, loaded=True, type=1)
    assert fatbin.address % 4096 == fatbin.offset % 4096


def test_needed_libraries_in_order() -> None:
    read = reader_of(SMALL)
    assert parse_needed(read, parse_sections(read)) == ("libm.so.6", "libc.so.6")


def test_a_file_without_section_headers_has_its_loaded_segments_instead() -> None:
    read = reader_of(altered(40, bytes(8)))
    segments = parse_sections(read)
    dynamic = next(s for s in parse_sections(reader_of(SMALL)) if s.name == ".dynamic")
    assert [(s.name, s.writable) for s in segments] == [("PT_LOAD", False), ("PT_LOAD", True)]
    assert segments[0].offset == 0
    assert segments[1].offset <= dynamic.offset < dynamic.end <= segments[1].end
    assert parse_needed(read, segments) == ()


def test_a_file_without_any_headers_has_no_sections() -> None:
    read = reader_of(altered(32, bytes(16)))
    assert parse_sections(read) == ()
    assert parse_needed(read, ()) == ()


def test_section_count_and_name_index_can_stand_in_section_0() -> None:
    data = altered(60, struct.pack("<HH", 0, 0xFFFF))
    data = altered(TABLE + 32, struct.pack("<QI", COUNT, NAMES), data)
    assert parse_sections(reader_of(data))[1:] == parse_sections(reader_of(SMALL))[1:]


def test_a_link_to_no_section_means_nothing_is_needed() -> None:
    read = reader_of(SMALL)
    sections = parse_sections(read)
    dynamic = next(s for s in sections if s.name == ".dynamic")
    assert parse_needed(read, (dynamic._replace(link=99),)) == ()


BROKEN = {
    "empty file": (b"", "file-cut", 0),
    "cut in the ELF header": (SMALL[:63], "file-cut", 0),
    "text": (b"#!/bin/sh\n" + bytes(64), "not-elf", 0),
    "linker script": (b"INPUT ( libcudart.so.12 )".ljust(64), "not-elf", 0),
    "32-bit": (altered(4, b"\x01"), "not-elf", 0),
    "big-endian": (altered(5, b"\x02"), "not-elf", 0),
    "Windows library": (b"MZ".ljust(64, b"\0"), "not-elf", 0),
    "wrong section header size": (altered(58, b"\x28\x00"), "elf-section-size", 58),
    "section table behind the end": (altered(40, struct.pack("<Q", len(SMALL))), "file-cut", len(SMALL)),
    "cut in the section table": (SMALL[: TABLE + ENTRY], "file-cut", TABLE),
    "name index without section": (altered(62, struct.pack("<H", COUNT)), "elf-names", 62),
    "count in a section 0 behind the end": (altered(60, bytes(2), altered(40, b"\xff" * 7)), "file-cut", 2**56 - 1),
    "names behind the end": (altered(TABLE + NAMES * ENTRY + 24, b"\xff" * 4), "file-cut", 2**32 - 1),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_says_what_and_where(name: str) -> None:
    data, key, offset = BROKEN[name]
    with pytest.raises(FormatError) as error:
        parse_sections(reader_of(data))
    assert (error.value.key, error.value.values["offset"]) == (key, offset)


def test_a_cut_dynamic_section_says_where() -> None:
    read = reader_of(SMALL)
    sections = parse_sections(read)
    dynamic = next(s for s in sections if s.name == ".dynamic")
    with pytest.raises(FormatError) as error:
        parse_needed(reader_of(SMALL[: dynamic.offset + 8]), sections)
    assert error.value.values == {
        "what": "dynamic section",
        "offset": dynamic.offset,
        "expected": dynamic.size,
        "found": 8,
    }


def test_every_way_to_cut_the_file_is_a_format_error() -> None:
    """The section table stands at the end, so no shorter file can be read."""
    for size in range(len(SMALL)):
        with pytest.raises(FormatError):
            parse_sections(reader_of(SMALL[:size]))
