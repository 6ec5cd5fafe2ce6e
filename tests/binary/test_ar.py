"""Static archives: names in all three spellings, tables left out."""

from __future__ import annotations

from pathlib import Path

from archfit.binary.ar import walk_members
from archfit.binary.library import read_library
from archfit.binary.source import reader_of

DATA = Path(__file__).parents[1] / "data"


def members(*rows: tuple[str, bytes]) -> list[tuple[str, bytes]]:
    data = b"!<arch>\n" + b"".join(
        f"{name:<16}{'':32}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2) for name, body in rows
    )
    return [(name, data[start : start + size]) for name, start, size in walk_members(reader_of(data), len(data))]


def test_members_of_a_real_archive() -> None:
    data = (DATA / "libstatic.a").read_bytes()
    found = list(walk_members(reader_of(data), len(data)))
    assert [name for name, _, _ in found] == [
        "unit_a.o",
        "a_member_with_a_name_longer_than_fifteen_characters.o",
        "no_code.o",
        "plain.o",
    ]
    assert all(data[start:].startswith(b"\x7fELF") for _, start, _ in found)


def test_members_of_a_windows_library() -> None:
    data = (DATA / "code.lib").read_bytes()
    names = [name for name, _, _ in walk_members(reader_of(data), len(data))]
    assert names == ["entry.obj", "code.obj", "compiled_with_bigobj.obj"]


def test_names_as_gnu_bsd_and_microsoft_write_them() -> None:
    rows = (
        ("/", b"\0\0\0\0"),
        ("//", b"a_long_name.o/\nanother.o/\n"),
        ("short.o/", b"1"),
        ("/0", b"22"),
        ("/15", b"333"),
        ("#1/8", b"bsd.o\0\0\0" + b"4444"),
        ("__.SYMDEF", b"table"),
        ("/SYM64/", b"table"),
    )
    assert members(*rows) == [
        ("short.o", b"1"),
        ("a_long_name.o", b"22"),
        ("another.o", b"333"),
        ("bsd.o", b"4444"),
    ]


def test_a_name_outside_the_table_is_no_name() -> None:
    assert members(("//", b"x.o/\n"), ("/99", b"1")) == [("", b"1")]


def test_members_that_are_no_objects_hold_nothing(tmp_path: Path) -> None:
    data = b"!<arch>\n" + f"{'text.txt/':<48}{5:<10}`\n".encode() + b"hello\n"
    (tmp_path / "libtext.a").write_bytes(data)
    assert read_library(tmp_path / "libtext.a").containers == ()
