#!/usr/bin/env python3
"""How fast all GPU code of an environment is read, beside cuobjdump and beside the least that any reader must do.

usage: python benchmarks/scan.py [ENVIRONMENT ...] [--cuobjdump FILE] [--wheels FILE ...] [--runs 9]

Every figure is a process of its own, all in turns, so that a busy machine is unfair to all alike: median (least to most) of the
time of the work without the start of Python, and the largest resident memory of the process.

*Floor* is a Python program that opens the same files and reads the pages our reader read, 4096 bytes each, from a list made
beforehand, and parses nothing: each page once, or once for each header as any reader must that follows them. *Inflate* is ISA-L
inflating the same members of a wheel and dropping the bytes.

Cold means that the kernel forgot the files: all caches dropped if we may, else POSIX_FADV_DONTNEED for each file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

_SHARED_OBJECT = re.compile(r"\.so(\.\d+)*$")
_PAGE_BYTES = 4096
_DROP = Path("/proc/sys/vm/drop_caches")


class Run(NamedTuple):
    """One process: the time of its work in seconds and its largest resident memory in bytes."""

    work_s: float
    peak_bytes: int


Measure = Callable[[], Run]
Work = Callable[[], object]


# What the processes do. Each is prepared from the lists in a folder; only the work itself is timed.


def shared_objects(root: Path) -> list[Path]:
    sites = root.glob("lib/python3*/site-packages")
    return sorted(Path(d, f) for site in sites for d, _, fs in os.walk(site) for f in fs if _SHARED_OBJECT.search(f))


def prepare_floor(lists: Path, name: str) -> Work:
    files = [(path, [tuple(read) for read in reads]) for path, reads in json.loads((lists / name).read_text())]

    def floor() -> None:
        pread = os.pread
        for path, reads in files:
            descriptor = os.open(path, os.O_RDONLY)
            for size, offset in reads:
                pread(descriptor, size, offset)
            os.close(descriptor)

    return floor


def prepare_reader(lists: Path, search: Any = ()) -> Work:
    from archfit.binary.library import read_library

    files = [Path(line) for line in (lists / "files.txt").read_text().splitlines()]
    return lambda: [read_library(file, search=search) for file in files]


def prepare_walk(lists: Path) -> Work:
    from archfit.binary.library import read_library

    root = Path((lists / "root.txt").read_text())
    return lambda: [read_library(file, search=()) for file in shared_objects(root)]


def prepare_wheel(_: Path, wheel: str, *, parse: bool) -> Work:
    from archfit.binary.wheel import inflate, list_members, open_wheel, read_member

    def work() -> None:
        with open_wheel(Path(wheel)) as archive:
            for member in list_members(archive):
                if not member.may_hold_code:
                    continue
                if parse:
                    read_member(archive, member)
                else:
                    for _ in inflate(archive, member):
                        pass

    return work


WORK: dict[str, Callable[..., Work]] = {
    "floor": prepare_floor,
    "headers": prepare_reader,
    "everything": partial(prepare_reader, search="all"),
    "walk": prepare_walk,
    "inflate": partial(prepare_wheel, parse=False),
    "stream": partial(prepare_wheel, parse=True),
}


def be_child(name: str, lists: Path, words: list[str]) -> None:
    work = WORK[name](lists, *words)
    began = time.perf_counter()
    work()
    print(time.perf_counter() - began)


# Measuring.


def measure(command: list[str | Path]) -> Run:
    """Run one process; the time of its work is what it prints, or else all of its time."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    took = time.perf_counter() - began
    return Run(float(said) if re.fullmatch(rb"[\d.e-]+\n", said) else took, usage.ru_maxrss * 1024)


def child(name: str, lists: Path, *words: str) -> Measure:
    return lambda: measure([sys.executable, __file__, "--child", name, str(lists), *words])


def one_by_one(tool: Path, files: list[Path]) -> Measure:
    """cuobjdump takes one file at a time: the sum of the times, the largest memory."""

    def run() -> Run:
        runs = [measure([tool, "--list-elf", "-all", path]) for path in files]
        return Run(sum(r.work_s for r in runs), max(r.peak_bytes for r in runs))

    return run


def in_turns(rows: dict[str, Measure], runs: int, before: Work = lambda: None) -> dict[str, list[Run]]:
    """Measure each row `runs` times, round by round."""
    found: dict[str, list[Run]] = {label: [] for label in rows}
    for _ in range(runs):
        for label, run in rows.items():
            before()
            found[label].append(run())
    return found


def forget(files: list[Path]) -> str:
    """Make the kernel forget these files; says how."""
    if os.access(_DROP, os.W_OK):
        os.sync()
        try:
            _DROP.write_text("3")
        except OSError:
            pass
        else:
            return "all caches dropped before each run"
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    return "POSIX_FADV_DONTNEED for each file before each run"


