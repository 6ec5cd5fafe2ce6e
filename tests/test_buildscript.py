"""Build files: who chooses the GPUs, going by what stands in setup.py and CMakeLists.txt."""

from __future__ import annotations

import pytest

from archfit.arch import ComputeCapability, CudaVersion, Verdict
from archfit.buildscript import append_flags, read_build_files

RTX_5090, T4, H100 = ComputeCapability(12, 0), ComputeCapability(7, 5), ComputeCapability(9, 0)

PLAIN = """
from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension
# "-gencode", "arch=compute_70,code=sm_70": a comment is no flag
setup(name="x", ext_modules=[CUDAExtension("x._C", ["x.cu"], extra_compile_args={"nvcc": ["-O3"]})])
"""

LISTED = '''
"""Flags such as arch=compute_50,code=sm_50 in a docstring are none."""
flags = ["-gencode", "arch=compute_80,code=sm_80"]
if bare_metal_version >= Version("12.8"):
    flags += ["-gencode", "arch=compute_120,code=sm_120"]
flags.append("-gencode=arch=compute_90,code=[sm_90,compute_90]")
'''

OWN_VARIABLE = """
import os
archs = os.getenv("X_CUDA_ARCHS", "80;90").split(";")
if "90" in archs:
    flags = ["-gencode", "arch=compute_90,code=sm_90"]
"""

OTHER_VENDOR = """
import torch
if torch.version.hip:
    cxx = ["-std=c++14"]
    archs = os.getenv("GPU_ARCHS", "native")
    flags = [f"--offload-arch={a}" for a in archs]
elif not SKIP and IS_ROCM:
    flags = ["-gencode", "arch=compute_35,code=sm_35"]
else:
    cxx = ["-std=c++17"]
    flags = ["-gencode", "arch=compute_80,code=sm_80"]
"""

COMPUTED = """
import torch
major, minor = torch.cuda.get_device_capability()
flags = [f"--generate-code=arch=compute_{major}{minor},code=sm_{major}{minor}"]
"""

SUPPORTED = """
set(CMAKE_CXX_STANDARD 20)
# set(CUDA_SUPPORTED_ARCHS "3.5")
set(CUDA_SUPPORTED_ARCHS "7.5;8.0;9.0;12.0+PTX")
"""


def choice(text: str, path: str = "setup.py") -> str:
    return read_build_files("x", "1.0", {path: text}, sources=1).choice


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        (PLAIN, "setup.py", "torch"),
        (LISTED, "setup.py", "hard-coded"),
        (OWN_VARIABLE, "setup.py", "variable"),
        (OTHER_VENDOR, "setup.py", "hard-coded"),
        (COMPUTED, "setup.py", "computed"),
        (SUPPORTED, "CMakeLists.txt", "torch"),
        ("set(CMAKE_CUDA_ARCHITECTURES 70-real 80-virtual)", "CMakeLists.txt", "hard-coded"),
        (
            "if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)\nset(CMAKE_CUDA_ARCHITECTURES 70)\nendif()",
            "CMakeLists.txt",
            "variable",
        ),
        ('os.environ["TORCH_CUDA_ARCH_LIST"] = "8.0"', "setup.py", "torch"),
        ("this is no Python (", "setup.py", "torch"),
        ("\0", "setup.py", "torch"),
    ],
)
def test_who_chooses(text: str, path: str, expected: str) -> None:
    assert choice(text, path) == expected


def test_a_package_without_gpu_sources_has_nobody_who_chooses() -> None:
    assert read_build_files("x", "1.0", {"setup.py": PLAIN}).choice == "none"


def test_a_variable_that_torch_reads_too_is_torchs() -> None:
    text = 'import os\nif os.environ.get("TORCH_CUDA_ARCH_LIST"):\n    x = f"arch=compute_{a},code=sm_{a}"\n'
    assert choice(text) == "torch"


class TestTheList:
    build = read_build_files("x", "1.0", {"setup.py": LISTED}, sources=1)

    def test_has_its_targets_with_the_lines_they_stand_in(self) -> None:
        rows = [([str(t) for t in f.targets], f.spot.line, str(f.since) if f.since else "") for f in self.build.flags]
        assert rows == [(["sm_80"], 3, ""), (["sm_120"], 5, "12.8"), (["sm_90", "compute_90"], 6, "")]

    @pytest.mark.parametrize(
        ("device", "toolkit", "verdict"),
        [
            (RTX_5090, CudaVersion(12, 8), Verdict.NATIVE),
            (RTX_5090, CudaVersion(12, 6), Verdict.JIT),  # only the PTX of 9.0 is left
            (H100, CudaVersion(12, 6), Verdict.NATIVE),
            (ComputeCapability(8, 9), CudaVersion(12, 6), Verdict.COMPATIBLE),
            (T4, CudaVersion(12, 8), Verdict.NONE),
        ],
    )
    def test_says_what_a_build_can_do(self, device: ComputeCapability, toolkit: CudaVersion, verdict: Verdict) -> None:
        assert self.build.verdict(device, toolkit) is verdict

    def test_alone_with_a_machine_target_holds_ptx_too(self) -> None:
        build = read_build_files("x", "1.0", {"setup.py": 'args = ["-arch=sm_70"]'}, sources=1)
        assert [str(t) for t in build.targets] == ["compute_70", "sm_70"]

    def test_of_virtual_targets_alone_holds_ptx_only(self) -> None:
        build = read_build_files("x", "1.0", {"setup.py": 'args = ["-arch=compute_50"]'}, sources=1)
        assert build.verdict(RTX_5090, CudaVersion(12, 8)) is Verdict.JIT


def test_what_other_vendors_get_is_not_ours() -> None:
    build = read_build_files("x", "1.0", {"setup.py": OTHER_VENDOR}, sources=1)
    assert [str(t) for t in build.targets] == ["sm_80"]
    assert build.variables == {}
    assert [number for number, _ in build.standards] == [17]


def test_imports_are_seen_and_march_is_no_architecture_of_a_gpu() -> None:
    text = 'from pkg_resources import parse_version\nimport torch\ncxx = ["-march=native"]\n'
    build = read_build_files("x", "1.0", {"setup.py": text}, sources=1)
    assert (sorted(build.imports), build.choice) == (["pkg_resources", "torch"], "torch")


def test_nvcc_is_told_what_to_add() -> None:
    assert append_flags([T4, RTX_5090]) == ("-gencode arch=compute_75,code=sm_75 -gencode arch=compute_120,code=sm_120")
