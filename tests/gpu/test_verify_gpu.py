"""The kernels level on a real GPU: healthy passes, and each planted fault fails exactly its own probe.

Run on such a machine: python -m pytest -m gpu tests/gpu/test_verify_gpu.py -rs. The environment judged is the one that pytest
runs in; the planted extensions need nvcc.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from archfit import cli
from archfit.probe.gpus import query_nvml

pytestmark = pytest.mark.gpu

SOURCE = r"""
#include <cuda_runtime.h>
__global__ void add(float *x, int n, float y) { int i = threadIdx.x; if (i < n) x[i] += y; }
extern "C" const char *planted_add(float *x, int n, float y) {
  add<<<1, 64>>>(x, n, y);
  cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess) error = cudaDeviceSynchronize();
  return error == cudaSuccess ? 0 : cudaGetErrorString(error);
}
"""
MODULE = """
import ctypes, os
def probe(kit):
    library = ctypes.CDLL(os.path.join(os.path.dirname(__file__), "_ext.so"))
    library.planted_add.restype = ctypes.c_char_p
    x = kit.torch.arange(64, dtype=kit.torch.float32)
    there = x.to(kit.device)
    said = library.planted_add(ctypes.c_void_p(there.data_ptr()), ctypes.c_int(64), ctypes.c_float(1.0))
    if said:
        raise RuntimeError("CUDA error: " + said.decode())
    kit.exact("x + 1", there.cpu(), x + 1)
"""
FEW = ("kernel:elementwise", "kernel:matmul-fp32", "kernel:ptx-jit", "kernel:nvrtc", "plugin:*")

_OF_PYTHON = {"AttributeError", "ImportError", "ModuleNotFoundError"}

Answer = dict[str, Any]
Ask = Callable[..., tuple[int, Answer]]


@pytest.fixture(scope="module", autouse=True)
def machine() -> None:
    found = query_nvml()
    if isinstance(found, str):
        pytest.skip(f"no NVIDIA GPU here: {found}")
    if find_spec("torch") is None:
        pytest.skip("torch is not installed beside pytest")


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """The exit code and the document of one command about this Python."""

    def run(command: str, *words: str) -> tuple[int, Answer]:
        capsys.readouterr()
        code = cli.run([command, sys.executable, *words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def failed(answer: Answer) -> dict[str, str]:
    return {e["probe"]: e["reason"] for e in answer["evidence"] if e["status"] == "failed"}


def only(*patterns: str) -> list[str]:
    return ["--level", "kernels", *(word for pattern in patterns for word in ("--only", pattern))]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Install a package whose only kernel was compiled for this target, with a probe of its own."""
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if not os.access(nvcc, os.X_OK):
        pytest.skip("no nvcc to plant an extension with")

    def make(code: str) -> None:
        site = tmp_path / "site-packages"
        (site / "planted").mkdir(parents=True)
        (tmp_path / "planted.cu").write_text(SOURCE)
        arch = code.replace("sm_", "compute_")
        target = f"arch={arch},code={code}"
        library = site / "planted/_ext.so"
        subprocess.run(
            [nvcc, "-shared", "-Xcompiler", "-fPIC", "-gencode", target, "-o", library, tmp_path / "planted.cu"],
            check=True,
        )
        (site / "planted/__init__.py").write_text(MODULE)
        info = site / "planted-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[archfit.probes]\nadd = planted:probe\n")
        (info / "RECORD").write_text("planted/__init__.py,,\nplanted/_ext.so,,\n")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))

    return make


def foreign_target() -> str:
    """Machine code that no GPU of this machine runs: another major version."""
    import torch

    major = torch.cuda.get_device_capability(0)[0]
    return "sm_80" if major != 8 else "sm_90"


def test_every_probe_passes_where_nothing_is_planted(ask: Ask) -> None:
    code, answer = ask(
        "verify", "--level", "kernels", "--only", "kernel:*", "--only", "extension:*", "--only", "health:*"
    )
    reasons = failed(answer)
    # Packages that do not fit each other are a fault of that environment, GPU or not, and verify is right to say so.
    unfit = {p: r for p, r in reasons.items() if p.startswith("extension:") and r.partition(":")[0] in _OF_PYTHON}
    assert reasons == unfit
    assert code == (7 if unfit else 0)
    passed = {e["probe"] for e in answer["evidence"] if e["status"] == "passed"}
    assert {"kernel:device", "kernel:matmul-fp32", "kernel:convolution", "kernel:fft", "kernel:ptx-jit"} <= passed
    for row in answer["evidence"]:
        print(row["probe"], row["status"], row["measured"], row["tolerance"], row["seconds"], row["reason"])


