"""One law: a file that passes by once holds what the same file on disk holds, however it is cut into pieces."""

from __future__ import annotations

import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from archfit.binary import stream
from archfit.binary.library import read_library
from archfit.binary.stream import read_stream
from archfit.binary.wheel import list_members, open_wheel, read_member
from archfit.errors import FormatError
from archfit.model import Library
from forge import ALLOC, EXEC, Part, altered, container, elf, entry, wrapper

DATA = Path(__file__).parents[1] / "data"
FIXTURES = sorted(path.name for path in DATA.iterdir() if path.suffix not in {".cu", ".sh", ".md"})
IMAGES = [name for name in FIXTURES if name.endswith((".so", ".dll", ".o"))]
PIECES = [1, 7, 64, 4096]

MADE = {
    "a container across everything": elf(Part(".rodata", b"x" * 5000 + container(entry(payload=9000)) + b"y" * 5000)),
    "two sections, one of instructions": elf(
        Part(".text", b"t" * 100 + container(entry(arch=80)), flags=ALLOC | EXEC),
        Part(".data", b"d" * 100 + container(entry(arch=90)) + b"d"),
    ),
    "wrapped and not": elf(
        Part(".nv_fatbin", container(entry(arch=80)) + bytes(4096) + container(entry(arch=90))),
        Part(".nvFatBinSegment", wrapper(64)),
    ),
    "overlapping sections": elf(
        Part(".rodata", b"x" * 100 + container(entry()) + b"x" * 100), Part(".data", flags=ALLOC, offset=64, size=8300)
    ),
    "a container that is none, in a section and outside": elf(
        Part(".rodata", container(b"nothing" * 20) + container(entry(arch=75))),
        Part(".comment", container(b"nothing" * 20), flags=0),
    ),
    "unknown code": elf(Part(".rodata", container(entry(kind=0x400), entry(kind=0x80)))),
    "32-bit": b"\x7fELF\x01\x01" + bytes(200),
    "no GPU code": elf(Part(".rodata", b"x" * 100_000)),
}


