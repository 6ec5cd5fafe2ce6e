#!/usr/bin/env python3
"""Compare archfit's reader with NVIDIA's `cuobjdump`, code object by code object, on released wheels from PyPI.

usage: python tools/compare_cuobjdump.py [--only PACKAGE ...] [--scratch FOLDER] [--rows FILE] [--table FILE]

The wheels stand in compare_cuobjdump.toml beside this file. Each is downloaded with pip, its libraries are unpacked one at a
time, compared and deleted. For every library:

* `cuobjdump -all` must list the same code objects as we find in the sections it looks into: kind, target with its suffix, PTX
  ISA version, compressed or not; and `--list-elf` and `--list-ptx` the same numbers for each target.
* What it does not look into (Windows DLLs; every section but .nv_fatbin and __nv_relfatbin) is carved out and given to it.
* The eight bytes that every container starts with must occur in the file as often as we count containers.
* Where the catalog names the sections of a well-known library, no other section holds code.
* `read_member` of the wheel, which never unpacks, must give what `read_library` of the unpacked file gives.

Where cuobjdump 13.5 refuses a file, 12.4 is asked. Every difference has an explanation below, or the exit code is 4.
One library takes cuobjdump up to 6 GB of memory and a minute.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import tomllib

from archfit.binary.fatbin import CONTAINER_START
from archfit.binary.library import find_containers, read_library
from archfit.binary.source import open_file
from archfit.binary.wheel import list_members, open_wheel, read_member
from archfit.catalog import load_catalog
from archfit.errors import FormatError
from archfit.model import CodeObject, Library

LIST = Path(__file__).with_suffix(".toml")
_TAGS = {
    "linux-x86_64": [f"manylinux_2_{n}_x86_64" for n in range(17, 40)] + ["manylinux2014_x86_64", "linux_x86_64"],
    "linux-aarch64": [f"manylinux_2_{n}_aarch64" for n in range(17, 40)] + ["manylinux2014_aarch64"],
    "windows": ["win_amd64"],
}
# Who carries which cuobjdump: package, version, member of the wheel.
_NEW = ("nvidia-cuda-cuobjdump", "13.5.37", "nvidia/cu13/bin/cuobjdump")
_OLD = ("triton", "3.1.0", "triton/backends/nvidia/bin/cuobjdump")
_READ_BY_IT = (".nv_fatbin", "__nv_relfatbin")
_KINDS = {"elf": "sass", "cubin": "sass", "relocatable ptx": "ptx", "nvvm": "lto", "tile ir": "tile"}
_SUFFIXES_BEGIN = 90  # no target below sm_90 has an `a` or an `f`

# The words of Row.explained:
#   DLL                cuobjdump on Linux says "does not contain device code" of every DLL: its containers were carved out
#   .rodata: 3         containers in a section it does not look into, carved out and given to it likewise
#   13.5: no sm_35     it refuses the file, or says ``Invalid ELF`` or, of a bare cubin, that there is no device code in it:
#                      the older one was asked
#   f: 2               so many targets whose `f` its lists drop; its dump has it
#   a: 2               so many targets below sm_90 behind which its lists put an `a`; its dump does not


class Code(NamedTuple):
    """What both sides say of one code object; `isa` for PTX only."""

    kind: str
    target: str
    isa: str
    compressed: bool


Codes = Counter[Code]


@dataclass
class Answer:
    """What one cuobjdump says of one file; `refused` holds its message where it stopped."""

    version: str
    codes: Codes = field(default_factory=Counter)
    listed: Counter[str] = field(default_factory=Counter)
    refused: str = ""


@dataclass
class Row:
    """One library compared; sizes in bytes."""

    package: str
    version: str
    platform: str
    library: str
    size_bytes: int = 0
    containers: int = 0
    objects: int = 0
    asked: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)  # in the words explained above
    unexplained: list[str] = field(default_factory=list)
    targets: dict[str, int] = field(default_factory=dict)


# What is said of a code object, on either side.


def describe(code: CodeObject) -> Code:
    """Our code object in cuobjdump's terms."""
    target = f"{code.target.capability.sm}{code.target.suffix}" if code.target else ""
    return Code(code.kind, target, code.isa or "", code.compression is not None)


