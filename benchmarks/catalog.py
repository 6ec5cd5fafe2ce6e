#!/usr/bin/env python3
"""How long the catalog takes to load, and how large it is in the wheel.

usage: python benchmarks/catalog.py [--runs 20]

Every run is a new process that has imported archfit's catalog, and platformdirs as every command does, but read nothing.
Times are CPU seconds of that process, the least of all runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zlib
from pathlib import Path

import archfit.catalog

_CHILD = """
import time
import platformdirs
from archfit.catalog import load_catalog
from archfit.arch import ComputeCapability
def timed(action):
    start = time.process_time()
    action()
    return (time.process_time() - start) * 1000
catalog = load_catalog()
device = ComputeCapability(12, 0)
print(timed(lambda: catalog.wheels), timed(lambda: catalog.builds), timed(lambda: catalog.find_gpu("RTX 5090")),
      timed(lambda: [w.verdict(device) for w in catalog.wheels]))
"""
_NAMES = ("all wheels", "all builds of torch", "a GPU by name", "a verdict of every wheel for one GPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    command = [sys.executable, "-c", _CHILD]
    answers = [
        [float(text) for text in subprocess.run(command, capture_output=True, check=True).stdout.split()]
        for _ in range(runs)
    ]
    for name, times in zip(_NAMES, zip(*answers, strict=True), strict=True):
        print(f"{name}: {min(times):.1f} ms (median {sorted(times)[runs // 2]:.1f})")
    folder = Path(archfit.catalog.__file__).parent
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".toml"))
    packed = {path.name: len(zlib.compress(path.read_bytes(), 6)) for path in files}
    for path in files:
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB, {packed[path.name] / 1000:.0f} kB in the wheel")
    print(f"all tables: {sum(packed.values()) / 1000:.0f} kB in the wheel")


if __name__ == "__main__":
    main()
