"""Whole shared objects from disk: what is in every fixture, and what happens with damaged files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archfit.binary.library import read_library
from archfit.errors import ExitCode, FormatError
from archfit.model import CodeObject, Container, Library
from forge import altered

DATA = Path(__file__).parents[1] / "data"
EVERY_13 = "sm_75 sm_80 sm_86 sm_89 sm_90 sm_90a sm_100 sm_103 sm_110 sm_120 sm_120a sm_121"
EVERY_12 = "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_89 sm_90"

# file -> containers: how many of this kind, registered with the CUDA runtime or not, the section unless it is .nv_fatbin,
# code objects in file order
FIXTURES: dict[str, list[str]] = {
    "libcompute_75.so": ["1 registered: compute_75/9.0"],
    "libcompute_90.so": ["1 registered: compute_90/9.0"],
    "libcompute_120.so": ["1 registered: compute_120/9.0"],
    "libconcatenated.so": ["1 registered: compute_80/9.0 sm_80 sm_90 sm_100 sm_120 sm_120a"],
    "libconcatenated_named.so": ["1 registered: compute_80/9.0 sm_80 sm_90 sm_100 sm_120 sm_120a"],
    "libembedded.so": ["1 own .lrodata: sm_90", "1 own .lrodata: lto_90", "1 own .lrodata: sm_120"],
    "libempty.so": [f"1 registered: {EVERY_13}"],
    "libempty_12_4.so": [f"1 registered: {EVERY_12}"],
    "libempty_unit.so": ["1 registered: sm_120", "1 registered: sm_75 compute_75/9.0"],
    "liblinked.so": [*["1 relocatable __nv_relfatbin: sm_80 sm_120"] * 2, "1 registered: sm_80 sm_120"],
    "liblz4.so": ["1 registered: compute_80/8.4 sm_70 sm_80"],
    "libno_gpu.so": [],
    "libextension.so": [],
    "libsecond.so": [],
    "libtorch_new.so": [],
    "libtorch_old.so": [],
    "libonly_empty.so": ["1 registered: sm_75 compute_75/9.0"],
    "liboptional.so": ["1 registered: sm_80 sm_90", "1 registered: sm_90a"],
    "libpartial.so": ["1 registered: sm_80 sm_90 sm_120", "1 registered: sm_80 sm_90"],
    "libserver.so": ["1 registered: sm_80 sm_90 sm_100 compute_120/9.0 sm_120"],
    "libsm_75.so": ["1 registered: sm_75"],
    "libsm_80.so": ["1 registered: sm_80"],
    "libsm_86.so": ["1 registered: sm_86"],
    "libsm_90.so": ["1 registered: sm_90"],
    "libsm_90_compute_90.so": ["1 registered: compute_90/9.0 sm_90"],
    "libsm_90a.so": ["1 registered: sm_90a"],
    "libsm_100f.so": ["1 registered: sm_100f"],
    "libsm_120.so": ["1 registered: sm_120"],
    "libsm_120a.so": ["1 registered: sm_120a"],
    "libsm_121.so": ["1 registered: sm_121"],
    "libtiny.so": [f"1 registered: {EVERY_13}"],
    "libtiny_12_4.so": [f"1 registered: {EVERY_12}"],
    "libtorch_2_4_1.so": ["2 registered: sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90"],
    "libzstd.so": ["1 registered: compute_80/9.0 sm_80 sm_120"],
    "libaarch64.so": ["1 registered: sm_90", "1 own: sm_90 sm_120a compute_90a/9.0"],
    "libdebug.so": ["1 registered: sm_90 debug"],
    "libhidden.so": [
        "1 own .rodata: sm_90",
        "1 own .rodata: sm_120a",
        "1 own .cask_resource: sm_90 sm_120a compute_90a/9.0",
        "1 own .data: sm_120",
    ],
    "librelocatable_ptx.so": [*["1 relocatable __nv_relfatbin: compute_80/9.0 sm_80"] * 2, "1 registered: sm_80"],
    "libunreferenced.so": ["1 registered: sm_90", "1 own: sm_120"],
    "libstripped.so": ["1 own PT_LOAD: sm_90", "1 own PT_LOAD: sm_120"],
    "code.dll": ["1 registered .nv_fatb: sm_90", "1 own .nv_fatb: sm_120"],
    "long_names.dll": ["1 registered: sm_90", "1 own: sm_120"],
    "code.obj": ["1 registered .nv_fatb: sm_90", "1 registered .nv_fatb: sm_120"],
    "code.lib": [
        "1 registered .nv_fatb: sm_90",
        "1 registered .nv_fatb: sm_120",
        "1 registered .nv_fatb: sm_90 sm_120a compute_90a/9.0",
    ],
    "merged.o": ["1 registered: sm_80 sm_120", "1 registered: sm_80"],
    "libstatic.a": ["1 registered: sm_80 sm_120", "1 registered: sm_80", "1 registered: sm_80"],
    "scale_90.cubin": ["1 own file: sm_90"],
    "scale_90a.cubin": ["1 own file: sm_90a"],
    "scale_100f.cubin": ["1 own file: sm_100f"],
    "scale_120a.cubin": ["1 own file: sm_120a"],
    "scale_80_12_4.cubin": ["1 own file: sm_80"],
    "scale_90a_12_4.cubin": ["1 own file: sm_90a"],
    "scale_75.ptx": ["1 own file: compute_75/9.0"],
    "scale_90a.ptx": ["1 own file: compute_90a/9.0"],
    "several.fatbin": ["1 own file: sm_90 sm_120a compute_90a/9.0"],
    "lto.fatbin": ["1 own file: lto_90"],
    "lto_and_sass.fatbin": ["1 own file: lto_90 sm_120"],
}
FORMATS = {".so": "elf", ".o": "elf", ".dll": "pe", ".obj": "pe", ".lib": "archive", ".a": "archive"}
NEEDED = {
    "code.dll": ("KERNEL32.dll", "USER32.dll"),
    "long_names.dll": ("KERNEL32.dll", "USER32.dll"),
    "libno_gpu.so": ("libm.so.6", "libc.so.6"),
    "libsecond.so": ("libextension.so", "libtorch_cpu.so", "libc.so.6"),
    "libaarch64.so": (),
    "libstripped.so": (),
    "libstatic.a": (),
}


WINDOWS = (DATA / "code.dll").read_bytes()


def archive(*members: bytes) -> bytes:
    """A static archive of these files."""
    rows = (f"{'file.o/':<16}{'':32}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2) for body in members)
    return b"!<arch>\n" + b"".join(rows)


def render_container(container: Container) -> str:
    owner = "registered" if container.registered else "relocatable" if container.relocatable else "own"
    place = "" if container.section == ".nv_fatbin" else f" {container.section}"
    return f"{container.count} {owner}{place}: " + " ".join(map(render_object, container.objects))


def render_object(code: CodeObject) -> str:
    name = f"{code.target}/{code.isa}" if code.isa else str(code.target or code.kind)
    return f"{name} debug" if code.debug else name


@pytest.mark.parametrize("name", FIXTURES)
def test_containers_of(name: str) -> None:
    assert [render_container(c) for c in read_library(DATA / name).containers] == FIXTURES[name]


@pytest.mark.parametrize("name", FIXTURES)
def test_format_and_nothing_odd(name: str) -> None:
    read = read_library(DATA / name)
    suffix = Path(name).suffix
    assert (read.format, read.odd) == (FORMATS.get(suffix, suffix[1:]), ())


@pytest.mark.parametrize("name", NEEDED)
def test_needed_of(name: str) -> None:
    assert read_library(DATA / name).needed == NEEDED[name]


def test_only_named_sections_are_searched_where_asked() -> None:
    searched = read_library(DATA / "libhidden.so", search={".cask_resource"})
    assert [c.section for c in searched.containers] == [".cask_resource"]


def test_every_fixture_is_listed_here() -> None:
    sources = {".cu", ".sh", ".md"}
    assert {path.name for path in DATA.iterdir() if path.suffix not in sources} == set(FIXTURES)


@pytest.mark.parametrize("name", FIXTURES)
def test_every_fixture_is_small(name: str) -> None:
    assert (DATA / name).stat().st_size < 60_000


def test_a_library_without_gpu_code() -> None:
    path = DATA / "libno_gpu.so"
    assert read_library(path, "mylib/libno_gpu.so") == Library(
        path="mylib/libno_gpu.so",
        size_bytes=path.stat().st_size,
        needed=("libm.so.6", "libc.so.6"),
        containers=(),
    )


def test_the_name_is_the_path_unless_told() -> None:
    path = DATA / "libsm_90.so"
    assert read_library(path).path == str(path)
    assert read_library(path, "torch/lib/libsm_90.so").name == "libsm_90.so"


@pytest.mark.parametrize(
    "data",
    [
        b"INPUT ( libcudart.so.12 )\n",
        b"GROUP ( libtbb.so.12 )\n",
        b"/* GNU ld script */\n",
        b"\x7fELF\x01\x01" + bytes(200),
        altered(WINDOWS, int.from_bytes(WINDOWS[60:64], "little") + 24, b"\x0b\x01"),
    ],
)
def test_a_linker_script_and_a_32_bit_library_hold_nothing(tmp_path: Path, data: bytes) -> None:
    """They are whole, and no loader of this machine would take GPU code from them."""
    path = tmp_path / "libcudart.so"
    path.write_bytes(data)
    assert read_library(path, "libcudart.so") == Library("libcudart.so", len(data), (), (), "script")


def test_what_is_no_library_is_a_format_error(tmp_path: Path) -> None:
    path = tmp_path / "libcudart.so"
    path.write_bytes(bytes(200))
    with pytest.raises(FormatError) as error:
        read_library(path)
    assert error.value.key == "not-elf"
    assert error.value.values == {"offset": 0, "found": bytes(6).hex(" ")}
    assert error.value.exit_code is ExitCode.UNDECIDED


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_library(tmp_path / "libmissing.so")


@pytest.mark.parametrize("name", ["libsm_90.so", "libmissing.so"])
def test_no_file_stays_open(name: str) -> None:
    before = os.listdir("/proc/self/fd")
    with suppress(FileNotFoundError):
        read_library(DATA / name)
    assert os.listdir("/proc/self/fd") == before


# --- damage ----------------------------------------------------------------------------------------------------------

SMALL = (DATA / "libconcatenated.so").read_bytes()
TABLE = int.from_bytes(SMALL[40:48], "little")
FATBIN = SMALL.index(bytes.fromhex("50ed55ba01001000"))
HUGE = [b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 7 + b"\x80", b"\0" * 4 + b"\1\0\0\0"]
"""2**64 - 1, 2**63 - 1, 2**63 and 2**32: sizes and offsets that no file has."""


def read_damaged(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    offsets: list[object] = []
    try:
        read_library(path)
    except FormatError as error:
        offsets.append(error.values["offset"])
    assert [offset for offset in offsets if not isinstance(offset, int)] == []


@pytest.mark.parametrize("size", [0, 1, 63, 64, FATBIN + 8, FATBIN + 100, TABLE, TABLE + 64, len(SMALL) - 1])
def test_a_cut_file_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "libcut.so").write_bytes(SMALL[:size])
    with pytest.raises(FormatError) as error:
        read_library(tmp_path / "libcut.so")
    assert error.value.key == "file-cut"


@pytest.mark.parametrize("value", HUGE)
def test_impossible_numbers_in_headers_are_read_or_refused(tmp_path: Path, value: bytes) -> None:
    fields = [32, 40, *range(TABLE, len(SMALL) - 7, 8), *range(FATBIN, FATBIN + 200, 8)]
    for field in fields:
        read_damaged(tmp_path / "libdamaged.so", SMALL[:field] + value + SMALL[field + 8 :])


@pytest.mark.parametrize("value", HUGE)
def test_an_impossible_section_count_is_refused(tmp_path: Path, value: bytes) -> None:
    """With a count of 0 in the ELF header, the real one stands in the size of section 0."""
    data = SMALL[:60] + bytes(2) + SMALL[62 : TABLE + 32] + value + SMALL[TABLE + 40 :]
    read_damaged(tmp_path / "libdamaged.so", data)


PLACES = st.one_of(
    st.integers(0, 63), st.integers(TABLE, len(SMALL) - 1), st.integers(FATBIN, FATBIN + 300), st.integers(0, TABLE)
)


@settings(
    deadline=None,
    max_examples=300,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(damage=st.lists(st.tuples(PLACES, st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))
def test_any_damage_is_read_or_refused(tmp_path: Path, damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(SMALL)
    for position, new in damage:
        data[position : position + len(new)] = new
    read_damaged(tmp_path / "libdamaged.so", bytes(data))


BARE = ("several.fatbin", "scale_90.cubin", "scale_80_12_4.cubin", "scale_75.ptx", "lto.fatbin")


def test_members_of_an_archive_that_are_code_themselves(tmp_path: Path) -> None:
    """No host object around them: what `ar` makes of the output of nvcc --cubin, --fatbin and --ptx."""
    path = tmp_path / "libbare.a"
    path.write_bytes(archive(*((DATA / name).read_bytes() for name in BARE)))
    expected = [row.replace(" file", " member") for name in BARE for row in FIXTURES[name]]
    assert sorted(map(render_container, read_library(path).containers)) == sorted(expected)


@pytest.mark.parametrize("name", [*BARE[:3], BARE[4]])
def test_a_damaged_member_says_where_in_the_archive(tmp_path: Path, name: str) -> None:
    first, body = (DATA / "scale_75.ptx").read_bytes(), (DATA / name).read_bytes()
    path = tmp_path / "libbare.a"
    path.write_bytes(archive(first, body[: len(body) * 3 // 4]))
    with pytest.raises(FormatError) as caught:
        read_library(path)
    begins = path.read_bytes().rindex(body[:16])
    assert int(str(caught.value.values["offset"])) >= begins


def test_code_in_the_resources_of_a_windows_library(tmp_path: Path) -> None:
    path = tmp_path / "code.dll"
    path.write_bytes(WINDOWS.replace(b".nv_fatb", b".rsrc\0\0\0", 1))
    assert [render_container(c) for c in read_library(path).containers] == ["1 own .rsrc: sm_90", "1 own .rsrc: sm_120"]
