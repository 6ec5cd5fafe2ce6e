"""Environments that work, and look at first as if they did not; and some that look fine and are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from archfit.arch import ComputeCapability, CudaVersion
from archfit.model import Driver, DriverRelease, Environment, Gpu, Known, Severity, State
from worlds import NEW, OLD, diagnosis_of, finding_ids, gpus, library, plan_of, torch, vision, world


def seen(release: str, gpu: Gpu | str, cuda: str, torch_cuda: str, fixture: str = NEW) -> Environment:
    """A machine whose driver lists this GPU and whose libcuda says `cuda`."""
    found = gpus(gpu, seen=True) if isinstance(gpu, str) else Known((gpu,), "nvml")
    told = Driver(DriverRelease.parse(release), CudaVersion.parse(cuda), None, "nvml")
    return world(torch("2.9.0", fixture), cuda=torch_cuda, gpus=found, driver=Known(told, "nvml"))


def test_cuda_compat_on_an_old_driver_is_believed() -> None:
    assert finding_ids(seen("535.183.01", "H200", cuda="13.0", torch_cuda="13.0")) == []
    assert finding_ids(seen("535.183.01", "H200", cuda="12.2", torch_cuda="13.0")) == ["driver-too-old"]


def test_cuda_compat_compiles_newer_ptx() -> None:
    assert finding_ids(seen("535.183.01", "H200", "13.0", "12.4", "libcompute_90.so")) == ["jit-only"]
    assert finding_ids(seen("535.183.01", "H200", "12.2", "12.4", "libcompute_90.so")) == ["ptx-toolchain"]


@pytest.mark.parametrize(
    ("release", "gpu"),
    [("570.86.16", "RTX 5070"), ("580.82.09", Gpu("NVIDIA GB10", ComputeCapability(12, 1), "nvml"))],
)
def test_a_driver_knows_the_gpu_that_it_lists(release: str, gpu: Gpu | str) -> None:
    assert finding_ids(seen(release, gpu, "12.8", "12.8")) == []
    broken = plan_of(seen(release, gpu, "12.8", "12.1", OLD))
    assert broken.options[0].kind == "upgrade"


@pytest.mark.parametrize("on", [("RTX 5090", "RTX 5060"), ("RTX 5060", "RTX 5090")])
def test_two_products_of_one_capability_are_both_judged(on: tuple[str, str]) -> None:
    assert finding_ids(world(torch("2.8.0", NEW), on=on, release="570.86.16", cuda="12.8")) == ["driver-too-old"]


def test_a_cuda_build_whose_libraries_lie_elsewhere_is_no_cpu_build() -> None:
    diagnosis = diagnosis_of(world(torch("2.8.0", None), cuda="12.8"))
    states = {o.check: o.state for o in diagnosis.outcomes}
    assert (diagnosis.findings, states["torch"]) == ((), State.UNDECIDED)


def test_a_patch_release_apart_is_a_warning() -> None:
    """Measured 2026-11-23: torchvision 0.19.0, which wants torch 2.4.0, runs its operators on torch 2.4.1."""
    env = world(torch("2.4.1", NEW), vision("0.19.0", "torch==2.4.0", NEW), on="H200")
    assert [(f.id, f.severity) for f in diagnosis_of(env).findings] == [("requirement-unmet", Severity.WARNING)]


def test_nothing_released_belongs_to_a_nightly() -> None:
    env = world(torch("2.9.0.dev20250901+cu128", NEW), vision("0.24.0.dev1", "torch==2.9.0.dev20250820", NEW))
    assert finding_ids(env) == ["torch-family-mismatch"]
    assert [o.kind for o in plan_of(env).options] == ["cpu"]


def test_what_belongs_to_no_package_is_not_asked_of_an_installer() -> None:
    own = replace(torch(), name="(no package)", version="", libraries=(library("ops/_ext.so", OLD),))
    options = plan_of(world(torch("2.8.0", NEW), own, cuda="12.8")).options
    assert [(o.kind, o.pip) for o in options if o.kind == "rebuild"] == [("rebuild", ())]


def test_the_fix_for_conda_is_a_command_that_works_there() -> None:
    env = world()
    assert isinstance(env.interpreter, Known)
    conda = replace(env, interpreter=Known(replace(env.interpreter.value, is_virtual=False), "conda"))
    primary = diagnosis_of(conda).primary
    assert primary is not None
    assert primary.fix.startswith("archfit plan ")
