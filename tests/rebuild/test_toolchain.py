"""Which compiler is taken, and a toolkit laid out of packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfit.arch import ComputeCapability, CudaVersion
from archfit.catalog import load_catalog
from archfit.rebuild import BuildError
from archfit.rebuild.toolchain import arch_of, choose_compiler, find_toolkits, lay_out

BLACKWELL = (ComputeCapability(12, 0),)
CATALOG = load_catalog()


def toolkit(home: Path, release: str) -> Path:
    """A toolkit whose nvcc can say its release, and nothing else."""
    (home / "bin").mkdir(parents=True)
    (home / "include").mkdir()
    (home / "include/cuda_runtime.h").touch()
    nvcc = home / "bin/nvcc"
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.88'\n", "utf-8")
    nvcc.chmod(0o755)
    return home


def only(home: Path) -> dict[str, str]:
    """Variables that name this toolkit; those of the machine in /usr/local may be found, too."""
    return {"CUDA_HOME": str(home), "PATH": "/usr/bin:/bin"}


def test_a_toolkit_of_the_very_release_comes_first(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "cuda", "13.2")
    choice = choose_compiler(CudaVersion(13, 2), BLACKWELL, CATALOG, only(home))
    assert choice.toolkit is not None
    assert (choice.toolkit.home, choice.toolkit.version, choice.requirements) == (home, "13.2.88", ())


def test_pypi_comes_before_a_toolkit_of_another_minor_release(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "cuda", "13.4")
    choice = choose_compiler(CudaVersion(13, 2), BLACKWELL, CATALOG, only(home))
    assert choice.toolkit is None
    assert "nvidia-cuda-nvcc==13.2.*" in choice.requirements


def test_toolkits_of_the_machine_can_be_left_out(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "cuda", "13.2")
    choice = choose_compiler(CudaVersion(13, 2), BLACKWELL, CATALOG, only(home) | {"ARCHFIT_TOOLKIT": "pypi"})
    assert choice.toolkit is None


def test_where_pypi_has_none_the_nearest_of_the_same_major_release_serves(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "cuda", "12.9")
    choice = choose_compiler(CudaVersion(12, 8), BLACKWELL, CATALOG, only(home))
    assert choice.toolkit is not None
    assert choice.cuda == CudaVersion(12, 9)


@pytest.mark.parametrize("release", ["12.4", "13.0", "11.8"])
def test_another_major_release_or_one_too_old_for_the_gpu_is_no_compiler(tmp_path: Path, release: str) -> None:
    home = toolkit(tmp_path / "cuda", release)
    with pytest.raises(BuildError) as caught:
        choose_compiler(CudaVersion(12, 8), BLACKWELL, CATALOG, only(home))
    assert caught.value.key == "rebuild-no-compiler"
    assert release in str(caught.value.values["found"])


def test_an_nvcc_on_path_is_found_and_one_without_headers_is_not(tmp_path: Path) -> None:
    whole, part = toolkit(tmp_path / "whole", "12.8"), toolkit(tmp_path / "part", "12.9")
    (part / "include/cuda_runtime.h").unlink()
    found = find_toolkits({"PATH": f"{whole / 'bin'}:/usr/bin", "CUDA_PATH": str(part)})
    assert whole in {t.home for t in found}
    assert part not in {t.home for t in found}


def test_an_nvcc_that_does_not_run_is_none(tmp_path: Path) -> None:
    home = toolkit(tmp_path / "cuda", "12.8")
    (home / "bin/nvcc").write_text("#!/nowhere/sh\n", "utf-8")
    assert home not in {t.home for t in find_toolkits(only(home))}


@pytest.mark.parametrize(
    ("device", "cuda", "arch"),
    [
        ("12.0", "12.8", "12.0"),
        ("12.1", "12.8", "12.0"),
        ("12.1", "13.0", "12.1"),
        ("8.9", "12.8", "8.9"),
        ("10.3", "12.8", "10.0"),
    ],
)
def test_a_gpu_that_the_release_does_not_know_gets_code_that_runs_on_it(device: str, cuda: str, arch: str) -> None:
    found = arch_of(ComputeCapability.parse(device), CudaVersion.parse(cuda), CATALOG)
    assert str(found) == arch


def test_packages_are_laid_out_as_a_toolkit(tmp_path: Path) -> None:
    first, second, home = tmp_path / "first", tmp_path / "second", tmp_path / "home"
    for path in (first / "bin/nvcc", first / "include/crt/host_config.h", first / "lib/libcudart.so.13"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("first", "utf-8")
    for path in (second / "include/crt/host_config.h", second / "include/cublas_v2.h", second / "lib/libcublas.so.13"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("second", "utf-8")
    lay_out([first, second], home)
    assert (home / "include/crt/host_config.h").read_text("utf-8") == "first"
    assert (home / "include/cublas_v2.h").read_text("utf-8") == "second"
    assert (home / "lib64/libcudart.so").read_text("utf-8") == "first"
    assert (home / "lib/libcublas.so").read_text("utf-8") == "second"
    assert (home / "bin/..").resolve() == home  # nvcc finds the rest from where it stands
