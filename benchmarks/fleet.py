"""How long `archfit fleet merge` takes, and how much memory, for many reports: does the cost grow with their number only?

    python benchmarks/fleet.py                       # 1,000, 3,000 and 10,000 reports, 5 turns each
    python benchmarks/fleet.py --sizes 100 --turns 1

The reports are made up but whole: 8 kinds of nodes with 12 drivers, 4 Pythons, 120 to 160 packages in 40 different sets,
caches and findings; one in 500 is cut off, one in 1,000 comes twice. Each turn is a process of its own, as a person runs it.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

GPUS = (
    ("NVIDIA H100 80GB HBM3", "9.0", 8),
    ("NVIDIA A100-SXM4-80GB", "8.0", 8),
    ("Tesla V100-SXM2-32GB", "7.0", 4),
    ("NVIDIA GeForce RTX 4090", "8.9", 8),
    ("NVIDIA GeForce RTX 5090", "12.0", 8),
    ("NVIDIA H200", "9.0", 8),
    ("Tesla T4", "7.5", 1),
    ("NVIDIA GB10", "12.1", 1),
)
DRIVERS = (
    "535.104.05", "535.183.01", "550.54.14", "550.54.15", "550.90.07", "560.35.03",
    "570.86.15", "570.86.16", "570.124.06", "575.57.08", "580.65.06", "580.95.05",
)  # fmt: skip
TORCHES = (("2.4.1", "12.1"), ("2.6.0", "12.4"), ("2.8.0", "12.8"), ("2.11.0", "13.0"))
PACKAGE_SETS = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--turns", type=int, default=5)
    wanted = parser.parse_args()
    print("| reports | bytes | time (least to most) | processor | per report | memory | processor with page | page |")
    print("|---|---|---|---|---|---|---|---|")
    for size in wanted.sizes:
        with tempfile.TemporaryDirectory(prefix="archfit-bench-") as place:
            measure(Path(place), size, wanted.turns)


def measure(place: Path, size: int, turns: int) -> None:
    reports = place / "reports"
    reports.mkdir()
    total = make_reports(reports, size)
    plain = [run(["fleet", "merge", str(reports), "--json"]) for _ in range(turns)]
    page = place / "fleet.html"
    plain = [run(["fleet", "merge", str(reports), "--json"]) for _ in range(turns)]
    with_page = [run(["fleet", "merge", str(reports), "--json", "-o", str(page)]) for _ in range(turns)]
    seconds = sorted(took for took, _, _ in plain)
    processor = statistics.median(used for _, used, _ in plain)
    memory = max(used for *_, used in [*plain, *with_page])
    print(
        f"| {size:,} | {total / 1e6:.0f} MB | {statistics.median(seconds):.2f} s ({seconds[0]:.2f} to {seconds[-1]:.2f}) "
        f"| {processor:.2f} s | {processor / size * 1e6:.0f} µs | {memory / 1e6:.0f} MB "
        f"| {statistics.median(used for _, used, _ in with_page):.2f} s | {page.stat().st_size / 1e6:.1f} MB |",
        flush=True,
    )


def run(words: list[str]) -> tuple[float, float, int]:
    """Seconds on the clock, seconds of processor, and the most memory in bytes of one process."""
    code = (
        "import resource, sys; from archfit.__main__ import main; sys.argv[0] = 'archfit'; code = main(); "
        "used = resource.getrusage(resource.RUSAGE_SELF); "
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=False)
    took = time.perf_counter() - began
    if done.returncode not in (0, 3, 4):
        sys.exit(done.stderr.decode())
    processor, memory = done.stderr.split()[-2:]
    return took, float(processor), int(memory) * 1024


def make_reports(folder: Path, size: int) -> int:
    """Write reports; returns their bytes."""
    chance = random.Random(size)
    sets = [packages(chance) for _ in range(PACKAGE_SETS)]
    total = 0
    for number in range(size):
        document = json.dumps(report(chance, number, sets), indent=1)
        if number % 500 == 499:
            document = document[: len(document) // 2]
        (folder / f"node{number:05d}.json").write_text(document)
        total += len(document)
        if number % 1000 == 0:
            shutil.copy(folder / f"node{number:05d}.json", folder / f"old{number:05d}.json")
    return total


def packages(chance: random.Random) -> dict[str, str]:
    return {
        f"package-{n}": f"{chance.randrange(9)}.{chance.randrange(30)}.{chance.randrange(9)}"
        for n in range(chance.randrange(120, 160))
    }


def report(chance: random.Random, number: int, sets: list[dict[str, str]]) -> dict[str, Any]:
    name, capability, count = chance.choice(GPUS)
    driver, (torch, cuda) = chance.choice(DRIVERS), chance.choice(TORCHES)
    minor = chance.choice((10, 11, 12, 13))
    arm = capability == "12.1"
    own = chance.choice(sets) | {"torch": torch}
    return {
        "schema": "archfit.doctor/1",
        "target": "/shared/envs/train",
        "target_chosen": "named",
        "python": {
            "executable": "/shared/envs/train/bin/python",
            "version": f"3.{minor}.7",
            "tag": f"cp3{minor}",
            "platform": "linux_aarch64" if arm else "linux_x86_64",
        },
        "torch": {"version": torch, "cuda": cuda},
        "gpus": [{"name": name, "compute_capability": capability, "source": "nvml"}] * count,
        "driver": {"release": driver, "cuda": None, "source": "nvml", "open_kernel_module": True},
        "pretended": [],
        "host": {"name": f"node{number:05d}", "boot": f"boot-{number}", "observed": "2026-11-25T11:00:00Z"},
        "environment": {
            "prefix": "/shared/envs/train",
            "virtual": True,
            "libc": "glibc 2.35",
            "packages": own,
            "places": [
                place("environment", "/shared/envs/train", 11),
                place("torch-extension", "/home/you/.cache/torch_extensions/py311_cu121", 12 + number % 7),
                place("triton", "/home/you/.triton/cache", 30 + number % 7),
            ],
            "gpu_states": [],
        },
        "status": "problems" if number % 3 == 0 else "ok",
        "primary": "arch-missing-torch" if number % 3 == 0 else None,
        "findings": [finding(torch, name)] if number % 3 == 0 else [],
        "outcomes": [
            {"check": f"check-{n}", "state": "passed", "reason": "a sentence about what was seen there", "findings": []}
            for n in range(16)
        ],
    }


def place(kind: str, path: str, inode: int) -> dict[str, Any]:
    storage = {"filesystem": "nfs4", "source": "server:/home", "device": 52, "inode": inode, "remote": True}
    return {"kind": kind, "path": path, "storage": storage, "fingerprint": "ab", "targets": ["sm_70"], "count": 3}


def finding(torch: str, gpu: str) -> dict[str, Any]:
    return {
        "id": "arch-missing-torch",
        "severity": "error",
        "subject": "torch/lib/libtorch_cuda.so",
        "title": f"torch {torch} has no code for this GPU ({gpu})",
        "detail": "A longer text that says what it means. " * 12,
        "values": {"version": torch, "gpu": gpu},
        "evidence": [{"source": "torch/lib/libtorch_cuda.so", "text": "SASS sm_50 sm_60 sm_70, no PTX"}] * 2,
        "fix": "archfit upgrade /shared/envs/train",
    }


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
