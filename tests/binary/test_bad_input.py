"""Files that lie, one name for each lie: a clear error with its offset, never another exception, never a hang.

Memory is bounded too: the worst of them are read in a child process that may take 256 MB more than it has.
"""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from archfit.binary.library import parse_library, read_library
from archfit.binary.source import LARGEST_READ_BYTES, reader_of
from archfit.binary.wheel import list_members, open_wheel, read_member
from archfit.errors import FormatError
from archfit.model import Library, Text
from archfit.report.messages import Messages
from forge import ALLOC, CONTAINER_START, Packed, Part, altered, concatenated, container, elf, entry, wrapper, zipped

DATA = Path(__file__).parents[1] / "data"
FIXTURES = sorted(path.name for path in DATA.iterdir() if path.suffix not in {".cu", ".sh", ".md"})
LIBRARY = (DATA / "libsm_90.so").read_bytes()
TABLE = int.from_bytes(LIBRARY[40:48], "little")
DLL = (DATA / "code.dll").read_bytes()
COFF = int.from_bytes(DLL[60:64], "little") + 4
OBJECT, BIG_OBJECT = (DATA / "code.obj").read_bytes(), None
CUBIN = (DATA / "scale_90.cubin").read_bytes()
FATBIN = (DATA / "several.fatbin").read_bytes()
ARCHIVE = (DATA / "libstatic.a").read_bytes()
KERNEL = container(entry())
HUGE = 0xFFFF_FFF0


def archive(*members: tuple[bytes, bytes]) -> bytes:
    """A static archive of members with these names and sizes as they stand in their headers; no bytes follow."""
    rows = (name.ljust(16) + bytes(32).replace(b"\0", b" ") + size.ljust(10) + b"`\n" for name, size in members)
    return b"!<arch>\n" + b"".join(rows)


def sections(count: int) -> bytes:
    """An ELF file of one section, whose header says there are so many."""
    data = elf(Part(".rodata", KERNEL))
    table = int.from_bytes(data[40:48], "little")
    return altered(altered(data, 60, bytes(2)), table + 32, struct.pack("<Q", count))


