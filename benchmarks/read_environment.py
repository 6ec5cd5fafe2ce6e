#!/usr/bin/env python3
"""Time to read the GPU code of every library of an environment, and the start-up of the command.

usage: python benchmarks/read_environment.py ENVIRONMENT ... [--runs 9]

Prints medians over RUNS, warm cache, one process, one thread; and the floor: what `os.walk` and opening every shared object
cost on their own.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from archfit.binary.library import read_library

_SHARED_OBJECT = re.compile(r"\.so(\.\d+)*$")


def shared_objects(root: Path) -> list[Path]:
    sites = root.glob("lib/python3*/site-packages")
    return [Path(d, f) for site in sites for d, _, fs in os.walk(site) for f in fs if _SHARED_OBJECT.search(f)]


def touch(files: list[Path]) -> None:
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.pread(descriptor, 64, 0)
        os.close(descriptor)


def median_ms(work: Callable[[], object], runs: int) -> str:
    times = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e3)
    warm = times[1:]  # the first run fills the cache
    return f"{statistics.median(warm):8.1f} ms  ({min(warm):.1f} to {max(warm):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores, {options.runs} runs")
    for root in options.environments:
        files = shared_objects(root)
        size = sum(path.stat().st_size for path in files)
        found = [read_library(path) for path in files]
        containers = sum(c.count for library in found for c in library.containers)
        print(f"\n{root}: {len(files)} shared objects, {size / 1e9:.2f} GB, {containers} containers")
        print(f"  walk the folders             {median_ms(lambda root=root: shared_objects(root), options.runs)}")
        print(f"  open each, read 64 bytes     {median_ms(lambda files=files: touch(files), options.runs)}")
        print(
            f"  read all GPU code            {median_ms(lambda files=files: [read_library(f) for f in files], options.runs)}"
        )
    archfit = [sys.executable, "-m", "archfit"]
    for words in (["--version"], ["doctor", str(options.environments[0]), "--gpu", "RTX 5090", "--json"]):
        label = "archfit " + " ".join(words[:1])
        run = lambda words=words: subprocess.run([*archfit, *words], capture_output=True, check=False)  # noqa: E731
        print(f"\n{label:30} {median_ms(run, options.runs)}  whole process")


if __name__ == "__main__":
    main()
