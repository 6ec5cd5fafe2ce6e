"""Feed the reader with altered files until something else than its own error comes out.

    python tools/fuzz.py elf                     1,000,000 executions, some minutes
    python tools/fuzz.py wheel --runs 50000      fewer
    python tools/fuzz.py elf --again FILE        one file that failed, with its traceback

Targets: elf pe fatbin wheel archive cubin stream follow kernels compiler. Needs the group `fuzz` (atheris, which is
libFuzzer for Python): ``uv pip install --group fuzz -e .``. A failure is any exception but FormatError, a run over a second,
or a process over 512 MB; the file that did it stays in ``.fuzz/TARGET/failures``. The seeds are fixtures of tests/data and
files made by hand. `stream` also compares: what a file on disk holds, it must hold when it passes by once in small pieces;
and `follow`: the compiled loop, which reads files, must say what the Python loop says, which reads bytes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
WORK = ROOT / ".fuzz"
LARGEST_SEED_BYTES = 16_000
LIMITS = ("-timeout=1", "-rss_limit_mb=512", f"-max_len={2 * LARGEST_SEED_BYTES}", "-print_final_stats=1")
sys.path.insert(0, str(ROOT / "tests"))


# --- what is fed -----------------------------------------------------------------------------------------------------


def fixtures(*suffixes: str) -> Iterator[bytes]:
    for path in sorted(DATA.iterdir()):
        if path.suffix in suffixes and path.stat().st_size <= LARGEST_SEED_BYTES:
            yield path.read_bytes()


def elf_seeds() -> Iterator[bytes]:
    from forge import ALLOC, EXEC, Part, container, elf, entry, wrapper

    small = container(entry(payload=64), entry(kind=1, payload=8))
    yield elf(Part(".nv_fatbin", small + small), Part(".nvFatBinSegment", wrapper(64)))
    yield elf(Part("__nv_relfatbin", small), Part(".rodata", b"data" + small + b"data"))
    yield elf(Part(".text", small, flags=ALLOC | EXEC), Part(".data", small))
    yield from fixtures(".so", ".o")


def pe_seeds() -> Iterator[bytes]:
    windows = (DATA / "code.dll").read_bytes()
    yield windows
    yield windows[:0x600]  # all headers, no bytes behind them
    yield (DATA / "long_names.dll").read_bytes()
    yield from fixtures(".obj")


def fatbin_seeds() -> Iterator[bytes]:
    from forge import concatenated, container, entry

    yield container(entry(payload=64), entry(kind=1, payload=8), entry(kind=8, payload=16))
    yield (
        container(concatenated(entry(payload=0), entry(kind=1, payload=0)), entry(payload=8)) + bytes(40) + container()
    )
    yield from fixtures(".fatbin")


def archive_seeds() -> Iterator[bytes]:
    from forge import Part, container, elf, entry

    member = elf(Part(".nv_fatbin", container(entry(payload=64))))
    rows = (
        ("//", b"a_long_name_for_a_member.o/\n"),
        ("/0", member),
        ("/", b"\0\0\0\0"),
        ("#1/8", b"name.o\0\0" + member),
    )
    yield b"!<arch>\n" + b"".join(
        f"{name:<48}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2) for name, data in rows
    )
    yield from fixtures(".a", ".lib")


def wheel_seeds() -> Iterator[bytes]:
    """The first byte: even for a zip as it is, odd for the lies of a structured one."""
    from forge import Packed, Part, container, elf, entry, zipped

    library = elf(Part(".nv_fatbin", container(entry(payload=64))))
    member = Packed("libx.so", deflated(library), len(library), zlib.crc32(library))
    yield b"\0" + zipped(member, Packed("ptxas", library, len(library), zlib.crc32(library), method=0))
    yield b"\0" + zipped(member, comment=b"a comment")
    yield b"\1" + bytes(16) + library


def compiler_seeds() -> Iterator[bytes]:
    from forge import Part, elf

    told = b"\0-arch=compute_90a\0compute_100\0Cuda compilation tools, release 12.9, V12.9.86\0"
    yield elf(Part(".rodata", told), Part(".data", told))


def deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(1, zlib.DEFLATED, -15)
    return machine.compress(data) + machine.flush()


SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "elf": elf_seeds,
    "pe": pe_seeds,
    "fatbin": fatbin_seeds,
    "wheel": wheel_seeds,
    "archive": archive_seeds,
    "cubin": lambda: fixtures(".cubin", ".ptx"),
    "stream": lambda: (
        bytes([size]) + data for size in (0, 20) for data in (*elf_seeds(), *pe_seeds(), *archive_seeds())
    ),
    "follow": lambda: (*elf_seeds(), *fatbin_seeds()),
    "kernels": fatbin_seeds,
    "compiler": compiler_seeds,
}


# --- what it is fed to -----------------------------------------------------------------------------------------------


def targets() -> dict[str, Callable[[bytes], object]]:
    """Each one takes the bytes of a file and may raise FormatError, and nothing else."""
    from archfit.binary import compilers, kernels, library, stream
    from archfit.binary.source import reader_of
    from archfit.errors import FormatError

    def read(data: bytes) -> object:
        return library.parse_library(reader_of(data), "name", len(data))

    def begun(start: bytes) -> Callable[[bytes], object]:
        """Most altered magic numbers lead nowhere: every second file gets the right one."""
        return lambda data: read(start + data[len(start) :] if len(data) % 2 else data)

    def outcome(reading: Callable[[], object]) -> object:
        try:
            return reading()
        except FormatError as error:
            return error.key if error.key != "stream-longer" else "file-cut"

    def read_stream(data: bytes) -> None:
        size, data = 97 + data[0] * 64 if data else 97, data[1:]
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        with patch.object(stream, "WHOLE_BYTES", 0):
            passing = outcome(lambda: stream.read_stream(lambda: iter(pieces), "name", len(data)).containers)
        on_disk = outcome(lambda: library.parse_library(reader_of(data), "name", len(data)).containers)
        if isinstance(passing, tuple) and isinstance(on_disk, tuple) and passing != on_disk:
            raise AssertionError(f"{passing} in passing, {on_disk} on disk")

    def read_followed(data: bytes) -> None:
        in_memory = words(lambda: library.parse_library(reader_of(data), "name", len(data)))
        with open(os.memfd_create("followed"), "wb", buffering=0) as file:
            file.write(data)
            on_disk = words(lambda: library.read_library(Path(f"/proc/self/fd/{file.fileno()}"), "name"))
        if on_disk != in_memory:
            raise AssertionError(f"{on_disk} with the compiled loop, {in_memory} without")

    def words(reading: Callable[[], object]) -> object:
        try:
            return reading()
        except FormatError as error:
            return error.key, error.values

    def read_kernels(data: bytes) -> None:
        for name in kernels.container_kernels(reader_of(data), 0, len(data)):
            kernels.readable(name)

    def read_compiler(data: bytes) -> None:
        compilers.parse_compiler([data[:100], data[100:]], "ptxas")

    return {
        "elf": begun(b"\x7fELF\2\1\1"),
        "pe": begun(b"MZ"),
        "fatbin": begun(bytes.fromhex("50ed55ba01001000")),
        "archive": begun(b"!<arch>\n"),
        "cubin": read,
        "wheel": read_wheel,
        "stream": read_stream,
        "follow": read_followed,
        "kernels": read_kernels,
        "compiler": read_compiler,
    }


def read_wheel(data: bytes) -> None:
    from archfit.binary.source import reader_of
    from archfit.binary.wheel import FileArchive, list_members, read_member
    from archfit.errors import FormatError

    data = data[1:] if data[:1] < b"\1" or data[0] % 2 == 0 else lying_wheel(data[1:17].ljust(16, b"\0"), data[17:])
    archive = FileArchive(reader_of(data), len(data))
    for member in list_members(archive):
        try:
            read_member(archive, member)
        except FormatError:
            continue


def lying_wheel(lies: bytes, data: bytes) -> bytes:
    """A zip of `data`, deflated; where one of the `lies` is not 0 its field is another than the truth."""
    from forge import Packed, zipped

    size, packed_size, crc, offset, method, flags = struct.unpack_from("<IIIHBB", lies)
    packed = deflated(data)
    member = Packed(
        "name/../x.so" if flags == 255 else "ptxas" if flags == 254 else "libx.so",
        packed,
        (len(data) + size) % 2**32,
        zlib.crc32(data) ^ crc,
        method ^ 8,
        flags if flags < 16 else 0,
        (len(packed) + packed_size) % 2**32,
        offset,
    )
    return zipped(member, member)


# --- running ---------------------------------------------------------------------------------------------------------


def fuzz(target: str, arguments: list[str]) -> None:
    """In the child process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["archfit"]):
        feed = targets()[target]
    from archfit.errors import FormatError

    def one(data: bytes) -> None:
        try:
            feed(data)
        except FormatError as error:
            int(error.values["offset"])  # type: ignore[call-overload]  # there always is one

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def run(target: str, runs: int, again: Path | None) -> int:
    """Write the seeds, run the child, say what came out; returns an exit code."""
    folder = WORK / target
    failures = folder / "failures"
    shutil.rmtree(folder / "seeds", ignore_errors=True)
    for part in (folder / "seeds", folder / "corpus", failures):
        part.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[target]()):
        (folder / "seeds" / str(number)).write_bytes(seed)
    what = [str(again)] if again else [f"-runs={runs}", str(folder / "corpus"), str(folder / "seeds")]
    start = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, __file__, target, "--child", *LIMITS, f"-artifact_prefix={failures}/", *what],
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    told: list[str] = []
    assert child.stderr
    for line in child.stderr:
        told.append(line)
        if again or re.match(r"#\d+\s+(INITED|pulse|DONE)", line):
            print(line, end="", file=sys.stderr)
    code = child.wait()
    done = re.findall(r"(?:number_of_executed_units|peak_rss_mb|slowest_unit_time_sec): +(\d+)", "".join(told))
    executed, slowest, peak = [*done, "?", "?", "?"][:3]
    print(
        f"{target}: {executed} executions in {time.monotonic() - start:.0f} s, slowest {slowest} s, peak {peak} MB, "
        f"{'no failure' if code == 0 else f'FAILED, see {failures}'} "
        f"(atheris {metadata.version('atheris')}, Python {sys.version.split()[0]})"
    )
    if code and not again:
        print("".join(told[-60:]), file=sys.stderr)
    return 1 if code else 0


def main() -> int:
    if "--child" in sys.argv:
        fuzz(sys.argv[1], sys.argv[3:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=sorted(SEEDS))
    parser.add_argument("--runs", type=int, default=1_000_000, help="how many files (default: 1,000,000)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="only this file")
    options = parser.parse_args()
    try:
        metadata.version("atheris")
    except metadata.PackageNotFoundError:
        parser.error("atheris is not installed: uv pip install --group fuzz -e .")
    os.nice(5)
    return run(options.target, options.runs, options.again)


if __name__ == "__main__":
    sys.exit(main())
