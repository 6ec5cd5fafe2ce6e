"""Fatbins: made by the real tools, made by hand, and broken in every way that has a name."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfit.arch import ComputeCapability, Target, judge_code
from archfit.binary.elf import parse_sections
from archfit.binary.fatbin import CONTAINER_START, Codes, parse_fatbin
from archfit.binary.source import reader_of
from archfit.binary.walk import Place, walk_packed, walk_scattered
from archfit.errors import FormatError
from archfit.model import CodeObject
from forge import ARCH_SPECIFIC, FAMILY, PTX, ZSTD, concatenated, container, entry

DATA = Path(__file__).parents[1] / "data"


def section(library: str, name: str = ".nv_fatbin") -> bytes:
    data = (DATA / library).read_bytes()
    found = next(s for s in parse_sections(reader_of(data)) if s.name == name)
    return data[found.offset : found.offset + found.size]


def parse(data: bytes) -> list[CodeObject]:
    codes = Codes()
    return list(codes.named(parse_fatbin(reader_of(data), 0, len(data), codes)[0]))


def walk(data: bytes) -> list[list[str]]:
    codes = Codes()
    return targets(codes, walk_packed(reader_of(data), 0, len(data), codes))


def search(data: bytes) -> list[list[str]]:
    codes = Codes()
    return targets(codes, walk_scattered(reader_of(data), 0, len(data), codes, []))


def targets(codes: Codes, places: Iterable[Place]) -> list[list[str]]:
    return [[str(code.target) for code in codes.named(numbers)] for _, _, numbers in places]


# --- what the real tools make ----------------------------------------------------------------------------------------


def test_a_cubin_and_its_ptx() -> None:
    assert parse(section("libsm_90_compute_90.so")) == [
        CodeObject("ptx", Target.parse("compute_90"), isa="9.0", compression="zstd", has_kernels=True, number=1),
        CodeObject("sass", Target.parse("sm_90"), isa=None, compression=None, has_kernels=True, number=2),
    ]


@pytest.mark.parametrize(
    ("library", "compression"), [("libsm_90.so", {None}), ("liblz4.so", {"lz4"}), ("libzstd.so", {"zstd"})]
)
def test_compression(library: str, compression: set[str | None]) -> None:
    assert {o.compression for o in parse(section(library))} == compression


@pytest.mark.parametrize("library", ["libconcatenated.so", "libconcatenated_named.so"])
def test_concatenated_entries_of_cuda_13_5(library: str) -> None:
    assert walk(section(library)) == [["compute_80", "sm_80", "sm_90", "sm_100", "sm_120", "sm_120a"]]


@pytest.mark.parametrize("library", ["libtiny.so", "libtiny_12_4.so"])
def test_the_smallest_kernel_is_a_kernel(library: str) -> None:
    assert [str(o.target) for o in parse(section(library)) if not o.has_kernels] == []


@pytest.mark.parametrize("library", ["libonly_empty.so", "libempty_12_4.so", "libempty.so"])
def test_a_unit_without_device_code_has_no_kernels(library: str) -> None:
    assert [str(o.target) for o in parse(section(library)) if o.kind == "sass" and o.has_kernels] == []


def test_every_translation_unit_has_its_container() -> None:
    assert walk(section("libpartial.so")) == [["sm_80", "sm_90", "sm_120"], ["sm_80", "sm_90"]]


def test_relocatable_code_is_one_container_per_unit() -> None:
    assert walk(section("liblinked.so", "__nv_relfatbin")) == [["sm_80", "sm_120"]] * 2


# --- made by hand ----------------------------------------------------------------------------------------------------

KINDS = [
    (0x01, "ptx", "compute_90"),
    (0x02, "sass", "sm_90"),
    (0x04, "sass", "sm_90"),
    (0x08, "lto", "lto_90"),
    (0x10, "unknown", "None"),
    (0x20, "index", "None"),
    (0x40, "ptx", "compute_90"),
    (0x80, "tile", "None"),
    (0x200, "unknown", "None"),
]


@pytest.mark.parametrize(("number", "kind", "target"), KINDS)
def test_kind(number: int, kind: str, target: str) -> None:
    (code,) = parse(container(entry(number)))
    assert (code.kind, str(code.target), code.number) == (kind, target, number)


@pytest.mark.parametrize(
    ("arch", "flags", "target"),
    [
        (75, 0, "sm_75"),
        (90, ARCH_SPECIFIC, "sm_90a"),
        (100, FAMILY, "sm_100f"),
        (103, FAMILY, "sm_103f"),
        (120, ARCH_SPECIFIC | ZSTD, "sm_120a"),
        (121, 0x1000011, "sm_121"),
    ],
)
def test_target_from_number_and_flags(arch: int, flags: int, target: str) -> None:
    assert [str(o.target) for o in parse(container(entry(arch=arch, flags=flags)))] == [target]


@pytest.mark.parametrize("isa", ["7.8", "8.4", "9.0", "9.10"])
def test_the_ptx_isa_stands_in_the_header(isa: str) -> None:
    major, minor = map(int, isa.split("."))
    assert [o.isa for o in parse(container(entry(PTX, version=(major, minor))))] == [isa]


def test_concatenated_entries_are_listed_one_by_one() -> None:
    outer = concatenated(entry(arch=80, payload=0), entry(PTX, 90, 0, version=(9, 4)), entry(arch=120, payload=0))
    parsed = parse(container(entry(arch=75), outer, entry(arch=86)))
    assert [str(o.target) for o in parsed] == ["sm_75", "sm_80", "compute_90", "sm_120", "sm_86"]


@pytest.mark.parametrize("flag", [ARCH_SPECIFIC, FAMILY])
def test_concatenated_entries_keep_their_suffix(flag: int) -> None:
    outer = concatenated(entry(arch=100, payload=0), entry(arch=100, payload=0, flags=flag))
    suffix = {ARCH_SPECIFIC: "a", FAMILY: "f"}[flag]
    assert [str(o.target) for o in parse(container(outer))] == ["sm_100", f"sm_100{suffix}"]


def test_an_empty_container_holds_nothing() -> None:
    assert parse_fatbin(reader_of(container()), 0, 16, Codes()) == ((), 16)


def test_containers_are_aligned_to_8_with_zeros_between() -> None:
    data = container(entry(arch=80, payload=13)) + bytes(200 + 3) + container(entry(arch=90)) + bytes(5)
    assert walk(data) == [["sm_80"], ["sm_90"]]


@pytest.mark.parametrize("gap", [0, 1, 56, 57, 63, 64, 1000, 100_000])
def test_scattered_containers_are_found_behind_any_other_data(gap: int) -> None:
    noise = b"\x50\xed\x55\xba" * (gap // 4) + b"x" * (gap % 4)
    data = noise + container(entry(arch=80)) + noise + container(entry(arch=90)) + noise
    assert search(data) == [["sm_80"], ["sm_90"]]


# --- broken ----------------------------------------------------------------------------------------------------------

GOOD = container(entry(arch=80, payload=64), entry(arch=90, payload=64))
SECOND = 16 + 64 + 64

BROKEN = {
    "cut in the container header": (GOOD[:15], "file-cut", 0),
    "wrong magic": (b"\0" + GOOD[1:], "fatbin-magic", 0),
    "wrong version": (GOOD[:4] + b"\2" + GOOD[5:], "fatbin-magic", 0),
    "wrong header size": (GOOD[:6] + b"\x18" + GOOD[7:], "fatbin-magic", 0),
    "container longer than its section": (GOOD[:8] + struct.pack("<Q", 257) + GOOD[16:], "fatbin-length", 8),
    "container cut": (GOOD[:-1], "fatbin-length", 8),
    "entry header cut by the end of the container": (container(entry(payload=64)[:63]), "file-cut", 16),
    "entry header smaller than 64": (GOOD[:20] + b"\x3f" + GOOD[21:], "fatbin-entry", 20),
    "second entry header of size 0": (GOOD[: SECOND + 4] + bytes(4) + GOOD[SECOND + 8 :], "fatbin-entry", SECOND + 4),
    "payload longer than the container": (
        GOOD[: SECOND + 8] + b"\x48" + GOOD[SECOND + 9 :],
        "fatbin-length",
        SECOND + 8,
    ),
    "payload of 2**64 bytes": (
        container(entry(payload=64)[:8] + b"\xff" * 8 + bytes(112)),
        "fatbin-length",
        24,
    ),
    "concatenated: more sub-headers than room": (
        container(concatenated(entry(payload=0), count=2)),
        "fatbin-entry",
        152,
    ),
    "concatenated: extension cut": (container(concatenated()[:70] + bytes(2)), "fatbin-length", 24),
    "entry of another version": (GOOD[: SECOND + 2] + b"\2\1" + GOOD[SECOND + 4 :], "fatbin-version", SECOND + 2),
    "entry header larger than any": (GOOD[:20] + struct.pack("<I", 1 << 25) + GOOD[24:], "fatbin-entry", 20),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_fatbin_says_what_and_where(name: str) -> None:
    data, key, offset = BROKEN[name]
    with pytest.raises(FormatError) as error:
        parse(data)
    assert (error.value.key, error.value.values["offset"]) == (key, offset)


@pytest.mark.parametrize(
    ("name", "found"), [("payload longer than the container", 280), ("payload of 2**64 bytes", 2**64 + 79)]
)
def test_a_length_says_where_it_leads(name: str, found: int) -> None:
    with pytest.raises(FormatError) as error:
        parse(BROKEN[name][0])
    assert error.value.values["found"] == found


def test_other_data_between_packed_containers_is_an_error_with_its_offset() -> None:
    with pytest.raises(FormatError) as error:
        walk(GOOD + bytes(8) + b"surprise" + GOOD)
    assert error.value.values == {"offset": len(GOOD) + 8, "found": b"surprise".hex(" ")}


REAL = section("libconcatenated.so")


def test_every_way_to_cut_a_container_is_a_format_error() -> None:
    for size in range(1, len(REAL)):
        with pytest.raises(FormatError):
            walk(REAL[:size])


def test_every_single_altered_byte_is_read_or_refused() -> None:
    chance = random.Random(1)
    for position in range(len(REAL)):
        _read_or_refuse(REAL[:position] + bytes([chance.randrange(256)]) + REAL[position + 1 :])


@settings(deadline=None, max_examples=300, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, len(REAL) - 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6))
def test_any_damage_is_read_or_refused(damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(REAL)
    for position, new in damage:
        data[position : position + len(new)] = new
    _read_or_refuse(bytes(data))


@settings(deadline=None, max_examples=300, derandomize=True, database=None)
@given(st.binary(max_size=400))
def test_any_bytes_after_a_container_start_are_read_or_refused(noise: bytes) -> None:
    _read_or_refuse(CONTAINER_START + struct.pack("<Q", len(noise)) + noise)


def _read_or_refuse(data: bytes) -> None:
    offsets: list[object] = []
    for found in (walk, search):
        try:
            found(data)
        except FormatError as error:
            offsets.append(error.values["offset"])
    assert [offset for offset in offsets if not isinstance(offset, int)] == []


@pytest.mark.parametrize("flags", [0x11, 0x10011], ids=["plain", "obfuscated"])
@pytest.mark.parametrize(("arch", "suffix", "gpu", "expected"), [
    (80, 0, "9.0", "jit"), (90, 0, "9.0", "jit"), (100, 0, "9.0", "none"),
    (90, ARCH_SPECIFIC, "9.0", "jit"), (90, ARCH_SPECIFIC, "10.0", "none"), (90, ARCH_SPECIFIC, "12.0", "none"),
])  # fmt: skip
def test_obfuscation_changes_no_verdict_and_ptx_for_one_gpu_reaches_no_other(
    flags: int, arch: int, suffix: int, gpu: str, expected: str
) -> None:
    """The driver holds the key to what NVIDIA's tools obfuscate; what it cannot do is compile `a` PTX for another GPU."""
    [code] = parse(container(entry(PTX, arch, 512, flags | suffix, (8, 7))))
    assert code.obfuscated == (flags != 0x11)
    assert code.target
    assert judge_code(code.target, ComputeCapability.parse(gpu)) == expected
