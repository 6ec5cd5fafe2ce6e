"""PE and COFF: sections, imports, names in the string table; of a real DLL and its objects."""

from __future__ import annotations

from pathlib import Path

from archfit.binary.pe import is_32_bit, is_object, parse_needed, parse_object_sections, parse_sections
from archfit.binary.source import reader_of
from forge import altered

DATA = Path(__file__).parents[1] / "data"
DLL = (DATA / "code.dll").read_bytes()
LONG = (DATA / "long_names.dll").read_bytes()
OBJECT = (DATA / "code.obj").read_bytes()
START = bytes.fromhex("50ed55ba01001000")


def test_sections_of_a_dll() -> None:
    sections = {s.name: s for s in parse_sections(reader_of(DLL))}
    assert {".text", ".nv_fatb", ".nvFatBi", ".idata"} <= set(sections)
    assert sections[".text"].executable
    assert not sections[".nv_fatb"].executable
    assert sections[".nv_fatb"].address > 0x180000000
    assert DLL[sections[".nv_fatb"].offset :].startswith(START)


def test_a_section_ends_with_its_data_not_with_its_block() -> None:
    fatbin = next(s for s in parse_sections(reader_of(DLL)) if s.name == ".nv_fatb")
    assert fatbin.size % 512 != 0
    assert DLL[fatbin.end : -(-fatbin.end // 512) * 512].strip(b"\0") == b""


def test_long_names_stand_in_the_string_table() -> None:
    assert {".nv_fatbin", ".nvFatBinSegment"} <= {s.name for s in parse_sections(reader_of(LONG))}


def test_a_name_that_only_looks_like_a_number_is_a_name() -> None:
    """Superscripts are digits to Python, and no numbers."""
    at = LONG.index(b"/4\0\0")
    names = [s.name for s in parse_sections(reader_of(altered(LONG, at, "/²".encode())))]
    assert "/²" in names


def test_needed_dlls_in_order() -> None:
    read = reader_of(DLL)
    assert parse_needed(read, parse_sections(read)) == ("KERNEL32.dll", "USER32.dll")


def test_objects_are_told_from_other_files() -> None:
    assert is_object(OBJECT)
    assert [
        is_object(data) for data in (b"", DLL, LONG, b"\x7fELF".ljust(64, b"\0"), bytes(64), b"\x64\x86" + bytes(62))
    ] == [False] * 6


def test_sections_of_an_object() -> None:
    sections = {s.name: s for s in parse_object_sections(reader_of(OBJECT))}
    assert OBJECT[sections[".nv_fatb"].offset :].startswith(START)
    assert sections[".nv_fatb"].address == 0


def test_only_32_bit_windows_is_32_bit() -> None:
    at = int.from_bytes(DLL[60:64], "little") + 24
    assert is_32_bit(altered(DLL, at, b"\x0b\x01"))
    assert [is_32_bit(data) for data in (DLL, b"", b"MZ", b"MZ" + bytes(100), OBJECT)] == [False] * 5
