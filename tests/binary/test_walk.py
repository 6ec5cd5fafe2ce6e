"""Containers among other data: what stands between them, and what only looks like one."""

from __future__ import annotations

import struct

import pytest

from archfit.binary.fatbin import CONTAINER_START, Codes, Place
from archfit.binary.source import reader_of
from archfit.binary.walk import walk_packed, walk_scattered
from archfit.errors import FormatError


def container(arch: int, payload: bytes = bytes(8)) -> bytes:
    """One uncompressed cubin for `arch`."""
    entry = struct.pack("<HHIQIIHHIIIQQQ", 2, 0x0101, 64, len(payload), 0, 0, 7, 1, arch, 0, 0, 0x11, 0, 0) + payload
    return CONTAINER_START + struct.pack("<Q", len(entry)) + entry


def targets(codes: Codes, places: list[Place]) -> list[tuple[int, str]]:
    return [(place[0], str(codes.named(place[2])[0].target)) for place in places]


def scattered(data: bytes, end: int | None = None) -> tuple[list[tuple[int, str]], list[FormatError]]:
    codes, damaged = Codes(), list[FormatError]()
    found = list(walk_scattered(reader_of(data), 0, len(data) if end is None else end, codes, damaged))
    return targets(codes, found), damaged


@pytest.mark.parametrize("gap", [0, 1, 7, 8, 16, 24, 25, 32, 500])
@pytest.mark.parametrize("filling", [b"\0", b"\x07"])
def test_containers_are_found_whatever_stands_between_them(gap: int, filling: bytes) -> None:
    data = container(80) + gap * filling + container(90)
    assert scattered(data) == ([(0, "sm_80"), (88 + gap, "sm_90")], [])


@pytest.mark.parametrize("gap", [0, 8, 16, 24, 32, 500])
def test_a_section_of_containers_may_have_zeros_between_them(gap: int) -> None:
    codes, data = Codes(), container(80) + bytes(gap) + container(90)
    found = list(walk_packed(reader_of(data), 0, len(data), codes))
    assert targets(codes, found) == [(0, "sm_80"), (88 + gap, "sm_90")]


@pytest.mark.parametrize("gap", [8, 16, 24, 32])
def test_a_section_of_containers_has_nothing_else_between_them(gap: int) -> None:
    data = container(80) + bytes(gap - 1) + b"\x07" + container(90)
    with pytest.raises(FormatError, match="fatbin-magic"):
        list(walk_packed(reader_of(data), 0, len(data), Codes()))


@pytest.mark.parametrize("gap", [0, 8, 24, 32])
def test_what_only_starts_like_a_container_is_told_once_and_passed_over(gap: int) -> None:
    broken = CONTAINER_START + struct.pack("<Q", 1 << 40)
    found, damaged = scattered(container(80) + bytes(gap) + broken + container(90))
    assert found == [(0, "sm_80"), (104 + gap, "sm_90")]
    assert [(e.key, e.values["offset"]) for e in damaged] == [("fatbin-length", 88 + gap)]


@pytest.mark.parametrize("gap", [0, 8, 24])
def test_the_next_section_belongs_to_the_next_section(gap: int) -> None:
    data = container(80) + bytes(gap) + container(90)
    assert scattered(data, end=88 + gap) == ([(0, "sm_80")], [])
    assert len(list(walk_packed(reader_of(data), 0, 88 + gap, Codes()))) == 1
