#!/usr/bin/env python3
"""How fast all GPU code of an environment is read, beside cuobjdump and beside the least that any reader must do.

usage: python benchmarks/scan.py [ENVIRONMENT ...] [--cuobjdump FILE] [--wheels FILE ...] [--runs 9]

Every figure is a process of its own, all in turns, so that a busy machine is unfair to all alike: median (least to most) of
the time of the work without the start of Python, or of the whole process where that is said; ratios are medians of the ratios
of each turn. Memory is the largest resident size of the process.

*Floor* is a Python program that opens the same files and reads the pages our reader read, 4096 bytes each, from a list made
beforehand, and parses nothing: each page once; or 4096 bytes at each place where the reader read, in its order, as anything
must that follows headers. *Inflate* is ISA-L inflating the same members of a wheel and dropping the bytes.

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
from pathlib import Path
from typing import NamedTuple

_CHILD = Path(__file__).with_name("scan_child.py")
_DROP = Path("/proc/sys/vm/drop_caches")


class Run(NamedTuple):
    """One process: the time of its work, that of the processor for it, in seconds; largest resident memory in bytes."""

    work_s: float
    cpu_s: float
    peak_bytes: int


Measure = Callable[[], Run]
Work = Callable[[], object]


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
    cpu = usage.ru_utime + usage.ru_stime
    if told := re.fullmatch(rb"([\d.e-]+) ([\d.e-]+)\n", said):
        took, cpu = float(told[1]), float(told[2])
    return Run(took, cpu, usage.ru_maxrss * 1024)


def child(name: str, lists: Path, *words: str) -> Measure:
    return lambda: measure([sys.executable, _CHILD, name, str(lists), *words])


def one_by_one(tool: Path, files: list[Path]) -> Measure:
    """cuobjdump takes one file at a time: the sum of the times, the largest memory."""

    def run() -> Run:
        runs = [measure([tool, "--list-elf", "-all", path]) for path in files]
        return Run(sum(r.work_s for r in runs), sum(r.cpu_s for r in runs), max(r.peak_bytes for r in runs))

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


# Printing.


def print_table(found: dict[str, list[Run]], floor: str, rival: str = "") -> None:
    """A table in Markdown: each row with its ratio to the floor and to the rival."""
    print(
        "| | time | of the floor | processor | of the floor | memory |"
        + (" cuobjdump takes | its memory |" if rival else "")
    )
    print("|---|---|---|---|---|---|" + (rival and "---|---|"))
    for label, runs in found.items():
        times = sorted(r.work_s for r in runs)
        cells = [
            label,
            f"{_time(statistics.median(times))} ({_time(times[0])} to {_time(times[-1])})",
            f"{_ratio(runs, found[floor], 'work_s'):,.2f}",
            _time(statistics.median(r.cpu_s for r in runs)),
            f"{_ratio(runs, found[floor], 'cpu_s'):,.2f}",
            f"{statistics.median(r.peak_bytes for r in runs) / 1e6:,.1f} MB",
        ]
        if rival:
            cells += [f"{_ratio(found[rival], runs, field):,.0f} times" for field in ("work_s", "peak_bytes")]
        print(f"| {' | '.join(cells)} |", flush=True)


def _ratio(runs: list[Run], others: list[Run], field: str) -> float:
    """Of turns that go together, if there are as many of both; else of the medians."""
    ours, theirs = ([getattr(run, field) for run in some] for some in (runs, others))
    if len(ours) == len(theirs):
        return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return statistics.median(ours) / statistics.median(theirs)


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def print_environment(root: Path, options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="scan-") as folder:
        lists = Path(folder)
        (lists / "root.txt").write_text(str(root))
        child("record", lists)()
        files = [Path(line) for line in (lists / "files.txt").read_text().splitlines()]
        told, with_code = json.loads((lists / "told.json").read_text())
        size = sum(path.stat().st_size for path in files)
        print(
            f"\n{root.name}: {len(files)} shared objects, {size / 1e9:.2f} GB, {len(with_code)} with GPU code: {told}."
        )
        rows = {
            "floor: each page once": child("floor", lists, "pages.json"),
            "floor: a page at each place": child("floor", lists, "places.json"),
            "headers, files given": child("headers", lists),
            "headers, files given, nothing compiled": child("headers in Python", lists),
            "headers, files given, threads if cold": child("headers side by side", lists),
            "headers, with the walk over the folders": child("walk", lists),
            "what the catalog names (as `doctor` does)": child("catalog", lists),
            "the same, threads if cold": child("catalog side by side", lists),
            "all sections searched": child("everything", lists),
            "`archfit --version`, whole process": archfit("--version"),
            "`archfit scan ENV --json`, whole process": archfit("scan", root, "--json"),
            '`archfit doctor ENV --gpu "RTX 5090" --json`, whole process': archfit(
                "doctor", root, "--gpu", "RTX 5090", "--json"
            ),
        }
        slow: dict[str, Measure] = {}
        if options.cuobjdump:
            given = [Path(path) for path in with_code]
            slow[f"`cuobjdump --list-elf -all`, the {len(with_code)} files"] = one_by_one(options.cuobjdump, given)
            slow[f"the same, all {len(files)} files"] = one_by_one(options.cuobjdump, files)
        in_turns(rows, 1)  # fills the cache
        found = in_turns(rows, options.runs) | in_turns(slow, options.cuobjdump_runs)
        print(f"\nWarm, {options.runs} turns, {options.cuobjdump_runs} of cuobjdump:\n")
        print_table(found, next(iter(rows)), next(iter(slow), ""))
        if not options.cold_runs:
            return
        how = forget(files)
        found = in_turns(rows, options.cold_runs, lambda: forget(files))
        found |= in_turns(dict(list(slow.items())[:1]), 1, lambda: forget(files))
        print(f"\nCold ({how}), {options.cold_runs} turns:\n")
        print_table(found, next(iter(rows)), next(iter(slow), ""))


def archfit(*words: str | Path) -> Measure:
    return lambda: measure([sys.executable, "-m", "archfit", *words])


def print_wheel(wheel: Path, options: argparse.Namespace) -> None:
    print(f"\n{wheel.name}, {wheel.stat().st_size / 1e6:,.0f} MB:\n")
    rows = {
        "inflate and drop": child("inflate", Path(), str(wheel)),
        "read as a stream, one thread": child("stream", Path(), str(wheel)),
        "`archfit scan WHEEL --no-cache --json`, whole process": archfit("scan", wheel, "--no-cache", "--json"),
    }
    print_table(in_turns(rows, options.wheel_runs), "inflate and drop")


def main() -> None:
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