def parse_dump(text: str) -> Codes:
    """The code objects in what cuobjdump prints without a list option: one block of lines each."""
    found: Codes = Counter()
    for block in re.split(r"^Fatbin ", text, flags=re.MULTILINE)[1:]:
        kind = block.partition(" code:")[0]
        arch = re.search(r"^arch = (\S+)", block, re.MULTILINE)
        version = re.search(r"^code version = \[(\d+),(\d+)\]", block, re.MULTILINE)
        name = _KINDS.get(kind, kind)
        isa = f"{version[1]}.{version[2]}" if version and name == "ptx" else ""
        compressed = re.search(r"^compressed", block, re.MULTILINE) is not None
        found[Code(name, arch[1] if arch else "", isa, compressed)] += 1
    return found


def parse_list(text: str) -> Counter[str]:
    """How many files for each target ``--list-elf`` or ``--list-ptx`` names: ``ELF file 1: libx.so.1.sm_90a.cubin``."""
    rows = re.findall(r"^(ELF|PTX) file +\d+: .*\.(sm_\d+[af]?)\.\w+$", text, re.MULTILINE)
    return Counter(f"{'sass' if kind == 'ELF' else 'ptx'} {target}" for kind, target in rows)


def listed(codes: Codes) -> Counter[str]:
    """What the lists should say: machine code and PTX only, the `f` of a target left out."""
    counts: Counter[str] = Counter()
    for code, count in codes.items():
        if code.kind in ("sass", "ptx"):
            counts[f"{code.kind} {code.target.removesuffix('f')}"] += count
    return counts


def differences(ours: Counter[Any], theirs: Counter[Any]) -> list[str]:
    """Each line one thing that the two sides count differently."""
    return [
        f"{' '.join(map(str, key)) if isinstance(key, tuple) else key}: we {ours[key]}, cuobjdump {theirs[key]}"
        for key in sorted(ours | theirs)
        if ours[key] != theirs[key]
    ]


def without_impossible_suffixes(counts: Counter[str]) -> Counter[str]:
    """The lists take the letter from the cubin, and 12.4 sees an `a` in some old ones, whose targets never had any."""
    found: Counter[str] = Counter()
    for target, count in counts.items():
        number = re.search(r"sm_(\d+)[af]$", target)
        found[target[:-1] if number and int(number[1]) < _SUFFIXES_BEGIN else target] += count
    return found


def judge(ours: Codes, answer: Answer, what: str) -> tuple[list[str], list[str]]:
    """Compare; returns the explained and the unexplained differences."""
    explained = []
    lists = without_impossible_suffixes(answer.listed)
    if wrong := (answer.listed - lists).total():
        explained.append(f"a: {wrong} in the lists of {answer.version}")
    if hidden := sum(n for code, n in ours.items() if code.kind in ("sass", "ptx") and code.target.endswith("f")):
        explained.append(f"f: {hidden}")
    unexplained = [f"{what}: {line}" for line in differences(ours, answer.codes)]
    unexplained += [f"{what}, lists: {line}" for line in differences(listed(ours), lists)]
    return explained, unexplained


# Asking cuobjdump.


@dataclass(frozen=True)
class Tool:
    """One release of cuobjdump."""

    program: Path
    version: str

    def ask(self, path: Path, *, expecting: bool) -> Answer:
        """Everything it says about one file; that there is no code in it is a refusal where some is expected."""
        answer = Answer(self.version)
        texts = []
        for words in ([], ["--list-elf"], ["--list-ptx"]):
            done = subprocess.run(
                [self.program, "-all", *words, path], capture_output=True, text=True, errors="replace"
            )
            answer.refused = refusal(done.stderr + done.stdout, done.returncode)
            if answer.refused:
                return answer
            texts.append(done.stdout)
        answer.codes = parse_dump(texts[0])
        answer.listed = parse_list(texts[1]) + parse_list(texts[2])
        if expecting and not answer.codes and not answer.listed:
            answer.refused = "no device code"
        return answer


