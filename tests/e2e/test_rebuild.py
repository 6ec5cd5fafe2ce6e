"""A real extension, compiled for a real torch by the real nvcc from PyPI, in the middle of `archfit upgrade`."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from archfit.cli import run
from archfit.uv import run_uv
from worlds import DATA, Package, install

pytestmark = [pytest.mark.e2e, pytest.mark.network]

SETUP = """
from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension
flags = {"cxx": ["-std=c++14"], "nvcc": ["-std=c++14"]}  # as old packages have it: today's torch refuses that
code = CUDAExtension("tinyext._C", ["tinyext/bind.cpp", "tinyext/fill.cu"], extra_compile_args=flags)
setup(name="tinyext", version="1.0", packages=["tinyext"], ext_modules=[code], cmdclass={"build_ext": BuildExtension})
"""
BIND = """
#include <torch/extension.h>
void launch_fill(float *out, float value, int count);
torch::Tensor filled(int64_t count, double value) {
  auto out = torch::empty({count}, torch::device(torch::cuda.is_available() ? torch::kCUDA : torch::kCPU));
  if (out.is_cuda()) launch_fill(out.data_ptr<float>(), value, count);
  else out.fill_(value);
  return out;
}
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("filled", &filled); }
""".replace("torch::cuda.is_available()", "torch::cuda::is_available()")
KERNEL = """
#include <cuda_runtime.h>
__global__ void fill(float *out, float value, int count) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) out[i] = value;
}
void launch_fill(float *out, float value, int count) { fill<<<(count + 255) / 256, 256>>>(out, value, count); }
"""


def make_sdist(folder: Path) -> None:
    root = folder / "tinyext-1.0"
    files = {"setup.py": SETUP, "tinyext/__init__.py": "import torch\nfrom tinyext._C import filled\n"}
    files |= {"tinyext/bind.cpp": BIND, "tinyext/fill.cu": KERNEL}
    files["PKG-INFO"] = "Metadata-Version: 2.1\nName: tinyext\nVersion: 1.0\n"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    with tarfile.open(folder / "tinyext-1.0.tar.gz", "w:gz") as archive:
        archive.add(root, root.name)


def test_an_upgrade_compiles_what_the_new_torch_cannot_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch 2.4.1 to the newest one, 5 GB from PyPI; no toolkit of the machine is used, no GPU is needed."""
    index, env = tmp_path / "index", tmp_path / "env"
    make_sdist(index)
    monkeypatch.setenv("UV_FIND_LINKS", str(index))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", run_uv(["cache", "dir"]).stdout.strip())
    monkeypatch.setenv("ARCHFIT_TOOLKIT", "pypi")
    assert run_uv(["venv", "--quiet", "--python", sys.executable, str(env)]).returncode == 0
    python = env / "bin/python"
    assert run_uv(["pip", "install", "--quiet", "--python", str(python), "torch==2.4.1", "numpy<2"]).returncode == 0
    site = next((env / "lib").glob("python*/site-packages"))
    install(
        site,
        Package("tinyext", "1.0", texts={"tinyext/__init__.py": ""}, libraries={"tinyext/_C.so": "libextension.so"}),
    )

    words = [
        "upgrade",
        str(env),
        "--gpu",
        "RTX 5090",
        "--driver",
        "595.45.04",
        "--strategy",
        "latest",
        "--level",
        "import",
    ]
    assert run([*words, "--yes", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {"torch", "tinyext"} <= {change["package"] for change in said["changes"]}

    ask = "import tinyext, tinyext._C as c; print(tinyext.filled(3, 2.0).tolist(), c.__file__)"
    told = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout
    assert told.startswith("[2.0, 2.0, 2.0]")
    assert run(["scan", told.split()[-1], "--json"]) == 0
    scanned = json.loads(capsys.readouterr().out)["subjects"][0]
    assert scanned["libraries"][0]["sass"] == ["sm_120"]

    assert run(["rollback", str(env)]) == 0
    assert (site / "tinyext/_C.so").read_bytes() == (DATA / "libextension.so").read_bytes()
