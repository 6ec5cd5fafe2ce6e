"""Every kernel compiled ahead of time for GPUs that are not here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

pytestmark = pytest.mark.torch

TARGETS = (75, 80, 86, 89, 90, 100, 103, 110, 120, 121)

# Runs without the interpreter; prints one line per cubin.
SCRIPT = """
import sys, triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from bev_ops import splat_triton, window_triton

TYPES = dict.fromkeys("cells count slot rows drawn order long".split(), "*i32")
TYPES |= dict.fromkeys("feature out grad d_feature qkv d_qkv".split(), "*bf16")
TYPES |= dict.fromkeys("depth d_depth bias d_bias".split(), "*fp32") | {"scale": "fp32"}
SPLAT = {"D": 59, "CELLS": 4, "POINTS": 2, "LONG_POINTS": 8, "CHANNELS": 64, "LONG": 32, "SUM": tl.float32, "BINS": 8}
WINDOW = {"HEADS": 3, "DIM": 32, "WINDOW": 7, "EXACT": "tf32"}
KERNELS = [
    *((getattr(splat_triton, n + "_kernel"), {**SPLAT, "BLOCK": 64, "SCAN": 32})
      for n in ("count", "fill", "rank", "forward", "backward", "long_rows")),
    *((getattr(window_triton, n + "_kernel"), WINDOW) for n in ("forward", "backward")),
]
for capability in map(int, sys.argv[1:]):
    for kernel, constants in KERNELS:
        known = {n: constants[n] for n in kernel.arg_names if n in constants}
        signature = {n: "constexpr" if n in known else "i32" if n in ("rows", "columns") and constants is WINDOW
                     else TYPES.get(n, "i32") for n in kernel.arg_names}
        indexed = {(kernel.arg_names.index(n),): value for n, value in known.items()}
        source = ASTSource(kernel, signature, indexed)
        cubin = triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]
        is_elf, for_cuda = cubin[:4] == b"\\x7fELF", cubin[18:20] == b"\\xbe\\x00"
        print(capability, kernel.__module__.split(".")[-1], kernel.__name__, is_elf, for_cuda)
"""


@pytest.mark.parametrize("capability", TARGETS)
def test_every_kernel_compiles_for(capability: int, tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    env |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(capability)], capture_output=True, text=True, env=env, check=False
    )

    lines = [line.split() for line in run.stdout.splitlines()]
    assert run.returncode == 0, run.stderr[-2000:]
    assert len(lines) == 8
    assert all(line[0] == str(capability) and line[3:] == ["True", "True"] for line in lines)  # ELF for a CUDA machine