def refusal(said: str, exit_code: int) -> str:
    """What it says where it gives up, without the name of the file; empty if it does not."""
    if removed := re.search(r"Support for '(sm_\d+)' has been removed", said):
        return f"no {removed[1]}"
    if trouble := re.search(r"^cuobjdump (?:fatal|error)[^:]*: (.*?)(?: in '.*')?$", said, re.MULTILINE):
        return trouble[1]
    return f"signal {-exit_code}" if exit_code < 0 else ""


def ask_first_that_reads(tools: list[Tool], path: Path, ours: Codes, row: Row) -> Answer:
    """The newest cuobjdump that does not refuse the file; refusals are noted."""
    for tool in tools:
        answer = tool.ask(path, expecting=bool(ours))
        if not answer.refused:
            break
        explain(row, f"{tool.version}: {answer.refused}")
    if answer.version not in row.asked:
        row.asked.append(answer.version)
    return answer


def explain(row: Row, line: str) -> None:
    """Add an explanation, once."""
    if line not in row.explained:
        row.explained.append(line)


# One library.


class Piece(NamedTuple):
    """A container, or a cubin that stands by itself, in the file it was found in."""

    offset: int
    section: str
    codes: Codes
    is_cubin: bool


def compare_library(path: Path, library: Library, tools: list[Tool], scratch: Path, row: Row) -> None:
    """Fill in the row of one unpacked file."""
    row.size_bytes, row.containers = library.size_bytes, sum(c.count for c in library.containers)
    everything = codes_of(library)
    row.objects = everything.total()
    row.targets = dict(sorted(Counter(f"{c.kind} {c.target}" for c in everything.elements()).items()))
    row.unexplained += [f"odd: {text.key} {dict(text.values)}" for text in library.odd]
    if library.format == "cubin":
        compare_cubin(path, Piece(0, "the file", everything, True), tools, scratch, row)
    if library.format in ("elf", "archive", "fatbin"):
        inside = replace(library, containers=tuple(c for c in library.containers if c.section in _READ_BY_IT))
        visible = codes_of(inside if library.format == "elf" else library)
        note(row, visible, ask_first_that_reads(tools, path, visible, row), "the file")
    if library.format in ("elf", "pe"):
        compare_hidden(path, library.format, tools, scratch, row)
    count_starts(path, row)


def codes_of(library: Library) -> Codes:
    """All its code objects, in cuobjdump's terms."""
    found: Codes = Counter()
    for container in library.containers:
        for code in container.objects:
            found[describe(code)] += container.count
    return found


def compare_hidden(path: Path, kind: str, tools: list[Tool], scratch: Path, row: Row) -> None:
    """Carve out, section by section, what cuobjdump does not find by itself, and ask about that."""
    hidden: dict[str, list[Piece]] = {}
    with open_file(path) as (read, size_bytes):
        for offset, section, _, codes in find_containers(read, size_bytes):
            piece = Piece(offset, section, Counter(map(describe, codes)), read(4, offset) == b"\x7fELF")
            if kind == "pe" or section not in _READ_BY_IT:
                hidden.setdefault(section, []).append(piece)
    if kind == "pe" and hidden:
        explain(row, "DLL")
    catalogued = load_catalog().sections_of(path.name) if kind == "elf" else None
    for section, pieces in hidden.items():
        if catalogued is not None and section not in catalogued:
            row.unexplained.append(f"catalog: {section} holds code and is not among {list(catalogued)}")
        containers = [piece for piece in pieces if not piece.is_cubin]
        if kind != "pe":
            explain(row, f"{section}: {len(pieces):,}")
        if containers:
            carved = scratch / "carved.fatbin"
            carve(path, containers, carved)
            ours = total(containers)
            note(row, ours, ask_first_that_reads(tools, carved, ours, row), section)
            carved.unlink()
        for piece in pieces:
            if piece.is_cubin:
                compare_cubin(path, piece, tools, scratch, row)


