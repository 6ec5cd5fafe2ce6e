"""The compiled loop says what the Python loop says: on every file of the tests, on made ones, on broken ones."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfit.binary import fatbin
from archfit.binary.fatbin import CONTAINER_START, Codes
from archfit.binary.library import parse_library, read_library
from archfit.binary.source import FileRead, open_file, reader_of
from archfit.binary.walk import walk_packed, walk_scattered
from archfit.errors import FormatError
from forge import ARCH_SPECIFIC, PTX, ZSTD, Part, concatenated, container, elf, entry, wrapper

DATA = Path(__file__).parents[1] / "data"
compiled = pytest.mark.skipif(fatbin._follow is None, reason="nothing could be compiled where archfit was installed")


@contextmanager
def on_disk(data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(data)
        yield path


def told(places: object, codes: Codes) -> object:
    """What a walk found, or its error: both must be the same, and the same numbers must stand for the same code."""
    try:
        return list(places), codes.objects  # type: ignore[call-overload]
    except FormatError as error:
        return error.key, error.values


def both_ways(data: bytes, limit: int | None = None) -> list[object]:
    """Packed and scattered containers, each from the file and from memory."""
    end, answers = len(data) if limit is None else limit, list[object]()
    with on_disk(data) as path, open_file(path) as (read, _):
        for reader in (read, reader_of(data)):
            codes, damaged = Codes(), list[FormatError]()
            packed = told(walk_packed(reader, 0, end, codes), codes)
            codes = Codes()
            scattered = told(walk_scattered(reader, 0, end, codes, damaged), codes)
            answers.append((packed, scattered, [(error.key, error.values) for error in damaged]))
    return answers


@pytest.mark.skipif("ARCHFIT_PURE" in os.environ, reason="ARCHFIT_PURE asks for Python alone")
def test_it_is_compiled_wherever_it_can_be() -> None:
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if not shutil.which("cc") or not headers.is_file():
        pytest.skip(f"no C compiler, or no {headers}")
    assert fatbin._follow is not None


@compiled
@pytest.mark.parametrize(
    "path", sorted(p for p in DATA.iterdir() if p.suffix in {".so", ".dll", ".fatbin", ".o", ".a"})
)
def test_files_of_the_real_tools_are_the_same_from_disk_and_from_memory(path: Path) -> None:
    data = path.read_bytes()
    assert read_library(path, "name") == parse_library(reader_of(data), "name", len(data))


@compiled
@pytest.mark.parametrize(
    "data",
    [
        container(entry(arch=80), entry(PTX, 90)) * 1500,  # more than one call takes
        container(*[entry(payload=8)] * 5000) + container(entry()),  # more entries than one call takes
        b"".join(container(entry(flags=0x11 | number << 32, payload=8)) for number in range(600)),  # many kinds
        container() * 100,
        container(entry(), concatenated(entry(payload=0), entry(PTX, payload=0)), entry()) * 20,
        b"".join(container(entry(payload=4000)) + bytes(gap) for gap in (0, 8, 16, 24, 4, 32, 0)) + container(),
    ],
    ids=["containers", "entries", "kinds", "empty", "concatenated", "gaps"],
)
def test_nothing_is_lost_where_one_call_ends_and_the_next_begins(data: bytes) -> None:
    compiled_loop, python_loop = both_ways(data)
    assert compiled_loop == python_loop


@compiled
def test_roles_come_from_the_wrappers_all_the_same() -> None:
    one = container(entry(payload=8))
    wrappers = wrapper(64) + wrapper(64 + len(one), version=2) + wrapper(64 + 3 * len(one)) + bytes(24)
    data = elf(Part(".nv_fatbin", 4 * one), Part(".nvFatBinSegment", wrappers))
    with on_disk(data) as path:
        found = read_library(path, "name")
    assert found == parse_library(reader_of(data), "name", len(data))
    assert [(c.registered, c.linked, c.count) for c in found.containers] == [
        (True, False, 2),
        (True, True, 1),
        (False, False, 1),
    ]


ENTRIES = st.builds(
    entry,
    kind=st.sampled_from([1, 2, 4, 8, 0x40, 0x99]),
    arch=st.sampled_from([0, 75, 90, 120]),
    payload=st.sampled_from([0, 8, 2864, 4088, 8192]),
    flags=st.sampled_from([0x11, ZSTD | 0x11, ARCH_SPECIFIC | 0x11, 1 << 60]),
)
CONTAINERS = st.lists(ENTRIES, max_size=5).map(lambda entries: container(*entries))
GAPS = st.sampled_from([b"", bytes(8), bytes(24), bytes(32), bytes(3), b"\7" * 8])
LIES = st.sampled_from([0, 1, 0xFFFF, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])


@compiled
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(CONTAINERS, GAPS), min_size=1, max_size=8), st.integers(0, 1 << 16), LIES, st.data())
def test_broken_files_are_told_in_the_same_words(
    parts: list[tuple[bytes, bytes]], at: int, lie: int, data: st.DataObject
) -> None:
    whole = b"".join(one + gap for one, gap in parts)
    at = at % len(whole) // 8 * 8
    kind = data.draw(st.sampled_from(["as it is", "lying", "cut", "limit", "shrunk"]))
    if kind == "lying":
        whole = whole[:at] + struct.pack("<Q", lie) + whole[at + 8 :]
    elif kind == "cut":
        whole = whole[:at]
    limit = {"limit": at, "shrunk": len(whole) + 8 * at}.get(kind)
    compiled_loop, python_loop = both_ways(whole, limit)
    assert compiled_loop == python_loop


@compiled
def test_a_size_that_no_file_has_is_left_to_python() -> None:
    head = CONTAINER_START + struct.pack("<Q", (1 << 64) - 16)
    compiled_loop, python_loop = both_ways(container(entry()) + head + container(entry()))
    assert compiled_loop == python_loop


@compiled
def test_an_entry_header_over_16_mb_is_refused_by_both_whether_its_kind_was_met_or_not() -> None:
    large = bytearray(entry(payload=0)) + bytes(17 << 20)
    large[4:8] = struct.pack("<I", len(large))
    for data in (container(bytes(large)), container(entry()) + container(bytes(large))):
        compiled_loop, python_loop = both_ways(data)
        assert compiled_loop == python_loop
        assert "fatbin-entry" in str(python_loop)


@compiled
def test_what_it_is_not_made_for_it_refuses() -> None:
    follow, unasked = fatbin._follow.follow, Codes().plain_row
    for rows in ({(1, 2): (0, 0, 0)}, {(1, 2, 3): "no"}, {"no": (0, 0, 0)}):
        with pytest.raises(TypeError):
            follow(0, rows, unasked, 0, 100)  # type: ignore[arg-type]
    assert follow(-1, {}, unasked, 0, 100) == ([], 0)  # a closed file has no bytes
    assert follow(0, {}, unasked, -8, 100) == ([], -8)


@compiled
def test_what_goes_wrong_while_it_asks_python_comes_out() -> None:
    with on_disk(container(entry())) as path, open_file(path) as (read, size):
        assert isinstance(read, FileRead)
        for answer in (lambda key: 1 / 0, lambda key: "no", lambda key: (1,)):
            with pytest.raises((ZeroDivisionError, TypeError)):
                fatbin._follow.follow(read.descriptor, {}, answer, 0, size)  # type: ignore[arg-type]
        assert fatbin._follow.follow(read.descriptor, {}, lambda key: None, 0, size) == ([], 0)


@compiled
def test_ctrl_c_is_heard_among_its_reads() -> None:
    """The alarm comes while it reads 4,000 headers of a kind it knows; were it not heard there, it would ask for the next."""
    known, asked = Codes(), list[object]()
    with on_disk(container(*[entry(payload=4096)] * 4000, entry(PTX))) as path, open_file(path) as (read, size):
        assert isinstance(read, FileRead)
        list(walk_packed(reader_of(container(entry())), 0, len(container(entry())), known))
        before = signal.signal(signal.SIGALRM, lambda *_: 1 / 0)

        def follow_until_alarm() -> None:
            signal.setitimer(signal.ITIMER_REAL, 0.0002)
            fatbin._follow.follow(read.descriptor, known.rows, asked.append, 0, size)

        try:
            with pytest.raises(ZeroDivisionError):
                follow_until_alarm()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert asked == []


def test_without_it_files_are_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    path = DATA / "libtorch_2_4_1.so"
    before = read_library(path)
    monkeypatch.setattr(fatbin, "_follow", None)
    assert read_library(path) == before
