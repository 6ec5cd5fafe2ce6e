"""The kernel probes with a real torch, on the CPU: right as it comes, and caught where one of its functions lies.

Runs where torch is installed beside pytest, or in the environment whose Python ARCHFIT_TEST_TORCH names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import pytest

from archfit.catalog.probes import ProbeRow, load_probes
from archfit.model import Proof
from archfit.verify.judge import judge

SLOW = frozenset({"torch-compile", "nccl", "optimizer"})
ROWS = [row for row in load_probes() if row.kind == "kernel" and row.name not in SLOW]


@pytest.fixture(scope="module")
def python() -> str:
    named = os.environ.get("ARCHFIT_TEST_TORCH")
    if named is None and find_spec("torch") is None:
        pytest.skip("torch is not installed beside pytest; name a Python that has it: ARCHFIT_TEST_TORCH=…")
    return named or sys.executable


def run(python: str, rows: list[ProbeRow], path: Path | None = None) -> dict[str, Proof]:
    """How these probes end on the CPU."""
    script = str(resources.files("archfit.target").joinpath("run_probes.py"))
    probes = [{"name": row.id, "entry": row.entry, "seconds": 60} for row in rows]
    order = json.dumps({"device": "cpu", "fork": True, "probes": probes})
    variables = {**os.environ, "OMP_NUM_THREADS": "2", **({"PYTHONPATH": str(path)} if path else {})}
    done = subprocess.run([python, script, order], capture_output=True, text=True, check=True, env=variables)
    told = {answer["name"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    return {row.name: judge(row, told[row.id], "CPU").status for row in rows}


def test_every_probe_that_can_run_on_the_cpu_passes(python: str) -> None:
    found = run(python, ROWS)
    assert {name for name, status in found.items() if status is Proof.FAILED} == set()
    assert sum(status is Proof.PASSED for status in found.values()) > 25


# A function of torch that returns nonsense -> the probe that must notice. `right` is the function as it was. The reference
# comes from the same function, so most lie to float32 only, or at the first call, which is the one of the device.
LIES = {
    "torch.fft.fft": ("lambda x: right(x) * (1 + 1e-3) if x.dtype.itemsize == 4 else right(x)", "fft"),
    "torch.linalg.cholesky": ("lambda x: right(x) + 0.01", "linalg-cholesky"),
    "torch.linalg.qr": ("lambda x: tuple(-p for p in right(x))[::-1]", "linalg-qr"),
    "torch.linalg.eigh": ("lambda x: (right(x)[0] * float('nan'), right(x)[1])", "linalg-eigh"),
    "torch.searchsorted": ("lambda a, b: right(a, b) + (b == b[3]).long() * HIT()", "sort"),
    "torch.randperm": ("lambda n, device=None: right(n, device=device) // 2 * 2", "random"),
    "torch.nn.functional.embedding": ("lambda i, w: right(i, w) * 2 if HIT() else right(i, w)", "embedding"),
    "torch.nn.functional.layer_norm": ("lambda x, s: right(x, s) if x.dtype.itemsize == 8 else x", "normalization"),
    "torch.nn.functional.max_pool2d": (
        "lambda x, k, s: right(x, k, s).flip(-1) if HIT() else right(x, k, s)",
        "image",
    ),
}

HOOK = """
import builtins, sys
real = builtins.__import__
calls = {{}}
def first(name):
    calls[name] = calls.get(name, 0) + 1
    return calls[name] == 1
def patched(name, *rest, **more):
    module = real(name, *rest, **more)
    torch = sys.modules.get("torch")
    if builtins.__import__ is patched and torch is not None and hasattr(torch, "compile") and hasattr(torch, "linalg"):
        builtins.__import__ = real
{lies}
    return module
builtins.__import__ = patched
"""


def lie(function: str) -> str:
    """The statement that puts one lie in the place of the function."""
    rule = LIES[function][0].replace("HIT()", f"first({function!r})")
    return f"        {function} = (lambda right: {rule})({function})"


def test_each_function_that_lies_fails_its_own_probe_and_no_other(python: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HOOK.format(lies="\n".join(map(lie, LIES))))
    found = run(python, ROWS, tmp_path)
    assert {name for name, status in found.items() if status is Proof.FAILED} == {probe for _, probe in LIES.values()}