def total(pieces: Iterable[Piece]) -> Codes:
    """All code objects of several containers."""
    found: Codes = Counter()
    for piece in pieces:
        found.update(piece.codes)
    return found


def carve(path: Path, containers: list[Piece], to: Path) -> None:
    """Write containers to a file of their own, as fatbinary would: back to back, aligned to eight bytes."""
    with path.open("rb") as file, to.open("wb") as out:
        for piece in containers:
            file.seek(piece.offset + 8)
            size = 16 + int.from_bytes(file.read(8), "little")
            file.seek(piece.offset)
            out.write(file.read(size) + bytes(-size % 8))


def compare_cubin(path: Path, piece: Piece, tools: list[Tool], scratch: Path, row: Row) -> None:
    """Bare cubins have no fatbin header to dump: only ``--list-elf`` says something of them."""
    cubin = scratch / "carved.cubin"
    with path.open("rb") as file:
        file.seek(piece.offset)
        cubin.write_bytes(file.read(64 << 20))
    answer = ask_first_that_reads(tools, cubin, piece.codes, row)
    if answer.refused:
        row.unexplained.append(f"cubin at {piece.offset} in {piece.section}: {answer.refused}")
    elif answer.listed != listed(piece.codes):
        row.unexplained += [
            f"cubin at {piece.offset} in {piece.section}: {line}"
            for line in differences(listed(piece.codes), answer.listed)
        ]
    cubin.unlink()


def note(row: Row, ours: Codes, answer: Answer, what: str) -> None:
    """Write the differences into the row."""
    if answer.refused:
        row.unexplained.append(f"{what}: no cuobjdump reads it: {answer.refused}")
        return
    explained, unexplained = judge(ours, answer, what)
    for line in explained:
        explain(row, line)
    row.unexplained += unexplained


def count_starts(path: Path, row: Row) -> None:
    """Compare our containers with the bare bytes of the file, wherever they stand."""
    starts, tail = 0, b""
    with path.open("rb") as file:
        while piece := file.read(1 << 24):
            data = tail + piece
            starts += data.count(CONTAINER_START)
            tail = data[1 - len(CONTAINER_START) :]
    with open_file(path) as (read, size_bytes):
        try:
            ours = sum(1 for offset, *_ in find_containers(read, size_bytes) if read(4, offset) != b"\x7fELF")
        except FormatError:
            ours = row.containers  # an archive, or a file that is one code object
    if starts != ours:
        row.unexplained.append(f"{starts} starts of containers in the bytes of the file, we read {ours}")


# Wheels.


def download(package: str, version: str, platform: str, python: str, folder: Path) -> Path:
    """Fetch a wheel with pip; raises CalledProcessError."""
    platforms = [word for tag in _TAGS[platform] for word in ("--platform", tag)]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platforms),
            *("--python-version", python, "--dest", str(folder), f"{package}=={version}"),
        ],
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    return max(folder.glob("*.whl"), key=lambda path: path.stat().st_mtime)


def fetch_tool(source: tuple[str, str, str], folder: Path) -> Tool:
    """Take one cuobjdump out of a wheel."""
    package, version, member = source
    program = folder / f"{package}-{version}" / "cuobjdump"
    if not program.exists():
        program.parent.mkdir(exist_ok=True)
        wheel = download(package, version, "linux-x86_64", "3.11", folder)
        with zipfile.ZipFile(wheel) as opened:
            program.write_bytes(opened.read(member))
        program.chmod(0o755)
        wheel.unlink()
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    release = re.search(r"release (\d+\.\d+)", said)
    return Tool(program, release[1] if release else "?")