def cut(data: bytes, size: int) -> Callable[[], Iterator[bytes]]:
    return lambda: (data[at : at + size] for at in range(0, len(data), size))


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files go the way of large ones."""
    monkeypatch.setattr(stream, "WHOLE_BYTES", 0)


def without_needed(library: Library) -> Library:
    return replace(library, needed=())


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize("name", FIXTURES)
def test_a_stream_holds_what_the_file_holds(name: str, size: int) -> None:
    data = (DATA / name).read_bytes()
    assert without_needed(read_stream(cut(data, size), name, len(data))) == without_needed(
        read_library(DATA / name, name, search="all")
    )


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("size", PIECES)
@pytest.mark.parametrize("name", MADE)
def test_a_stream_holds_what_a_file_made_by_hand_holds(tmp_path: Path, name: str, size: int) -> None:
    (tmp_path / "made.so").write_bytes(MADE[name])
    on_disk = read_library(tmp_path / "made.so", "made.so", search="all")
    assert without_needed(read_stream(cut(MADE[name], size), "made.so", len(MADE[name]))) == on_disk


@pytest.mark.parametrize("name", FIXTURES)
def test_a_small_stream_knows_what_is_needed_too(name: str) -> None:
    data = (DATA / name).read_bytes()
    assert read_stream(cut(data, 4096), name, len(data)) == read_library(DATA / name, name, search="all")


@pytest.mark.usefixtures("small_is_large")
def test_headers_that_stand_far_from_both_ends_are_read_in_a_second_pass() -> None:
    """Program headers behind the first 64 KB; the table of sections in the middle of the file."""
    data = elf(Part(".rodata", b"x" * 100 + container(entry()) + b"x" * 100))
    table = int.from_bytes(data[40:48], "little")
    program = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, 64, 64, 8)
    far = data + bytes(100_000) + program + bytes(3_000_000)
    far = altered(far, 32, struct.pack("<Q", len(data) + 100_000))
    far = altered(far, 56, struct.pack("<H", 1))
    opened = []
    read = read_stream(lambda: opened.append(1) or cut(far, 4096)(), "far.so", len(far))
    assert [c.section for c in read.containers] == [".rodata"]
    assert table < len(data)


@pytest.mark.usefixtures("small_is_large")
def test_a_file_with_headers_at_its_ends_passes_only_once() -> None:
    for name in ("libserver.so", "libhidden.so", "code.dll"):
        data = (DATA / name).read_bytes()
        opened: list[int] = []
        read_stream(lambda data=data: opened.append(1) or cut(data, 4096)(), name, len(data))
        assert len(opened) == 1


# --- damage ----------------------------------------------------------------------------------------------------------


def outcome(read: Callable[[], Library]) -> tuple[object, ...] | Library:
    try:
        return without_needed(read())
    except FormatError as error:
        return (error.key, error.values["offset"])


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("name", ["libpartial.so", "libembedded.so", "code.dll", "libunreferenced.so"])
def test_a_damaged_stream_is_refused_where_the_file_is(tmp_path: Path, name: str) -> None:
    """Headers altered at random: both ways give the same answer, or the same error at the same offset."""
    data = (DATA / name).read_bytes()
    chance = random.Random(name)
    starts = [at for at in range(len(data)) if data.startswith(bytes.fromhex("50ed55ba01001000"), at)]
    for _ in range(300):
        at = chance.choice(starts) + chance.randrange(144)
        broken = altered(data, at, bytes([chance.randrange(256)]))
        (tmp_path / name).write_bytes(broken)
        on_disk = outcome(lambda: read_library(tmp_path / name, name))
        passing = outcome(lambda broken=broken: read_stream(cut(broken, 4096), name, len(broken)))
        assert passing == on_disk, at


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("name", IMAGES)
def test_a_stream_that_ends_early_or_late_is_refused(name: str) -> None:
    data = (DATA / name).read_bytes()
    with pytest.raises(FormatError) as error:
        read_stream(cut(data[:-1], 4096), name, len(data))
    assert error.value.key == "file-cut"
    with pytest.raises(FormatError) as error:
        read_stream(cut(data + b"x", 4096), name, len(data))
    assert (error.value.key, error.value.values["offset"]) == ("stream-longer", len(data))


def test_only_headers_of_a_large_file_may_pass() -> None:
    """What has to be held whole must not be larger than 256 MB, and is not read to find that out."""

    def endless() -> Iterable[bytes]:
        yield b".version 9.0\n.target sm_90\n".ljust(1 << 20)
        raise AssertionError("read on")

    with pytest.raises(FormatError) as error:
        read_stream(endless, "huge.ptx", 1 << 30)
    assert error.value.key == "stream-too-large"


# --- wheels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_members_of_a_wheel_are_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: int, whole: bool
) -> None:
    if not whole:
        monkeypatch.setattr(stream, "WHOLE_BYTES", 0)
    path = tmp_path / "package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", method, compresslevel=zlib.Z_BEST_SPEED) as made:
        for name in FIXTURES:
            made.write(DATA / name, f"package/{name}")
        made.writestr("package/", b"")
    with open_wheel(path) as wheel:
        members = list_members(wheel)
        read = {member.name: read_member(wheel, member)[0] for member in members}
    assert list(read) == [f"package/{name}" for name in FIXTURES]
    for name in FIXTURES:
        on_disk = read_library(DATA / name, f"package/{name}", search="all")
        assert without_needed(read[f"package/{name}"]) == without_needed(on_disk)


def test_a_wheel_tells_how_much_of_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "package-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.write(DATA / "libserver.so", "libserver.so")
    told: list[int] = []
    with open_wheel(path) as wheel:
        (member,) = list_members(wheel)
        read_member(wheel, member, told.append)
    assert sum(told) == member.packed_bytes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("torch/lib/libtorch_cuda.so", True),
        ("nvidia/cublas/lib/libcublas.so.12", True),
        ("nvidia/cublas/bin/cublas64_12.dll", True),
        ("torch/_C.cp311-win_amd64.pyd", True),
        ("flashinfer/x.CUBIN", True),
        ("lib/libx.a", True),
        ("triton/backends/nvidia/bin/ptxas", True),
        ("triton/backends/nvidia/bin/ptxas-blackwell", True),
        ("torch/__init__.py", False),
        ("torch/so", False),
        ("torch/x.so.txt", False),
    ],
)
def test_a_name_says_whether_there_can_be_code(tmp_path: Path, name: str, expected: bool) -> None:
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(name, b"x")
    with open_wheel(path) as wheel:
        assert [member.may_hold_code for member in list_members(wheel)] == [expected]
