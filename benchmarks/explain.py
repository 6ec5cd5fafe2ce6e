#!/usr/bin/env python3
"""Time and memory of `archfit explain`, and what `archfit run` costs.

usage: python benchmarks/explain.py [--runs 9] [--big-mb 100]

Logs are made: a build log with one needle in the middle, plain and in colours, and pieces of many errors. Each number is the
median of RUNS whole processes, start-up included; beside it stands the same without archfit where there is such a thing.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from archfit.catalog.signatures import load_signatures

ARCHFIT = [sys.executable, "-m", "archfit"]
FILLER = "[12/345] /usr/local/cuda/bin/nvcc -DTORCH -I/opt/v/lib/python3.11/site-packages/torch/include -c /src/a.cu -o a.o\n"
NEEDLE = "nvcc fatal   : Unsupported gpu architecture 'compute_120'\n"
PRINTER = "import sys\nfor n in range({count}): sys.stdout.write('step %d loss 0.123456 lr 1e-4 12345 tokens/s\\n' % n)"


def build_log(path: Path, megabytes: int, *, coloured: bool = False) -> Path:
    filler = "".join(f"\x1b[32m{word}\x1b[0m " for word in FILLER.split()) + "\n" if coloured else FILLER
    half = megabytes * 500_000 // len(filler)
    with path.open("w") as file:  # in pieces: a child counts the memory that its parent had when it was started
        for number in range(2 * half):
            file.write(NEEDLE if number == half else filler)
    return path


def pieces_log(path: Path) -> Path:
    rows = load_signatures().rows
    text = "\n".join(random.Random(1).choices([r.yes for r in rows] + [r.no for r in rows], k=9000))
    path.write_text(text[:1_000_000])
    return path


@dataclass(frozen=True)
class Run:
    """One process: seconds on the clock and of the processor, and the most memory it had, in MB."""

    wall_s: float
    cpu_s: float
    memory_mb: float


def measure(command: Sequence[str | Path], runs: int) -> list[Run]:
    """All runs but a first one, which fills the caches."""
    found = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        words = [str(word) for word in command]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        found.append(Run(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
    return found[1:]


def show(label: str, runs: list[Run]) -> None:
    wall, cpu = [r.wall_s for r in runs], [r.cpu_s for r in runs]
    print(
        f"  {label:40} {statistics.median(wall):7.3f} s ({min(wall):.3f} to {max(wall):.3f})"
        f"  processor {statistics.median(cpu):6.3f} s  {max(r.memory_mb for r in runs):4.0f} MB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--big-mb", type=int, default=100)
    options = parser.parse_args()
    print(
        f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        show("python -c pass, the floor", measure([sys.executable, "-c", "pass"], options.runs))
        for label, path in (
            ("explain, 1 MB build log", build_log(home / "1.log", 1)),
            ("explain, 1 MB of pieces of all errors", pieces_log(home / "p.log")),
        ):
            show(label, measure([*ARCHFIT, "explain", path, "--json"], options.runs))
        few = max(2, options.runs // 3)
        big = options.big_mb
        for label, coloured in ((f"explain, {big} MB build log", False), (f"explain, {big} MB in colours", True)):
            path = build_log(home / "big.log", big, coloured=coloured)
            show(label, measure([*ARCHFIT, "explain", path, "--json"], few))
        program = PRINTER.format(count=2_000_000)
        plain = measure(["sh", "-c", f'{sys.executable} -c "{program}" | cat'], few)
        under = measure(["sh", "-c", f'{" ".join(ARCHFIT)} run -- {sys.executable} -c "{program}" | cat'], few)
        show("2 million lines without archfit", plain)
        show("2 million lines under archfit run", under)
        quiet = "import time; e = time.time() + 5\nwhile time.time() < e: sum(range(1000))"
        show("5 s of computing without archfit", measure([sys.executable, "-c", quiet], few))
        show("5 s of computing under archfit run", measure([*ARCHFIT, "run", "--", sys.executable, "-c", quiet], few))


if __name__ == "__main__":
    main()