def compare_wheel(wanted: dict[str, Any], tools: list[Tool], scratch: Path) -> Iterator[Row]:
    """Compare the libraries of one wheel, one after the other."""
    package, version, platform = wanted["package"], wanted["version"], wanted["platform"]
    try:
        wheel = download(package, version, platform, wanted.get("python", "3.11"), scratch)
    except subprocess.CalledProcessError as error:
        yield Row(package, version, platform, "-", unexplained=[f"no wheel: {error.stderr.strip().splitlines()[-1]}"])
        return
    with open_wheel(wheel) as archive, zipfile.ZipFile(wheel) as opened:
        for member in list_members(archive):
            name = member.name.rsplit("/", 1)[-1]
            if not member.may_hold_code or not any(fnmatch(name, m) for m in wanted.get("members", ["*"])):
                continue
            row = Row(package, version, platform, name)
            path = scratch / "unpacked" / name
            path.parent.mkdir(exist_ok=True)
            with opened.open(member.name) as packed, path.open("wb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
            try:
                library = read_library(path, member.name)
                compare_stream(read_member(archive, member)[0], library, row)
                if library.containers or "members" in wanted:
                    compare_library(path, library, tools, scratch, row)
                    yield row
                else:
                    count_starts(path, row)
                    if row.unexplained:
                        yield row
            except FormatError as error:
                row.unexplained.append(f"our reader: {error}")
                yield row
            finally:
                path.unlink()
    wheel.unlink()


def compare_stream(streamed: Library | None, library: Library, row: Row) -> None:
    """The wheel read as a stream says the same; what it asks the loader for is left out for large files."""
    if streamed is None:  # a compiler: its targets are read, not its code
        return
    if not streamed.needed:
        library = replace(library, needed=())
    if streamed != library:
        row.unexplained.append("read from the wheel as a stream, the answer differs")


def render(row: Row) -> str:
    """One line of the table in docs/measurements.md."""
    wrong = [f"**unexplained:** {line}" for line in row.unexplained[:1]]
    result = "; ".join(wrong or row.explained) or "same"
    return (
        f"| {row.package} {row.version} | {row.platform} | {row.library} | {row.size_bytes / 1e6:,.1f} | "
        f"{row.containers:,} | {row.objects:,} | {', '.join(row.asked) or '-'} | {result} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PACKAGE", help="wheels of these names (globs)")
    parser.add_argument("--scratch", type=Path, help="where wheels are unpacked (default: a temporary folder)")
    parser.add_argument("--rows", type=Path, help="append every row to this file, one JSON object a line")
    parser.add_argument("--table", type=Path, help="append every row to this file, as a line of a table")
    options = parser.parse_args()
    wheels = [
        w for w in tomllib.loads(LIST.read_text())["wheel"] if any(fnmatch(w["package"], o) for o in options.only)
    ]
    rows = []
    if options.scratch:
        options.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="compare-") as folder:
        scratch = Path(folder)
        tools = [fetch_tool(source, options.scratch or scratch) for source in (_NEW, _OLD)]
        for wanted in wheels:
            for row in compare_wheel(wanted, tools, scratch):
                rows.append(row)
                report(row, options.rows, options.table)
    bad = [row for row in rows if row.unexplained]
    packages = {row.package for row in rows}
    print(
        f"{len(rows)} libraries of {len(packages)} packages, {sum(r.containers for r in rows):,} containers, "
        f"{sum(r.objects for r in rows):,} code objects: {len(bad)} libraries with unexplained differences"
    )
    return 4 if bad or not rows else 0


def report(row: Row, rows: Path | None, table: Path | None) -> None:
    """Print a row with its counts for each target, and append it where it is wanted."""
    print(render(row), flush=True)
    print("    " + ", ".join(f"{target} {count:,}" for target, count in row.targets.items()), flush=True)
    for line in row.unexplained:
        print(f"    unexplained: {line}", flush=True)
    for path, line in ((rows, json.dumps(asdict(row))), (table, render(row))):
        if path:
            with path.open("a") as out:
                out.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
