"""The predicted verdict against the driver of this machine: does it load and launch the code, or not?

Run on a machine with an NVIDIA GPU: python -m pytest -m gpu tests/gpu/test_reader.py -rs. The code is
in targets.zip, made by build_targets.py: every target that nvcc 13.0 knows, as machine code and as PTX, plain and compressed,
alone and together; and in tests/data.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from archfit.arch import ComputeCapability, CudaVersion, Verdict
from archfit.binary.library import read_library
from archfit.catalog import load_catalog
from archfit.coverage import judge_library
from archfit.model import Library
from archfit.probe.gpus import query_nvml

pytestmark = pytest.mark.gpu

DATA = Path(__file__).parents[1] / "data"
CHILD = Path(__file__).with_name("load_images.py")
ALONE = sorted(p.name for p in (*DATA.glob("*.cubin"), *DATA.glob("*.ptx"), *DATA.glob("*.fatbin")))
UNITS = (
    "libserver.so",
    "libpartial.so",
    "liboptional.so",
    "libsm_90.so",
    "libsm_120.so",
    "libcompute_75.so",
    "libzstd.so",
)
SETTINGS = {"usual": {}, "no JIT": {"CUDA_DISABLE_PTX_JIT": "1"}, "only JIT": {"CUDA_FORCE_PTX_JIT": "1"}}


@pytest.fixture(scope="module", autouse=True)
def _a_gpu_is_here() -> None:
    found = query_nvml()
    if isinstance(found, str):
        pytest.skip(f"no NVIDIA GPU here: {found}")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    with zipfile.ZipFile(CHILD.with_name("targets.zip")) as made:
        made.extractall(folder)
    for name in ALONE:
        if "lto" not in name:  # link-time code is no image
            shutil.copy(DATA / name, folder / name)
    return folder


@cache
def ask(folder: Path, setting: str, libraries: tuple[str, ...] = ()) -> dict[str, Any]:
    """What the driver says to every image, with its variables set."""
    environment = {**os.environ, "CUDA_CACHE_DISABLE": "1", **SETTINGS[setting]}
    done = subprocess.run(
        [sys.executable, CHILD, folder, *libraries],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def only(library: Library, kind: str) -> Library:
    """The library as the driver sees it when it may not use the other kind of code; a bare cubin is always taken as it is."""
    if library.format == "cubin":
        return library
    kept = (replace(c, objects=tuple(o for o in c.objects if o.kind == kind)) for c in library.containers)
    return replace(library, containers=tuple(c for c in kept if c.objects))


def predicted(library: Library, setting: str, device: ComputeCapability, driver: CudaVersion) -> bool:
    seen = {"usual": library, "no JIT": only(library, "sass"), "only JIT": only(library, "ptx")}[setting]
    coverage = judge_library(seen, device)
    needed = load_catalog().cuda_of_ptx(coverage.ptx_isa) if coverage.ptx_isa else None
    return coverage.verdict.runs and (needed is None or driver >= needed)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_driver_runs_what_was_predicted_and_nothing_else(images: Path, setting: str) -> None:
    answer = ask(images, setting)
    device = ComputeCapability.parse(answer["capability"])
    driver = CudaVersion(answer["cuda"] // 1000, answer["cuda"] % 1000 // 10)
    foreseen = {p.name: predicted(read_library(p, p.name), setting, device, driver) for p in images.iterdir()}
    ran = {name: said == "ok" for name, said in answer["images"].items()}
    differing = {name: answer["images"][name] for name in ran if ran[name] != foreseen[name]}
    print(f"{setting}: capability {device}, driver CUDA {driver}: {sum(ran.values())} of {len(ran)} run")
    assert differing == {}
    assert len(ran) >= 80
    assert set(ran.values()) == {True, False}


def test_what_the_runtime_registers_runs_as_predicted(images: Path) -> None:
    answer = ask(images, "usual", tuple(str(DATA / name) for name in UNITS))
    if answer["units"] is None:
        pytest.skip("no CUDA runtime (libcudart) was found")
    device = ComputeCapability.parse(answer["capability"])
    for name in UNITS:
        verdict = judge_library(read_library(DATA / name), device).verdict
        said = {word for words in answer["units"][str(DATA / name)].values() for word in words}
        print(name, verdict.value, sorted(said))
        if verdict in (Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT):
            assert "ok" in said
        if verdict is Verdict.NONE:
            assert said == {"cudaErrorNoKernelImageForDevice 209"}


@pytest.fixture(scope="module")
def nvcc() -> str:
    found = shutil.which("nvcc") or next(map(str, Path("/usr/local").glob("cuda*/bin/nvcc")), None)
    if found is None:
        pytest.skip("nvcc is not here to build a library for this very GPU")
    return found


def test_one_unit_without_code_fails_alone(nvcc: str, images: Path, tmp_path: Path) -> None:
    """`partial`: the operators of one translation unit fail when they are first called, and only they."""
    answer = ask(images, "usual")
    device = ComputeCapability.parse(answer["capability"])
    other = "80" if device.major != 8 else "90"
    path = build(nvcc, tmp_path, {"scale": device.sm[3:], "shift": other})
    library = read_library(path)
    assert judge_library(library, device).verdict is Verdict.PARTIAL

    said = ask(images, "usual", (str(path),))["units"]

    if said is None:
        pytest.skip("no CUDA runtime (libcudart) was found")
    print(said[str(path)])
    assert said[str(path)] == {"scale": ["ok", "ok"], "shift": ["cudaErrorNoKernelImageForDevice 209"]}


def test_linked_code_falls_back_to_the_ptx_of_its_parts(nvcc: str, images: Path, tmp_path: Path) -> None:
    """Where nothing in the linked image fits, the runtime links the relocatable parts again, from their PTX."""
    answer = ask(images, "usual")
    device = ComputeCapability.parse(answer["capability"])
    other = "80" if device.major != 8 else "90"
    path = tmp_path / "librelocatable.so"
    codes = [f"-gencode=arch=compute_{other},code=sm_{other}", "-gencode=arch=compute_75,code=compute_75"]
    command = [
        nvcc,
        "-shared",
        "-cudart=shared",
        "-Xcompiler=-fPIC",
        "-rdc=true",
        *codes,
        DATA / "scale.cu",
        "-o",
        path,
    ]
    subprocess.run(command, check=True, capture_output=True)
    verdict = judge_library(read_library(path), device).verdict

    said = ask(images, "usual", (str(path),))["units"]

    if said is None:
        pytest.skip("no CUDA runtime (libcudart) was found")
    print(verdict.value, said[str(path)])
    assert verdict is Verdict.JIT
    assert verdict.runs == (said[str(path)]["scale"] == ["ok", "ok"])


def build(nvcc: str, folder: Path, targets: dict[str, str]) -> Path:
    """A library with one translation unit for each source, each for its own target."""
    objects = []
    for source, target in targets.items():
        objects.append(folder / f"{source}.o")
        code = f"-gencode=arch=compute_{target},code=sm_{target}"
        subprocess.run(
            [nvcc, "-c", "-Xcompiler=-fPIC", code, DATA / f"{source}.cu", "-o", objects[-1]],
            check=True,
            capture_output=True,
        )
    path = folder / "libunits.so"
    subprocess.run([nvcc, "-shared", "-cudart=shared", *objects, "-o", path], check=True, capture_output=True)
    return path