# name -> bytes, key of the error, its offset (None: any)
FILES: dict[str, tuple[bytes, str, int | None]] = {
    "empty": (b"", "file-cut", 0),
    "noise": (bytes(range(256)), "not-elf", 0),
    "text": (b"hello, world\n" * 20, "not-elf", 0),
    # ELF
    "elf: section behind the end": (elf(Part(".rodata", KERNEL, size=1 << 20)), "file-cut", 64),
    "elf: section far behind the end": (elf(Part(".nv_fatbin", offset=1 << 40, size=99)), "file-cut", 1 << 40),
    "elf: section of 4 GB": (elf(Part(".nv_fatbin", KERNEL, size=HUGE)), "file-cut", 64),
    "elf: section of 2**64 bytes": (elf(Part(".rodata", KERNEL, size=2**64 - 1)), "file-cut", 64),
    "elf: offset of 2**63": (elf(Part(".rodata", offset=2**63, size=4096)), "file-cut", 2**63),
    "elf: two fatbin sections that overlap": (
        elf(Part(".nv_fatbin", KERNEL), Part(".nv_fatbin", offset=72, size=100)),
        "sections-overlap",
        72,
    ),
    "elf: data that overlaps a fatbin section": (
        elf(Part(".data", KERNEL), Part(".nv_fatbin", offset=64, size=len(KERNEL))),
        "sections-overlap",
        64,
    ),
    "elf: a fatbin section inside data": (
        elf(Part(".data", b"x" * 8 + KERNEL + b"x" * 8), Part(".nv_fatbin", offset=72, size=len(KERNEL))),
        "sections-overlap",
        72,
    ),
    "elf: data that begins inside a fatbin section": (
        elf(Part(".nv_fatbin", KERNEL + bytes(64)), Part(".data", offset=64 + len(KERNEL), size=8)),
        "sections-overlap",
        64 + len(KERNEL),
    ),
    "elf: 2**32 sections": (sections(2**32), "elf-section-count", 60),
    "elf: 2**64 - 1 sections": (sections(2**64 - 1), "elf-section-count", 60),
    "elf: 100,000 sections": (sections(100_000), "file-cut", None),
    "elf: names of 4 GB": (altered(LIBRARY, len(LIBRARY) - 64 + 32, struct.pack("<Q", HUGE)), "file-cut", None),
    "elf: wrappers of 4 GB": (elf(Part(".nv_fatbin", KERNEL), Part(".nvFatBinSegment", size=HUGE)), "file-cut", None),
    "elf: data between containers": (elf(Part(".nv_fatbin", KERNEL + b"surprise")), "fatbin-magic", 64 + len(KERNEL)),
    "elf: program headers of 3 MB": (
        altered(elf()[:64], 32, struct.pack("<QQ", 64, 0))[:56] + b"\xfe\xff" * 4,
        "file-cut",
        64,
    ),
    # PE
    "pe: header behind the end": (altered(DLL, 60, b"\xff\xff\xff\x7f"), "file-cut", 0x7FFFFFFF),
    "pe: header of another kind": (altered(DLL, COFF - 4, b"NE"), "not-pe", COFF - 4),
    "pe: header in itself": (altered(DLL, 60, bytes(4)), "not-pe", 0),
    "pe: unknown optional header": (altered(DLL, COFF + 20, b"\x07\x01"), "not-pe", COFF + 20),
    "pe: 65,535 sections": (altered(DLL, COFF + 2, b"\xff\xff"), "pe-section-count", COFF + 2),
    "pe: sections behind the end": (altered(DLL, COFF + 16, b"\xff\xff"), "file-cut", COFF + 20 + 0xFFFF),
    "pe: imports behind the end": (DLL[: DLL.index(b"KERNEL32.dll") - 100], "file-cut", None),
    # fatbins
    "fatbin: length of 2**64": (altered(FATBIN, 8, b"\xff" * 8), "fatbin-length", 8),
    "fatbin: entry of another version": (altered(FATBIN, 18, b"\2"), "fatbin-version", 18),
    "fatbin: entry that steps nowhere": (altered(FATBIN, 20, bytes(4)), "fatbin-entry", 20),
    "fatbin: entry header of 4 GB": (altered(FATBIN, 20, b"\xff" * 4), "fatbin-entry", 20),
    "fatbin: 2**32 parts in one entry": (
        container(concatenated(entry(payload=0), count=2**32 - 1)),
        "fatbin-entry",
        None,
    ),
    "fatbin: zeros and then data": (FATBIN + bytes(1000) + b"x" * 16, "fatbin-magic", len(FATBIN) + 1000),
    # cubins and PTX
    "cubin: target 0": (altered(CUBIN, 48, bytes(4)), "cubin-arch", 48),
    "cubin: program headers at 2**63": (altered(CUBIN, 32, b"\xff" * 7 + b"\x7f"), "file-cut", 0),
    "cubin: cut": (CUBIN[:-1], "file-cut", None),
    "ptx: no target": (b".version 8.4\n.address_size 64\n", "not-ptx", 0),
    "ptx: version of 5,000 digits": (b".version " + b"9" * 5000 + b".0\n.target sm_90\n", "not-elf", 0),
    # archives
    "archive: thin": (altered(ARCHIVE, 0, b"!<thin>\n"), "archive-thin", 0),
    "archive: header is none": (altered(ARCHIVE, 8 + 58, b"xx"), "archive-member", 8),
    "archive: size is no number": (archive((b"a.o/", b"-1")), "archive-member", 8),
    "archive: size without digits": (archive((b"a.o/", b"")), "archive-member", 8),
    "archive: size of 9.9 GB": (archive((b"a.o/", b"9999999999")), "archive-length", 56),
    "archive: header cut": (ARCHIVE[: 8 + 59], "file-cut", 8),
    "archive: member cut": (ARCHIVE[:-1], "archive-length", None),
    "archive: section behind the end of its member": (
        b"!<arch>\n"
        + b"a.o/".ljust(48)
        + b"%-10d`\n" % len(elf(Part(".data", size=999)))
        + elf(Part(".data", size=999)),
        "file-cut",
        8 + 60 + 64,
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_lie_is_told_with_its_offset(tmp_path: Path, name: str) -> None:
    data, key, offset = FILES[name]
    (tmp_path / "lie.so").write_bytes(data)
    with pytest.raises(FormatError) as error:
        read_library(tmp_path / "lie.so")
    assert error.value.key == key
    assert isinstance(error.value.values["offset"], int)
    assert offset is None or error.value.values["offset"] == offset
    assert_it_can_be_said(error.value)


def assert_it_can_be_said(error: FormatError) -> None:
    """In both languages, with every value that the sentence wants."""
    for language in ("en", "zh"):
        sentence = Messages(language).text(Text(error.key, {name: str(value) for name, value in error.values.items()}))
        assert "{" not in sentence
        assert str(error.values["offset"]) in sentence


@pytest.mark.parametrize("name", FIXTURES)
def test_a_file_cut_anywhere_is_refused_or_read_as_if_whole(name: str) -> None:
    """A sample of all places, every one at both ends. Nothing may be missing in silence, but for members of archives."""
    data = (DATA / name).read_bytes()
    whole = read(data)
    for size in (*range(100), *range(100, len(data), max(1, len(data) // 100)), *range(len(data) - 50, len(data))):
        found = read(data[:size])
        if found is None:
            continue
        if name.endswith((".a", ".lib", ".fatbin")):  # cut between two members, nothing can be noticed
            assert whole is not None
            assert set(found.containers) <= set(whole.containers)
        elif name.endswith(".ptx"):
            assert render(found) == render(whole)
        else:
            assert (size, found.containers) == (size, whole and whole.containers)


def read(data: bytes) -> Library | None:
    """What a file of these bytes holds; None where it is refused, which takes an offset."""
    try:
        return parse_library(reader_of(data), "name", len(data))
    except FormatError as error:
        assert isinstance(error.values["offset"], int)  # noqa: PT017
        return None


def render(library: Library | None) -> list[str]:
    return [str(code.target) for container in (library.containers if library else ()) for code in container.objects]


def test_damage_outside_the_packed_sections_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    data = elf(Part(".rodata", b"x" * 16 + container(b"no entry" * 20) + KERNEL))
    (tmp_path / "odd.so").write_bytes(data)
    read = read_library(tmp_path / "odd.so")
    assert [(str(c.objects[0].target), c.section) for c in read.containers] == [("sm_90", ".rodata")]
    assert [(t.key, t.values) for t in read.odd] == [("damaged-container", {"offset": "80", "count": "1"})]


def test_unknown_kinds_are_counted(tmp_path: Path) -> None:
    twice = container(entry(kind=0x400), entry(kind=0x10), entry())
    (tmp_path / "odd.so").write_bytes(elf(Part(".nv_fatbin", twice + twice)))
    odd = read_library(tmp_path / "odd.so").odd
    assert [(t.key, t.values["kind"], t.values["count"]) for t in odd] == [
        ("unknown-kind", "0x10", "2"),
        ("unknown-kind", "0x400", "2"),
    ]


def test_sections_that_overlap_are_searched_once(tmp_path: Path) -> None:
    data = elf(Part(".rodata", KERNEL), *(Part(f".data{i}", offset=64, size=len(KERNEL)) for i in range(2000)))
    (tmp_path / "overlap.so").write_bytes(data)
    assert [c.count for c in read_library(tmp_path / "overlap.so").containers] == [1]


# --- what would take hours -------------------------------------------------------------------------------------------


def nested_containers(count: int) -> bytes:
    """Each container says it reaches to the end, its entries step over the containers behind it, the last one is none."""
    step = 16 + 64
    body = bytearray()
    for number in range(count):
        left = (count - number) * step
        body += (
            CONTAINER_START
            + struct.pack("<Q", left)
            + entry(payload=0)[:8]
            + struct.pack("<Q", 16)
            + entry(payload=0)[16:]
        )
    return bytes(body) + bytes(64)


def nested_cubins(count: int) -> bytes:
    """Starts of cubins that all say they reach to the end."""
    start = bytearray(CUBIN[:64])
    start[32:48] = bytes(16)
    rows = []
    for number in range(count):
        start[40:48] = struct.pack("<Q", (count - number) * 64 - 0x40)
        rows.append(bytes(start[:58]) + struct.pack("<HHH", 64, 1, 0))
    return b"".join(rows) + bytes(64)


def endless_names(count: int, size: int) -> bytes:
    """Section names that never end: each one is the whole rest of a table of `size` bytes."""
    return elf(*(Part("x", offset=64, size=0) for _ in range(count)), names=b"x" * size)


def wrappers_again(count: int) -> bytes:
    """Sections of wrappers that all are the same 8 MB."""
    wrappers = wrapper(64) * ((8 << 20) // 24)
    again = (Part(".nvFatBinSegment", offset=64, size=len(wrappers)) for _ in range(count))
    return elf(Part(".nvFatBinSegment", wrappers), *again, Part(".nv_fatbin", container()))


SLOW: dict[str, Callable[[], bytes]] = {
    "containers in containers": lambda: elf(Part(".rodata", nested_containers(50_000))),
    "cubins in cubins": lambda: elf(Part(".rodata", nested_cubins(100_000))),
    "names without an end": lambda: endless_names(50_000, 4 << 20),
    "long names without an end": lambda: endless_names(50_000, 32 << 20),
    "wrappers again and again": lambda: wrappers_again(2000),
    "many wrappers, many sections": lambda: elf(
        *(Part(".nv_fatbin", container()) for _ in range(3000)),
        Part(".nvFatBinSegment", b"".join(wrapper(n) for n in range(50_000))),
    ),
}


@pytest.mark.parametrize("name", SLOW)
def test_what_would_take_hours_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "slow.so").write_bytes(SLOW[name]())
    assert "seconds" in read_in_child(tmp_path / "slow.so", seconds=20)


def sparse(path: Path, data: bytes, size: int = 8 << 30) -> Path:
    path.write_bytes(data)
    os.truncate(path, size)
    return path


SPARSE = {
    "section names": lambda: altered(LIBRARY, len(LIBRARY) - 64 + 32, struct.pack("<Q", 5 << 30)),
    "wrappers": lambda: elf(Part(".nv_fatbin", KERNEL), Part(".nvFatBinSegment", size=5 << 30)),
    "dynamic section": lambda: elf(Part(".dynamic", size=5 << 30, type=6)),
    "archive names": lambda: archive((b"//", b"5000000000")),
}


@pytest.mark.parametrize("name", SPARSE)
def test_a_sparse_file_that_claims_gigabytes_costs_no_memory(tmp_path: Path, name: str) -> None:
    path = sparse(tmp_path / "sparse.so", SPARSE[name]())
    assert "too-large" in read_in_child(path, seconds=20)


def test_wrappers_of_many_versions_cost_no_memory_but_their_own(tmp_path: Path) -> None:
    wrappers = b"".join(wrapper(64, version) for version in range((4 << 20) // 24))
    (tmp_path / "versions.so").write_bytes(elf(Part(".nv_fatbin", KERNEL), Part(".nvFatBinSegment", wrappers)))
    tracemalloc.start()
    try:
        read_library(tmp_path / "versions.so")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(wrappers)


@pytest.mark.parametrize("count", [60_000, 200_000])
def test_names_of_libraries_without_an_end_cost_no_memory(tmp_path: Path, count: int) -> None:
    """Each one would be a whole table of 16 KB."""
    dynamic = struct.pack("<qQ", 1, 0) * count + struct.pack("<qQ", 1, 16_000)
    data = elf(Part(".dynstr", b"x" * (16 << 10)), Part(".dynamic", dynamic, type=6))
    link = int.from_bytes(data[40:48], "little") + 2 * 64 + 40
    (tmp_path / "needed.so").write_bytes(altered(data, link, struct.pack("<I", 1)))
    assert "seconds" in read_in_child(tmp_path / "needed.so", seconds=20)


def test_a_sparse_section_is_searched_without_memory(tmp_path: Path) -> None:
    path = sparse(tmp_path / "sparse.so", elf(Part(".rodata", KERNEL, size=150 << 20)), 1 << 30)
    assert "1 containers" in read_in_child(path, seconds=20)


CHILD = """
import resource, sys, time
from pathlib import Path
from archfit.binary.library import read_library
from archfit.binary.wheel import list_members, open_wheel, read_member
from archfit.errors import FormatError
from archfit.model import Library, Text
from archfit.report.messages import Messages

def read(path):
    if path.suffix == ".whl":
        with open_wheel(path) as wheel:
            return [read_member(wheel, member)[0] for member in list_members(wheel)][0]
    return read_library(path)

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), used + (256 << 20)))
start = time.perf_counter()
try:
    print(sum(c.count for c in read(Path(sys.argv[1])).containers), "containers")
except FormatError as error:
    print(error)
print(round(time.perf_counter() - start, 2), "seconds")
"""


def read_in_child(path: Path, seconds: float) -> str:
    """What a child process says that may use 256 MB more than it has at start; any other exception fails."""
    child = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, timeout=seconds)
    assert child.returncode == 0, child.stderr[-2000:]
    return child.stdout


# --- files that are none, or change ----------------------------------------------------------------------------------


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.so")
    with pytest.raises(FormatError) as error:
        read_library(tmp_path / "pipe.so")
    assert error.value.key == "not-a-file"


@pytest.mark.parametrize("path", [Path("/dev/zero"), Path("/dev/null"), DATA])
def test_a_device_and_a_folder_are_no_files(path: Path) -> None:
    with pytest.raises(FormatError) as error:
        read_library(path)
    assert error.value.key == "not-a-file"


def test_a_link_to_itself_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "loop.so").symlink_to("loop.so")
    with pytest.raises(OSError, match="symbolic links"):
        read_library(tmp_path / "loop.so")


def test_a_file_that_may_not_be_read_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "secret.so").write_bytes(LIBRARY)
    (tmp_path / "secret.so").chmod(0)
    me = os.geteuid()
    if me == 0:  # who may read everything becomes nobody for a moment
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError):
            read_library(tmp_path / "secret.so")
    finally:
        os.seteuid(me)


@pytest.mark.parametrize("section", [".rodata", ".nv_fatbin"])
def test_a_file_that_gets_shorter_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    data = elf(Part(section, KERNEL + bytes(100_000) + KERNEL))
    path = tmp_path / "shrinks.so"
    path.write_bytes(data)
    pread = os.pread

    def shrinking(descriptor: int, size: int, offset: int) -> bytes:
        read = pread(descriptor, size, offset)
        if offset >= 64 + len(KERNEL) and not read.strip(b"\0"):  # behind the first container
            os.truncate(path, 64 + len(KERNEL) + 500)
        return read

    monkeypatch.setattr(os, "pread", shrinking)
    with pytest.raises(FormatError) as error:
        read_library(path)
    assert error.value.key == "file-cut"


# --- wheels ----------------------------------------------------------------------------------------------------------


def deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


def packed(name: str = "libx.so", data: bytes = LIBRARY, **lies: object) -> Packed:
    told = {"size": len(data), "crc": zlib.crc32(data)} | lies
    return Packed(name, deflated(data), **told)  # type: ignore[arg-type]


GOOD = zipped(packed())
BOMB = deflated(bytes(300 << 20))

WHEELS: dict[str, tuple[bytes, str, int | None]] = {
    "empty": (b"", "not-zip", 0),
    "no zip": (LIBRARY, "not-zip", 0),
    "cut before the directory": (GOOD[: len(GOOD) // 2], "not-zip", 0),
    "cut in the directory": (GOOD[:-30], "not-zip", 0),
    "only the end": (GOOD[-22:], "not-zip", 0),
    "directory before the start": (altered(GOOD, len(GOOD) - 10, struct.pack("<I", HUGE)), "not-zip", 0),
    "name that climbs": (zipped(packed("../../etc/libx.so")), "zip-name", 0),
    "name that climbs, Windows": (zipped(packed("torch\\..\\..\\x.dll")), "zip-name", 0),
    "name from the root": (zipped(packed("/usr/lib/libx.so")), "zip-name", 0),
    "name with a drive": (zipped(packed("C:/x.dll")), "zip-name", 0),
    "name of nothing": (zipped(packed("")), "zip-name", 0),
    "encrypted": (zipped(packed(flags=1)), "zip-encrypted", 0),
    "bzip2": (zipped(packed(method=12)), "zip-method", 0),
    "zstd": (zipped(packed(method=93)), "zip-method", 0),
    "member that is none": (altered(GOOD, 0, b"PK\7\7"), "zip-member", 0),
    "member behind the end": (zipped(packed(offset=HUGE)), "zip-member", HUGE),
    "wrong checksum": (zipped(packed(crc=1)), "zip-crc", 0),
    "wrong checksum of a stored member": (
        zipped(Packed("libx.so", LIBRARY, len(LIBRARY), crc=1, method=0)),
        "zip-crc",
        0,
    ),
    "deflate damaged": (altered(GOOD, 37, b"\xff" * 8), "zip-damaged", 0),
    "deflate ends early": (zipped(packed(packed_size=2000)), "zip-damaged", 0),
    "more bytes than told": (zipped(packed(size=1000)), "stream-longer", 1000),
    "far fewer bytes than told": (zipped(packed(data=LIBRARY[:20], size=20 << 20, crc=0)), "zip-crc", 0),
    "fewer bytes than any header": (
        zipped(Packed("libx.so", LIBRARY[:20], 20 << 20, zlib.crc32(LIBRARY[:20]), method=0)),
        "file-cut",
        20,
    ),
    "nothing in it": (zipped(packed(data=b"")), "file-cut", 0),
    "fewer bytes than told": (zipped(packed(size=len(LIBRARY) + 1)), "file-cut", len(LIBRARY)),
    "4 GB told": (zipped(packed(size=HUGE)), "zip-bomb", 0),
    "dense": (zipped(Packed("libx.so", BOMB, 300 << 20)), "zip-bomb", 0),
    "overlapping members": (
        zipped(packed(), *(Packed(f"lib{i}.so", b"", len(LIBRARY), packed_size=6000, offset=0) for i in range(50))),
        "zip-bomb",
        0,
    ),
}


def read_wheel(path: Path) -> list[object]:
    with open_wheel(path) as wheel:
        return [read_member(wheel, member)[0] for member in list_members(wheel)]


@pytest.mark.parametrize("name", WHEELS)
def test_a_wheel_that_lies_is_refused_with_an_offset(tmp_path: Path, name: str) -> None:
    data, key, offset = WHEELS[name]
    path = tmp_path / "x-1.0-py3-none-any.whl"
    path.write_bytes(data)
    with pytest.raises(FormatError) as error:
        read_wheel(path)
    assert (error.value.key, error.value.values["offset"]) == (key, offset)
    assert_it_can_be_said(error.value)


def test_a_wheel_made_by_hand_is_read(tmp_path: Path) -> None:
    """What the lies are made from is true."""
    (tmp_path / "x.whl").write_bytes(GOOD)
    assert len(read_wheel(tmp_path / "x.whl")) == 1


def test_a_wheel_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    for size in range(0, len(GOOD), 7):
        path.write_bytes(GOOD[:size])
        with pytest.raises(FormatError):
            read_wheel(path)


def test_a_zip64_wheel_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made,
        made.open("libx.so", "w", force_zip64=True) as member,
    ):
        member.write(LIBRARY)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as made:
        made.comment = b"a comment"
    assert len(read_wheel(path)) == 1


def test_a_zip64_offset_behind_every_end_is_refused(tmp_path: Path) -> None:
    """The directory sends to 2**64 - 2."""
    plain = zipped(packed())
    start = plain.index(b"PK\1\2")
    extra = struct.pack("<HHQ", 1, 8, 2**64 - 2)
    row = bytearray(plain[start : start + 46] + b"libx.so" + extra)
    row[30:32] = struct.pack("<H", len(extra))
    row[42:46] = b"\xff" * 4
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(row), start, 0)
    (tmp_path / "x.whl").write_bytes(plain[:start] + bytes(row) + end)
    with pytest.raises(FormatError) as error:
        read_wheel(tmp_path / "x.whl")
    assert error.value.key in ("zip-member", "not-zip")


def test_a_wheel_that_gets_shorter_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    path.write_bytes(GOOD)
    with open_wheel(path) as wheel:
        (member,) = list_members(wheel)
        os.truncate(path, len(GOOD) // 2)
        with pytest.raises(FormatError) as error:
            read_member(wheel, member)
    assert error.value.key == "zip-damaged"


@pytest.mark.parametrize("size", [60 << 20, 20 << 20])
def test_a_bomb_below_the_limit_costs_no_memory(tmp_path: Path, size: int) -> None:
    """60 MB of zeros in 60 KB: not refused for its size, but it is no library, and is never held whole."""
    data = elf(Part(".rodata", KERNEL))[:64].ljust(size, b"\0")
    path = tmp_path / "x.whl"
    path.write_bytes(zipped(Packed("libx.so", deflated(data), size, crc=zlib.crc32(data))))
    assert "seconds" in read_in_child(path, seconds=30)


def test_a_sparse_zip_directory_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    size = 3 << 30
    path.write_bytes(b"")
    os.truncate(path, size)
    with path.open("r+b") as file:
        file.seek(0, 2)
        file.write(struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, size - 100, 50, 0))
    assert "too-large" in read_in_child(path, seconds=20)


def test_the_child_would_notice(tmp_path: Path) -> None:
    """The limit on its memory works."""
    limit = CHILD.replace("print(sum", "bytearray(400 << 20); print(sum")
    child = subprocess.run([sys.executable, "-c", limit, str(DATA / "libsm_90.so")], capture_output=True, text=True)
    assert "MemoryError" in child.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 0
    assert LARGEST_READ_BYTES < 256 << 20
    assert ALLOC == 2