def record_reads(files: list[Path], to: Path, search: Any) -> str:
    """Write down which pages of which file our reader reads; says how much that is."""
    from archfit.binary.library import parse_library

    recorded: list[tuple[str, list[tuple[int, int]]]] = []
    containers = objects = 0
    for path in files:
        pages: dict[int, None] = {}
        descriptor = os.open(path, os.O_RDONLY)

        def read(size: int, offset: int, pages: Any = pages, descriptor: int = descriptor) -> bytes:
            data = os.pread(descriptor, size, offset)
            pages.update((n, None) for n in range(offset // _PAGE_BYTES, (offset + len(data) - 1) // _PAGE_BYTES + 1))
            return data

        library = parse_library(read, str(path), path.stat().st_size, search=search)
        os.close(descriptor)
        recorded.append((str(path), [(_PAGE_BYTES, page * _PAGE_BYTES) for page in pages]))
        containers += sum(c.count for c in library.containers)
        objects += sum(c.count * len(c.objects) for c in library.containers)
    to.write_text(json.dumps(recorded))
    pages_read = sum(len(pages) for _, pages in recorded)
    return f"{containers:,} containers, {objects:,} code objects on {pages_read:,} pages"


# Printing.


def print_table(found: dict[str, list[Run]], floor: str, rival: str = "") -> None:
    """A table in Markdown: each row with its ratio to the floor and to the rival."""
    print("| | time | of the floor | peak memory |" + (" than cuobjdump | its memory |" if rival else ""))
    print("|---|---|---|---|" + ("---|---|" if rival else ""))
    for label, runs in found.items():
        times = sorted(r.work_s for r in runs)
        middle, peak = statistics.median(times), statistics.median(r.peak_bytes for r in runs)
        # Compared round by round first: both sides of a ratio then saw the same load.
        ratio = statistics.median(a.work_s / b.work_s for a, b in zip(runs, found[floor], strict=False))
        line = f"| {label} | {_time(middle)} ({_time(times[0])} to {_time(times[-1])}) | {ratio:,.2f} | {peak / 1e6:,.1f} MB |"
        if rival:
            faster = statistics.median(r.work_s for r in found[rival]) / middle
            leaner = statistics.median(r.peak_bytes for r in found[rival]) / peak
            line += f" {faster:,.1f} times faster | {leaner:,.1f} times less |"
        print(line, flush=True)


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def print_environment(root: Path, options: argparse.Namespace) -> None:
    from archfit.binary.library import read_library

    files = shared_objects(root)
    with_code = [file for file in files if read_library(file, search=()).containers]
    size = sum(path.stat().st_size for path in files)
    print(f"\n## {root.name}: {len(files)} shared objects, {len(with_code)} with GPU code, {size / 1e9:.2f} GB\n")
    with tempfile.TemporaryDirectory(prefix="scan-") as folder:
        lists = Path(folder)
        (lists / "files.txt").write_text("\n".join(map(str, files)))
        (lists / "root.txt").write_text(str(root))
        print(f"Headers: {record_reads(files, lists / 'headers.json', ())}.")
        print(f"All sections: {record_reads(files, lists / 'all.json', 'all')}.")
        rows = {
            "floor, headers": child("floor", lists, "headers.json"),
            "read, files given": child("headers", lists),
            "read, with the walk over the folders": child("walk", lists),
            "floor, all sections": child("floor", lists, "all.json"),
            "read, all sections searched": child("everything", lists),
        }
        archfit: list[str | Path] = [sys.executable, "-m", "archfit"]
        if subprocess.run([*archfit, "scan", "--help"], capture_output=True, check=False).returncode == 0:
            rows["`archfit scan ENV --json`, whole process"] = lambda: measure([*archfit, "scan", root, "--json"])
        slow: dict[str, Measure] = {}
        if options.cuobjdump:
            slow[f"`cuobjdump --list-elf -all`, the {len(with_code)} files"] = one_by_one(options.cuobjdump, with_code)
            slow[f"the same, all {len(files)} files"] = one_by_one(options.cuobjdump, files)
        in_turns(rows, 1)  # fills the cache
        found = in_turns(rows, options.runs) | in_turns(slow, options.cuobjdump_runs)
        print(f"\nWarm, {options.runs} runs, {options.cuobjdump_runs} of cuobjdump:\n")
        print_table(found, "floor, headers", next(iter(slow), ""))
        how = forget(files)
        found = in_turns(rows, options.cold_runs, lambda: forget(files))
        found |= in_turns(slow, min(1, options.cuobjdump_runs), lambda: forget(files))
        print(f"\nCold ({how}), {options.cold_runs} runs:\n")
        print_table(found, "floor, headers", next(iter(slow), ""))


def print_wheel(wheel: Path, options: argparse.Namespace) -> None:
    print(f"\n## {wheel.name}: {wheel.stat().st_size / 1e6:,.0f} MB\n")
    rows = {
        "inflate and drop": child("inflate", Path(), str(wheel)),
        "read as a stream": child("stream", Path(), str(wheel)),
    }
    print_table(in_turns(rows, options.wheel_runs), "inflate and drop")


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        be_child(sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", nargs="*", type=Path)
    parser.add_argument("--cuobjdump", type=Path, help="the program to compare with (PyPI: nvidia-cuda-cuobjdump)")
    parser.add_argument("--wheels", nargs="*", type=Path, default=[], help="wheels to read as streams")
    parser.add_argument("--runs", type=int, default=9, help="warm runs")
    parser.add_argument("--cold-runs", type=int, default=5)
    parser.add_argument("--cuobjdump-runs", type=int, default=3, help="warm runs of cuobjdump, 20 to 30 s each")
    parser.add_argument("--wheel-runs", type=int, default=5)
    options = parser.parse_args()
    load = " ".join(f"{n:.1f}" for n in os.getloadavg())
    print(f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores, load {load}")
    for root in options.environments:
        print_environment(root, options)
    for wheel in options.wheels:
        print_wheel(wheel, options)


if __name__ == "__main__":
    main()
