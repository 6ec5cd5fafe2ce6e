"""How long does a plan take for an environment that is full?

A real virtual environment is made with the small packages below (all from PyPI, with all they need) and a torch 2.4.1 whose
metadata is real and whose libraries are the tiny ones of tests/data: uv needs metadata only, and nothing of 2 GB is loaded.

    python benchmarks/plan.py FOLDER [--turns 5]

FOLDER is made on the first call and used again. The first plan fills uv's cache; the turns after it are the warm ones.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from worlds import DATA, OLD, Package, install  # noqa: E402

UV = ROOT / ".venv" / "bin" / "uv"
PACKAGES = (
    *(
        "numpy<2",
        "pillow",
        "pyyaml",
        "tqdm",
        "requests",
        "rich",
        "click",
        "jinja2",
        "networkx",
        "sympy==1.12",
        "fsspec",
    ),
    *("filelock", "packaging", "typing-extensions", "attrs", "jsonschema", "aiohttp", "httpx", "fastapi", "uvicorn"),
    *("pydantic", "hydra-core", "omegaconf", "tensorboard", "matplotlib", "einops", "safetensors", "tokenizers"),
    *("huggingface-hub", "regex", "psutil", "gitpython", "sentry-sdk", "setproctitle", "ipython", "pytest", "black"),
    *("mypy", "isort", "flake8", "nuscenes-devkit==1.1.11; python_version < '3.0'", "shapely", "pyquaternion"),
    *("fire", "addict", "yapf", "termcolor", "absl-py", "ninja", "joblib", "cachetools", "descartes", "wcwidth"),
    *("sqlalchemy", "redis", "flask", "starlette", "orjson", "msgpack", "cloudpickle", "dill", "tabulate", "colorama"),
)
RUNS = (
    ("with the resolver, its answers kept from before", (), False),
    ("with the resolver, asked anew (uv's cache warm)", (), True),
    ("`--strategy latest`, asked anew", ("--strategy", "latest"), True),
    ("`--offline`", ("--offline",), False),
)
FAMILY = ("nvidia-", "torch", "triton")
NVIDIA = {
    "cublas": "12.1.3.1",
    "cuda-cupti": "12.1.105",
    "cuda-nvrtc": "12.1.105",
    "cuda-runtime": "12.1.105",
    "cudnn": "9.1.0.70",
    "cufft": "11.0.2.54",
    "curand": "10.3.2.106",
    "cusolver": "11.4.5.107",
    "cusparse": "12.1.0.106",
    "nccl": "2.20.5",
    "nvtx": "12.1.105",
    "nvjitlink": "12.4.127",
}
WANTS = (
    *("filelock", "typing-extensions>=4.8.0", "sympy", "networkx", "jinja2", "fsspec", "triton==3.0.0"),
    *(f"nvidia-{name}-cu12=={version}" for name, version in NVIDIA.items() if name != "nvjitlink"),
)


def main() -> None:
    """Make the environment, plan, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--turns", type=int, default=5)
    arguments.add_argument("--driver", default="570.86.16")
    given = arguments.parse_args()
    if not given.folder.exists():
        make(given.folder)
    count = len(list(given.folder.glob("lib/python*/site-packages/*.dist-info")))
    print(f"{given.folder}: {count} packages")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| plan | time (least to most) | processor | first option | others that change |\n|---|---|---|---|---|")
    plan(given.folder, given.driver)  # fills uv's cache
    for name, words, fresh in RUNS:
        runs = [plan(given.folder, given.driver, *words, fresh=fresh) for _ in range(given.turns)]
        times, work = [seconds for seconds, _, _ in runs], statistics.median(cpu for _, cpu, _ in runs)
        best = runs[0][2]["options"][0]
        others = [p["name"] for p in best["locked"] if p["from"] and not p["name"].startswith(FAMILY)]
        told = f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
        print(f"| {name} | {told} | {work:.2f} s | {best['summary']} | {', '.join(others) or '-'} |", flush=True)


def make(folder: Path) -> None:
    """The environment."""
    subprocess.run([UV, "venv", "--quiet", "--python", "3.11", folder], check=True)
    subprocess.run([UV, "pip", "install", "--quiet", "--python", folder / "bin/python", *PACKAGES], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    version = "__version__ = '2.4.1+cu121'\ncuda: Optional[str] = '12.1'\nhip = None\n"
    texts = {"torch/__init__.py": "", "torch/version.py": version}
    install(site, Package("torch", "2.4.1", WANTS, texts, {"torch/lib/libtorch_cuda.so": OLD}, "torch\n"))
    wants = ("numpy", "torch==2.4.1", "pillow!=8.3.*,>=5.3.0")
    install(site, Package("torchvision", "0.19.1", wants, {"torchvision/__init__.py": ""}, {"torchvision/_C.so": OLD}))
    install(site, Package("triton", "3.0.0", ("filelock",), {"triton/__init__.py": ""}))
    for name, number in NVIDIA.items():
        install(site, Package(f"nvidia-{name}-cu12", number))


def plan(folder: Path, driver: str, *words: str, fresh: bool = False) -> tuple[float, float, dict[str, Any]]:
    """Seconds of one whole process, of the processor for it and its children, and what it answered;

    `fresh` forgets the answers that archfit kept, not uv's cache.
    """
    cache = folder / ".cache"
    if fresh:
        shutil.rmtree(cache / "archfit", ignore_errors=True)
    uv_cache = subprocess.run([UV, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    env = {**os.environ, "XDG_CACHE_HOME": str(cache), "UV_CACHE_DIR": uv_cache}
    command = [ROOT / ".venv/bin/archfit", "plan", folder, "--gpu", "RTX 5090", "--driver", driver, "--json", *words]
    began, used = time.perf_counter(), _processor()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return time.perf_counter() - began, _processor() - used, json.loads(done.stdout)


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    assert DATA.is_dir()
    main()
