"""On a real GPU: an extension that was built only for another architecture is named, and torch is cleared.

Run on a machine with an NVIDIA GPU, torch and nvcc: python -m pytest -m gpu tests/gpu/test_explain_gpu.py -rs
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest

from archfit.model import Known
from archfit.probe.gpus import query_machine

pytestmark = pytest.mark.gpu

KERNEL = """
#include <cuda_runtime.h>
__global__ void scale(float* x) { x[threadIdx.x] *= 2.0f; }
extern "C" int launch() {
    float* x = nullptr;
    if (cudaError_t error = cudaMalloc(&x, 256 * sizeof(float))) return error;
    scale<<<1, 256>>>(x);
    cudaError_t error = cudaGetLastError();
    return error ? error : cudaDeviceSynchronize();
}
extern "C" const char* message(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }
"""
MODULE = """
import ctypes, pathlib
_C = ctypes.CDLL(str(pathlib.Path(__file__).with_name("_C.so")))
_C.message.restype = ctypes.c_char_p


def scale():
    code = _C.launch()
    if code:
        raise RuntimeError("CUDA error: " + _C.message(code).decode())
"""
PROGRAM = """
import torch
print("torch computes:", float((torch.ones(1000, device="cuda") * 2 + 1).sum()))
import bevops
bevops.scale()
print("bevops computes")
"""
OTHER_TARGET = {8: "90", 9: "80", 10: "90", 12: "90"}  # by the major of the GPU in the machine


@pytest.fixture(scope="module")
def major() -> int:
    machine = query_machine()
    if not isinstance(machine.gpus, Known) or not machine.gpus.value:
        pytest.skip("no NVIDIA GPU here")
    return machine.gpus.value[0].capability.major


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment that sees the torch of this Python."""
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc here")
    if subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, check=False).returncode:
        pytest.skip("no torch here")
    root = tmp_path / "env"
    venv.create(root, system_site_packages=True, with_pip=False, symlinks=True)
    beside = sysconfig.get_paths()["purelib"]  # of the environment that pytest runs in
    (site_packages(root) / "beside.pth").write_text(beside + "\n")
    return root


def site_packages(root: Path) -> Path:
    return next((root / "lib").glob("python3*")) / "site-packages"


def install(root: Path, target: str) -> Path:
    """Put the package bevops, compiled for `target` only, into the environment."""
    site = site_packages(root)
    package = site / "bevops"
    package.mkdir(parents=True)
    source = package / "bevops.cu"
    source.write_text(KERNEL)
    gencode = f"-gencode=arch=compute_{target},code=sm_{target}"
    subprocess.run(["nvcc", gencode, "-shared", "-Xcompiler", "-fPIC", "-o", package / "_C.so", source], check=True)
    (package / "__init__.py").write_text(MODULE)
    info = site / "bevops-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bevops\nVersion: 1.0\n")
    (info / "RECORD").write_text("bevops/__init__.py,,\nbevops/_C.so,,\nbevops-1.0.dist-info/METADATA,,\n")
    return package / "_C.so"


def run(root: Path, tmp_path: Path) -> tuple[subprocess.CompletedProcess[str], Path]:
    program, report = tmp_path / "train.py", tmp_path / "why.json"
    program.write_text(PROGRAM)
    command = [
        sys.executable,
        "-m",
        "archfit",
        "run",
        "--lang",
        "en",
        "--report",
        report,
        "--",
        root / "bin/python",
        program,
    ]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False), report


def test_an_extension_for_another_architecture_is_the_culprit(major: int, environment: Path, tmp_path: Path) -> None:
    install(environment, OTHER_TARGET[major])
    began = time.perf_counter()
    ended, report = run(environment, tmp_path)
    print(f"{ended.stdout}\n{ended.stderr}\n{time.perf_counter() - began:.1f} s")

    assert ended.returncode == 1
    assert "torch computes: 3000.0" in ended.stdout
    assert "no kernel image is available for execution on the device" in ended.stderr
    found = json.loads(report.read_text("utf-8"))
    first = found["causes"][0]
    assert first["id"] == "arch-missing-extension"
    assert first["culprit"] == {"package": "bevops", "library": "bevops/_C.so"}
    assert found["cleared"] == ["torch"]


def test_an_extension_for_this_architecture_gets_no_comment(major: int, environment: Path, tmp_path: Path) -> None:
    own = {8: "80", 9: "90", 10: "100", 12: "120"}[major]
    install(environment, own)
    ended, report = run(environment, tmp_path)

    assert (ended.returncode, "bevops computes" in ended.stdout) == (0, True)
    assert "archfit" not in ended.stderr
    assert not report.exists()