def test_code_for_another_gpu_fails_its_own_probe_and_was_predicted(ask: Ask, plant: Callable[[str], None]) -> None:
    plant(foreign_target())
    _, doctor = ask("doctor")
    assert [f["subject"] for f in doctor["findings"] if f["id"] == "arch-missing-extension"] == ["planted/_ext.so"]
    code, answer = ask("verify", *only(*FEW))
    reasons = failed(answer)
    assert code == 7
    assert reasons.keys() == {"static:arch-missing-extension", "plugin:add"}
    assert reasons["plugin:add"] == (
        "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    )
    print(reasons)


def test_without_the_drivers_compiler_exactly_what_needs_it_fails(
    ask: Ask, plant: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From an empty cache: what the driver compiled once it also runs without its compiler."""
    plant("compute_80")
    monkeypatch.setenv("CUDA_CACHE_PATH", str(tmp_path / "first"))
    assert failed(ask("verify", *only(*FEW))[1]) == {}
    monkeypatch.setenv("CUDA_CACHE_PATH", str(tmp_path / "second"))
    monkeypatch.setenv("CUDA_DISABLE_PTX_JIT", "1")
    code, answer = ask("verify", *only(*FEW))
    reasons = failed(answer)
    assert code == 7
    assert reasons.keys() == {"static:ptx-jit-disabled", "plugin:add", "kernel:ptx-jit"}
    assert "PTX JIT compilation was disabled" in reasons["kernel:ptx-jit"]
    print(reasons)


def test_a_hidden_gpu_fails_the_first_probe_and_the_rest_is_not_judged(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    _, doctor = ask("doctor")
    assert "mig-or-visible-devices" in {f["id"] for f in doctor["findings"]}
    code, answer = ask("verify", *only(*FEW[:-1]))
    reasons = failed(answer)
    assert code == 7
    assert reasons.keys() == {"kernel:device"}
    assert "CUDA_VISIBLE_DEVICES=" in reasons["kernel:device"]
    kernels = {
        e["status"] for e in answer["evidence"] if e["probe"].startswith("kernel:") and e["probe"] != "kernel:device"
    }
    assert kernels == {"skipped"}
    print(reasons)


@contextmanager
def missing(pattern: str) -> Iterator[None]:
    """Files of the environment are not there for a while."""
    site = Path(str(distribution("torch").locate_file("")))
    found = list(site.glob(pattern))
    if not found or not os.access(found[0].parent, os.W_OK):
        pytest.skip(f"{pattern} is not among the files of this environment, or may not be moved")
    moved = [(path, path.with_name("hidden-" + path.name)) for path in found]
    try:
        for path, place in moved:
            path.rename(place)
        yield
    finally:
        for path, place in moved:
            place.rename(path)


LINALG = {f"kernel:linalg-{name}" for name in ("solve", "cholesky", "qr", "eigh", "svd")}
LACKING = {
    "torch/lib/libtorch_cuda_linalg.so": ("kernel:linalg-*", LINALG),
    "triton/backends/nvidia/bin/ptxas*": ("kernel:triton", {"kernel:triton"}),
    "torchvision/_C*.so": ("extension:torchvision-nms", {"extension:torchvision-nms"}),
}


@pytest.mark.parametrize("pattern", LACKING)
def test_a_file_that_is_gone_fails_what_needs_it(ask: Ask, pattern: str) -> None:
    """Not cuSOLVER itself: where a CUDA toolkit is installed, the loader finds another copy, and all goes on working."""
    asked, needed = LACKING[pattern]
    with missing(pattern):
        code, answer = ask("verify", *only("kernel:elementwise", "kernel:matmul-fp32", asked))
    reasons = {probe: reason for probe, reason in failed(answer).items() if not probe.startswith("static:")}
    print(reasons)
    assert code == 7
    assert reasons.keys() == needed


def test_two_gpus_reduce_and_copy(ask: Ask) -> None:
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU only")
    _, answer = ask("verify", *only("kernel:nccl", "kernel:peer-copy"))
    states = {e["probe"]: (e["status"], e["measured"]) for e in answer["evidence"] if e["probe"].startswith("kernel:")}
    print(states)
    assert {name for name, (status, _) in states.items() if status == "passed"} == {
        "kernel:device",
        "kernel:nccl",
        "kernel:peer-copy",
    }
