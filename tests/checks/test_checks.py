"""Every finding appears where it should, and nowhere else; what cannot be decided is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

import archfit.checks
from archfit.arch import CudaVersion, Target
from archfit.catalog import Catalog
from archfit.checks import CHECKS, PRIMARY_ORDER, diagnose
from archfit.model import (
    Compiler,
    Distribution,
    Environment,
    Fact,
    Finding,
    Interruption,
    Known,
    Outcome,
    Severity,
    State,
    Status,
    Surroundings,
    Text,
    Unknown,
)
from worlds import (
    CATALOG,
    NEW,
    OLD,
    TORCH_WANTS,
    audio,
    diagnosis_of,
    driver,
    extension,
    finding_ids,
    gpus,
    interpreter,
    library,
    torch,
    vision,
    world,
)

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def findings(env: Environment) -> dict[str, Severity]:
    return {f.id: f.severity for f in diagnosis_of(env).findings}


def outcome(env: Environment, check: str) -> Outcome:
    return next(o for o in diagnosis_of(env).outcomes if o.check == check)


def finding(env: Environment, finding_id: str) -> Finding:
    return next(f for f in diagnosis_of(env).findings if f.id == finding_id)


# --- never cry wolf --------------------------------------------------------------------------------------------------

SERVED_BY_2_4_1 = [
    "RTX 4090", "RTX 4060 Ti", "RTX 3090", "RTX 3060", "A100", "A40", "A10", "L4", "L40S", "H100", "H200", "GH200", "T4",
    "RTX 2080 Ti", "GTX 1660", "V100", "TITAN V", "GTX 1080 Ti", "P100", "P40", "GTX 980 Ti", "GTX 750 Ti",
]  # fmt: skip
NOT_SERVED_BY_2_4_1 = [
    "RTX 5090", "RTX 5080", "RTX 5070 Ti", "RTX 5060", "RTX PRO 6000 Blackwell Workstation", "B200", "GB200", "B300",
    "GB10", "Jetson T5000", "Jetson AGX Orin", "Jetson AGX Xavier", "Jetson TX2", "Jetson Nano",
]  # fmt: skip


@pytest.mark.parametrize("name", SERVED_BY_2_4_1)
def test_what_works_has_no_finding(name: str) -> None:
    diagnosis = diagnosis_of(world(on=name, release="580.65.06"))
    assert (diagnosis.findings, diagnosis.primary, diagnosis.status) == ((), None, Status.OK)


@pytest.mark.parametrize("name", NOT_SERVED_BY_2_4_1)
def test_what_cannot_work_is_found(name: str) -> None:
    diagnosis = diagnosis_of(world(on=name))
    assert [f.id for f in diagnosis.findings] == ["arch-missing-torch", "arch-missing-extension"]
    assert (diagnosis.primary, diagnosis.status) == (diagnosis.findings[0], Status.PROBLEMS)


NEW_TORCH = torch("2.13.0", NEW)


@pytest.mark.parametrize("name", ["A100", "RTX 3090", "RTX 4090", "H200", "B200", "B300", "RTX 5090", "GB10"])
def test_a_new_torch_serves_new_gpus(name: str) -> None:
    """Same-major SASS and family code are as good as native code."""
    assert findings(world(NEW_TORCH, on=name, release="595.45.04", cuda="13.0")) == {}


def test_kernels_for_one_generation_alone_are_no_gap() -> None:
    """A general unit (8.0, 9.0) and one for sm_90a: an A100 has nothing in the second, and needs nothing."""
    assert findings(world(torch("2.13.0", "liboptional.so"), on="A100")) == {}


def test_a_library_that_picks_its_kernels_needs_one_that_fits() -> None:
    parts = library("nvidia/cudnn/lib/libcudnn_ops.so.9", "libpartial.so")
    cudnn = Distribution("nvidia-cublas-cu12", "12.1.3.1", libraries=(parts,))
    assert findings(world(NEW_TORCH, cudnn, cuda="13.0")) == {}


# --- torch -----------------------------------------------------------------------------------------------------------

MISSING_VALUES = {
    "gpu": "GeForce RTX 5090",
    "capability": "12.0",
    "sm": "sm_120",
    "version": "2.4.1",
    "cuda": "12.1",
    "library": "libtorch_cuda.so",
    "targets": "5.0 6.0 7.0 7.5 8.0 8.6 9.0",
    "toolkit": "12.8",
    "last_toolkit": "13.5",
}
NONE_OF_TWO = {
    "sass": "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90",
    "ptx": "",
    "able": "0",
    "total": "2",
    "sm": "sm_120",
}


def test_arch_missing_torch() -> None:
    assert finding(world(), "arch-missing-torch") == Finding(
        "arch-missing-torch",
        ERROR,
        "torch/lib/libtorch_cuda.so",
        MISSING_VALUES,
        (
            Fact('--gpu "RTX 5090"', Text("gpu-seen", {"name": "GeForce RTX 5090", "capability": "12.0"})),
            Fact("torch/lib/libtorch_cuda.so", Text("targets-sass", NONE_OF_TWO)),
        ),
        "archfit upgrade /env --gpu 'GeForce RTX 5090'",
    )


def test_the_fix_pretends_what_was_pretended() -> None:
    env = world(on=("RTX 5090", ["sm_90", "1"][0]), release="570.86.16")
    fix = "archfit upgrade /env --gpu sm_90 --gpu 'GeForce RTX 5090' --driver 570.86.16"
    assert finding(env, "arch-missing-torch").fix == fix


def test_the_fix_pretends_nothing_that_was_seen() -> None:
    env = world(gpus=gpus("RTX 5090", seen=True), driver=driver("580.65.06", pretended=False))
    assert finding(env, "arch-missing-torch").fix == "archfit upgrade /env"


@pytest.mark.parametrize("name", ["V100", "GTX 1080 Ti", "GTX 980 Ti", "T4"])
def test_arch_dropped_torch(name: str) -> None:
    assert findings(world(NEW_TORCH, on=name, cuda="13.0")) == {"arch-dropped-torch": ERROR}


def test_the_last_cuda_for_an_old_gpu_is_told() -> None:
    found = finding(world(NEW_TORCH, on="GTX 1080 Ti", cuda="13.0"), "arch-dropped-torch")
    assert (found.values["last_toolkit"], found.values["targets"]) == ("12.9", "8.0 9.0 10.0 12.0")


def test_arch_partial() -> None:
    env = world(torch("2.9.0", "libpartial.so"))
    assert findings(env) == {"arch-partial": WARNING}
    assert finding(env, "arch-partial").values == {
        "package": "torch 2.9.0",
        "library": "libtorch_cuda.so",
        "sm": "sm_120",
        "missing": "1",
        "total": "2",
    }
    assert diagnosis_of(env).status is Status.OK


def test_arch_partial_in_a_library_beside_the_main_one() -> None:
    beside = library("torch/lib/libtorch_cuda_linalg.so", "libsm_90.so")
    env = world(torch("2.9.0", NEW, beside))
    assert [(f.id, f.subject) for f in diagnosis_of(env).findings] == [("arch-partial", beside.path)]


def test_no_partial_where_all_of_torch_serves() -> None:
    beside = library("torch/lib/libtorch_cuda_linalg.so", "libsm_120.so")
    assert findings(world(torch("2.9.0", NEW, beside))) == {}


@pytest.mark.parametrize(
    ("release", "found"),
    [
        (None, {"jit-only": INFO}),
        ("580.65.06", {"jit-only": INFO}),
        ("595.45.04", {"jit-only": INFO}),
        ("580.65.05", {"ptx-toolchain": ERROR}),
        ("575.57.08", {"ptx-toolchain": ERROR}),
    ],
)
def test_ptx_against_the_driver(release: str | None, found: dict[str, Severity]) -> None:
    """The PTX is of ISA 9.0, CUDA 13.0; the build itself says 12.8, so the driver loads it."""
    env = world(torch("2.9.0", "libcompute_120.so"), release=release, cuda="12.8")
    assert findings(env) == found


def test_ptx_beside_machine_code_needs_no_driver() -> None:
    assert findings(world(torch("2.9.0", NEW), release="575.57.08", cuda="12.8")) == {}


PTX_120_ON = [("H200", {"arch-dropped-torch": ERROR}), ("RTX 5090", {"jit-only": INFO}), ("GB10", {"jit-only": INFO})]


@pytest.mark.parametrize(("name", "found"), PTX_120_ON)
def test_ptx_serves_newer_gpus_only(name: str, found: dict[str, Severity]) -> None:
    assert findings(world(torch("2.9.0", "libcompute_120.so"), on=name)) == found


def test_torch_missing() -> None:
    env = world(Distribution("numpy", "2.0.0"), cuda=None)
    assert findings(env) == {"torch-missing": ERROR}
    assert finding(env, "torch-missing").fix == "archfit plan /env --gpu 'GeForce RTX 5090'"


def test_torch_missing_is_no_error_where_something_else_uses_the_gpu() -> None:
    env = world(extension("cupy-cuda12x", fixture=NEW, linked=False), cuda=None)
    assert findings(env) == {"torch-missing": INFO}


@pytest.mark.parametrize(("on", "severity"), [("RTX 5090", ERROR), ((), INFO)])
def test_cpu_only_build(on: str | tuple[()], severity: Severity) -> None:
    assert findings(world(torch("2.8.0+cpu", None), on=on, cuda=None)) == {"cpu-only-build": severity}


def test_a_torch_without_libraries_here_is_undecided() -> None:
    """An editable install: there is nothing to read, so nothing is called fine."""
    env = world(Distribution("torch", "2.9.0a0", (), ("torch",)))
    assert outcome(env, "torch") == Outcome(
        "torch", State.UNDECIDED, (), Text("torch-elsewhere", {"version": "2.9.0a0"})
    )
    assert (findings(env), diagnosis_of(env).status) == ({}, Status.UNDECIDED)


def rocm() -> Distribution:
    hip = library("torch/lib/libtorch_hip.so", "libno_gpu.so")
    return Distribution("torch", "2.8.0+rocm6.4", (), ("torch",), (hip,))


@pytest.mark.parametrize(("on", "found"), [("RTX 5090", {"other-vendor-build": ERROR}), ((), {})])
def test_other_vendor_build(on: str | tuple[()], found: dict[str, Severity]) -> None:
    """A ROCm build cannot use an NVIDIA GPU; where no NVIDIA GPU is known there is nothing wrong with it."""
    env = world(rocm(), on=on, cuda=None)
    assert findings(env) == found
    assert diagnosis_of(env).status is (Status.PROBLEMS if found else Status.UNDECIDED)


def test_an_unreadable_main_library_is_not_judged() -> None:
    cpu = library("torch/lib/libtorch_cpu.so", "libno_gpu.so")
    env = world(
        Distribution("torch", "2.4.1", (), ("torch",), (cpu,)),
        unreadable=(("torch/lib/libtorch_cuda.so", Text("plain", {"text": "Permission denied"})),),
    )
    assert findings(env) == {"library-unreadable": WARNING}
    assert outcome(env, "torch").state is State.PASSED
    assert outcome(env, "torch-arch") == Outcome("torch-arch", State.UNDECIDED, (), Text("torch-unreadable"))
    assert diagnosis_of(env).status is Status.UNDECIDED


@pytest.mark.parametrize(
    ("fixture", "on", "key", "values"),
    [
        (
            "libcompute_120.so",
            "H200",
            "targets-ptx",
            {"sass": "", "ptx": "compute_120", "able": "0", "total": "1", "sm": "sm_90"},
        ),
        (
            "libserver.so",
            "T4",
            "targets",
            {"sass": "sm_80 sm_90 sm_100 sm_120", "ptx": "compute_120", "able": "0", "total": "1", "sm": "sm_75"},
        ),
    ],
)
def test_the_evidence_tells_machine_code_from_ptx(fixture: str, on: str, key: str, values: dict[str, str]) -> None:
    evidence = finding(world(torch("2.9.0", fixture), on=on), "arch-dropped-torch").evidence
    assert evidence[1] == Fact("torch/lib/libtorch_cuda.so", Text(key, values))


def test_an_unreadable_library_beside_the_main_one_hides_nothing() -> None:
    unreadable = (("torch/lib/libtorch_cuda_linalg.so", Text("plain", {"text": "Permission denied"})),)
    found = diagnosis_of(world(torch(), unreadable=unreadable)).findings
    assert [f.id for f in found] == ["arch-missing-torch", "library-unreadable"]


# --- driver ----------------------------------------------------------------------------------------------------------

FITTING_DRIVERS = [
    ("RTX 5090", "570.86.16"), ("RTX 5090", "580.65.06"), ("RTX 5070", "570.123.07"), ("B200", "570.86.15"),
    ("H200", "535.54.03"), ("RTX 4090", "525.60.13"), ("GTX 1080 Ti", "580.142"), ("V100", "535.54.03"),
]  # fmt: skip
OLD_DRIVERS = [
    ("RTX 5090", "550.54.14", "570.86.16"),
    ("RTX 5090", "570.86.15", "570.86.16"),
    ("RTX 5070", "570.86.16", "570.123.07"),
    ("RTX 5060", "570.133.20", "570.158.01"),
    ("B300", "570.86.16", "580.82.07"),
    ("GB10", "580.65.06", "580.94.13"),
]


@pytest.mark.parametrize(("name", "release"), FITTING_DRIVERS)
def test_a_driver_that_fits(name: str, release: str) -> None:
    env = world(on=name, release=release)
    assert outcome(env, "driver-for-gpu").state is State.PASSED
    assert outcome(env, "driver-for-build").state is State.PASSED


@pytest.mark.parametrize(("name", "release", "needed"), OLD_DRIVERS)
def test_driver_too_old_for_the_gpu(name: str, release: str, needed: str) -> None:
    diagnosis = diagnosis_of(world(on=name, release=release))
    assert diagnosis.primary is not None
    assert diagnosis.primary.id == "driver-too-old"
    assert diagnosis.primary.values["needed"] == needed


@pytest.mark.parametrize(
    ("cuda", "release", "fits"),
    [
        ("12.1", "525.60.13", True),
        ("12.1", "520.61.05", False),
        ("12.8", "525.60.13", True),
        ("13.0", "580.65.06", True),
        ("13.0", "575.57.08", False),
        ("13.2", "580.65.06", True),
        ("11.8", "450.80.02", True),
        ("11.8", "450.36.06", False),
    ],
)
def test_driver_against_the_cuda_of_torch(cuda: str, release: str, fits: bool) -> None:
    """Minor-version compatibility: the CUDA that the driver reports is no ceiling."""
    env = world(on="V100", release=release, cuda=cuda)
    assert outcome(env, "driver-for-build").state is (State.PASSED if fits else State.FOUND)
    assert findings(env) == ({} if fits else {"driver-too-old": ERROR})


TOO_NEW_DRIVERS = [("V100", "590.44.01"), ("GTX 1080 Ti", "595.45.04"), ("GTX 980 Ti", "610.43.02")]


@pytest.mark.parametrize(("name", "release"), TOO_NEW_DRIVERS)
def test_driver_dropped_gpu(name: str, release: str) -> None:
    env = world(on=name, release=release)
    assert findings(env) == {"driver-dropped-gpu": ERROR}
    assert finding(env, "driver-dropped-gpu").values["last"] == "580"


def test_a_cuda_that_nobody_knows_is_undecided() -> None:
    env = world(on="H200", release="580.65.06", cuda="14.7")
    assert outcome(env, "driver-for-build").state is State.UNDECIDED
    assert diagnosis_of(env).status is Status.UNDECIDED


@pytest.mark.parametrize(
    ("on", "open_module", "found"),
    [
        ("RTX 5090", False, {"open-kernel-module-required": ERROR}),
        ("RTX 5090", True, {}),
        ("RTX 5090", None, {}),
        ("H200", False, {}),
        ("H200", True, {}),
    ],
)
def test_open_kernel_module_required(on: str, open_module: bool | None, found: dict[str, Severity]) -> None:
    env = world(NEW_TORCH, on=on, driver=driver("595.45.04", open_module=open_module), cuda="13.0")
    assert findings(env) == found


def test_a_gpu_that_the_driver_lists_is_driven_whatever_its_page_says() -> None:
    env = world(NEW_TORCH, on="RTX 5090", driver=driver("595.45.04", open_module=False), cuda="13.0")
    assert isinstance(env.gpus, Known)
    assert isinstance(env.driver, Known)
    seen = tuple(replace(gpu, source="nvml") for gpu in env.gpus.value)
    env = replace(env, gpus=Known(seen, "nvml"), driver=Known(replace(env.driver.value, source="nvml"), "nvml"))
    assert findings(env) == {}


@pytest.mark.parametrize("release", [None, "570.86.16"])
def test_a_driver_that_was_not_asked_for_is_not_judged(release: str | None) -> None:
    """A pretended GPU says nothing about the driver of this machine, unless one is pretended too."""
    state = State.PASSED if release else State.NOT_APPLICABLE
    assert outcome(world(on="RTX 5090", release=release), "driver-for-gpu").state is state


def test_a_driver_that_cannot_be_seen_is_undecided() -> None:
    env = world(gpus=gpus("H200", seen=True))
    assert outcome(env, "driver-for-gpu").state is State.UNDECIDED
    assert (findings(env), diagnosis_of(env).status) == ({}, Status.UNDECIDED)


# --- packages --------------------------------------------------------------------------------------------------------


def cublas(fixture: str, name: str = "nvidia-cublas-cu12", path: str = "libcublas.so.12") -> Distribution:
    return Distribution(name, "12.1.3.1", libraries=(library(f"nvidia/cublas/lib/{path}", fixture),))


@pytest.mark.parametrize(
    ("vendor", "on", "found"),
    [
        (cublas("libsm_90.so"), "RTX 5090", {"arch-missing-library": WARNING}),
        (cublas("libsm_120.so"), "RTX 5090", {}),
        (cublas("libsm_120.so"), "H200", {}),
        (cublas("libsm_90.so", "nvidia-other"), "RTX 5090", {}),
        (cublas("libno_gpu.so"), "RTX 5090", {}),
        (cublas("libsm_90.so", path="libcupti.so.12"), "RTX 5090", {}),
    ],
    ids=["too old", "fits", "only for newer GPUs", "not asked for", "no GPU code", "a profiler's own code"],
)
def test_arch_missing_library(vendor: Distribution, on: str, found: dict[str, Severity]) -> None:
    assert findings(world(torch("2.9.0", NEW), vendor, on=on)) == found


def test_arch_missing_extension() -> None:
    env = world(torch("2.9.0", NEW), extension("mmcv", "2.2.0", OLD))
    assert finding(env, "arch-missing-extension") == Finding(
        "arch-missing-extension",
        ERROR,
        "mmcv/_ext.so",
        {
            "package": "mmcv 2.2.0",
            "name": "mmcv",
            "library": "_ext.so",
            "gpu": "GeForce RTX 5090",
            "sm": "sm_120",
            "missing": "2",
            "total": "2",
        },
        (Fact("mmcv/_ext.so", Text("targets-sass", NONE_OF_TWO)),),
        "archfit plan /env --gpu 'GeForce RTX 5090'",
    )


@pytest.mark.parametrize("name", ["tensorflow", "onnxruntime-gpu", "jax-cuda12-plugin"])
def test_arch_missing_framework(name: str) -> None:
    assert findings(world(torch("2.9.0", NEW), extension(name, linked=False))) == {"arch-missing-framework": ERROR}


@pytest.mark.parametrize(
    ("fixture", "found"),
    [
        (NEW, {}),
        ("libsm_120.so", {}),
        ("libno_gpu.so", {}),
        ("libonly_empty.so", {}),
        ("libpartial.so", {"arch-partial": WARNING}),
        ("libcompute_90.so", {"jit-only": INFO}),
        ("libsm_90a.so", {"arch-missing-extension": ERROR}),
        ("libsm_121.so", {"arch-missing-extension": ERROR}),
    ],
)
def test_what_an_extension_holds(fixture: str, found: dict[str, Severity]) -> None:
    assert findings(world(torch("2.9.0", NEW), extension(fixture=fixture))) == found


def per_cuda(*fixtures: str) -> Distribution:
    libraries = tuple(library(f"bnb/lib_cuda{number}.so", fixture) for number, fixture in enumerate(fixtures))
    return Distribution("bitsandbytes", "0.45.3", ("torch>=2.0",), ("bitsandbytes",), libraries)


@pytest.mark.parametrize(
    ("package", "found"),
    [
        (per_cuda(OLD, OLD, NEW), []),
        (per_cuda(NEW, "libno_gpu.so"), []),
        (per_cuda(OLD, "libcompute_90.so"), ["jit-only"]),
        (per_cuda(OLD, "libsm_90.so"), ["arch-missing-extension"]),
    ],
)
def test_of_one_library_per_cuda_version_only_one_must_run(package: Distribution, found: list[str]) -> None:
    assert finding_ids(world(torch("2.9.0", NEW), package)) == found


def test_one_finding_per_package_and_gpu() -> None:
    env = world(torch("2.9.0", NEW), extension("mmcv"), extension("spconv"), on=("RTX 5090", "B200", "H200"))
    subjects = [(f.values["gpu"], f.subject) for f in diagnosis_of(env).findings]
    assert subjects == [
        ("B200", "mmcv/_ext.so"),
        ("B200", "spconv/_ext.so"),
        ("GeForce RTX 5090", "mmcv/_ext.so"),
        ("GeForce RTX 5090", "spconv/_ext.so"),
    ]


FAMILY = [
    ("2.4.1", vision("0.19.1", "torch==2.4.1"), {}),
    ("2.4.1+cu124", vision("0.19.1+cu124", "torch==2.4.1"), {}),
    ("2.4.1+cu118", audio("2.4.1", "torch==2.4.1"), {}),
    ("2.4.1", vision("0.20.1", "torch==2.5.1"), {"torch-family-mismatch": ERROR}),
    ("2.4.0", vision("0.19.1", "torch==2.4.1"), {"requirement-unmet": WARNING}),
    ("2.4.1+cu124", vision("0.19.1+cu118", "torch==2.4.1+cu118"), {"torch-family-mismatch": ERROR}),
    ("2.4.1", audio("2.3.1", "torch==2.3.1"), {"torch-family-mismatch": ERROR}),
    ("2.14.1", vision("0.29.2", "torch>=2.14.0"), {}),
    ("2.7.0.dev20250203+cu128", vision("0.22.0", "torch"), {}),
    ("2.7.0.dev20250203+cu128", extension(requires=["torch>=2.4"]), {}),
    ("2.4.1", extension(requires=["torch>=2.6"]), {"requirement-unmet": WARNING}),
    ("2.4.1", extension(requires=["torch<2.4,>=2.0"]), {"requirement-unmet": WARNING}),
    ("2.4.1", extension(requires=['torch>=2.6; extra == "train"']), {}),
    ("2.4.1", extension(requires=["torchmetrics>=99", "torch-scatter"]), {}),
    ("2.4.1", extension(requires=["torch >= not a version", "((("]), {}),
    ("2.4.1", extension(requires=['torch==1.13.1; python_version < "3.9"', 'torch>=2.0; python_version >= "3.9"']), {}),
    ("2.4.1", extension(requires=['torch==2.6.0; sys_platform == "win32"']), {}),
    ("2.4.1", extension(requires=['torch>=2.6; python_version >= "3.9"']), {"requirement-unmet": WARNING}),
]


@pytest.mark.parametrize(("version", "package", "found"), FAMILY)
def test_the_torch_family(version: str, package: Distribution, found: dict[str, Severity]) -> None:
    env = world(torch(version), package, on="H200")
    assert findings(env) == found


# --- what could be seen at all ---------------------------------------------------------------------------------------


def test_interpreter_broken() -> None:
    env = world(interpreter=Unknown("exit code 1: no module encodings", ("/env/bin/python",)), on="H200")
    assert findings(env) == {"interpreter-broken": ERROR}
    assert finding(env, "interpreter-broken").values == {
        "python": "/env/bin/python",
        "cause": "exit code 1: no module encodings",
    }


def test_transaction_interrupted() -> None:
    env = world(
        on="H200",
        interrupted=Interruption(3, "upgrade", "2026-11-23T05:06:07+00:00", "torch 2.4.1", "torch 2.8.0", made=False),
    )
    assert findings(env) == {"transaction-interrupted": WARNING}
    assert finding(env, "transaction-interrupted").fix == "archfit rollback /env"


def test_library_unreadable() -> None:
    why = Text("plain", {"text": "Permission denied"})
    env = world(on="H200", unreadable=(("a.so", why), ("b.so", why)))
    assert outcome(env, "files") == Outcome(
        "files",
        State.UNDECIDED,
        (
            Finding(
                "library-unreadable",
                WARNING,
                "a.so",
                {"count": "2", "first": "a.so", "cause": why},
                (Fact("a.so", why), Fact("b.so", why)),
            ),
        ),
        Text("files-unreadable", {"count": "2", "first": "a.so", "cause": why}),
    )


@pytest.mark.parametrize(
    "check", ["torch-arch", "extensions", "vendor-libraries", "driver-for-gpu", "driver-for-build"]
)
def test_without_a_gpu_the_reason_is_the_gpu(check: str) -> None:
    assert outcome(world(on=()), check) == Outcome(check, State.NOT_APPLICABLE, (), Text("no-gpu-known"))


@pytest.mark.parametrize("seen", [Unknown("no driver", ("NVML",)), Known((), "nvml")])
def test_without_a_gpu_nothing_is_called_fine(seen: Any) -> None:
    diagnosis = diagnosis_of(world(gpus=seen))
    assert (diagnosis.findings, diagnosis.status) == ((), Status.UNDECIDED)
    states = {o.check: o.state for o in diagnosis.outcomes}
    assert states["gpu"] is State.UNDECIDED
    assert {states[c] for c in ("torch-arch", "extensions", "vendor-libraries", "driver-for-gpu")} == {
        State.NOT_APPLICABLE
    }


# --- the whole -------------------------------------------------------------------------------------------------------


def test_every_finding_that_can_stop_all_has_its_place_in_the_order_of_causes() -> None:
    """All at once, worst first: the driver is named before torch, and torch before what depends on it."""
    env = world(
        torch(),
        vision("0.20.1", "torch==2.5.1"),
        extension("tensorflow", linked=False),
        release="550.54.14",
        interpreter=Unknown("exit code 1"),
        interrupted=Interruption(3, "upgrade", "2026-11-23T05:06:07+00:00", "torch 2.4.1", "torch 2.8.0", made=False),
    )
    assert finding_ids(env) == [
        "interpreter-broken",
        "driver-too-old",
        "arch-missing-torch",
        "torch-family-mismatch",
        "arch-missing-framework",
        "arch-missing-extension",
        "transaction-interrupted",
    ]


def made(finding_id: str, severity: Severity = ERROR) -> Finding:
    return Finding(finding_id, severity, "-", {})


def only(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    checks = (("files", lambda *_: Outcome("files", State.FOUND, findings)),)
    monkeypatch.setattr(archfit.checks, "CHECKS", checks)


@pytest.mark.parametrize("earlier", range(len(PRIMARY_ORDER) - 1))
def test_the_primary_cause_is_the_first_in_the_order(monkeypatch: pytest.MonkeyPatch, earlier: int) -> None:
    later = [made(finding_id) for finding_id in reversed(PRIMARY_ORDER[earlier:])]
    only(monkeypatch, *later)
    diagnosis = diagnosis_of(world())
    assert diagnosis.primary is not None
    assert [f.id for f in diagnosis.findings] == list(PRIMARY_ORDER[earlier:])
    assert diagnosis.primary.id == PRIMARY_ORDER[earlier]


def test_a_warning_is_never_the_primary_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, made("arch-partial", WARNING), made("jit-only", INFO))
    diagnosis = diagnosis_of(world())
    assert (diagnosis.primary, diagnosis.status) == (None, Status.OK)


@pytest.mark.parametrize("name", [name for name, _ in CHECKS])
def test_a_crash_is_an_outcome_and_hides_nothing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def crash(_: Environment, __: Catalog) -> Outcome:
        raise RuntimeError("boom")

    checks = tuple((n, crash if n == name else check) for n, check in CHECKS)
    monkeypatch.setattr(archfit.checks, "CHECKS", checks)
    cublas = Distribution("nvidia-cublas-cu12", "12.1.3.1")
    asking = replace(torch(), requires=("nvidia-cublas-cu12==12.1.3.1",))
    ptxas = Compiler("triton/bin/ptxas", "ptxas", CudaVersion(12, 4), (Target.parse("compute_90"),))
    triton = Distribution("triton", "3.0.0", compilers=(ptxas,))
    around = Known(Surroundings({}), "this machine")
    env = world(asking, cublas, triton, on="H200", release="580.65.06", surroundings=around)
    diagnosis = diagnose(env, CATALOG)
    crashed = Outcome(name, State.CRASHED, (), Text("crashed", {"cause": "RuntimeError: boom"}))
    assert [o for o in diagnosis.outcomes if o.state is State.CRASHED] == [crashed]
    assert {o.state for o in diagnosis.outcomes if o.check not in (name, "kernel-module")} == {State.PASSED}
    assert [o.check for o in diagnosis.outcomes] == [n for n, _ in CHECKS]
    assert diagnosis.status is Status.UNDECIDED


def test_every_outcome_carries_its_own_name() -> None:
    names = [name for name, _ in CHECKS]
    worlds: Sequence[Environment] = (world(), world(on=()), world(Distribution("numpy", "2")), world(rocm(), cuda=None))
    assert [[o.check for o in diagnosis_of(env).outcomes] for env in worlds] == [names] * len(worlds)


def test_an_outcome_without_findings_has_a_reason() -> None:
    worlds = (world(), world(on=()), world(on="H200", release="580.65.06"), world(torch("2.8.0+cpu", None), cuda=None))
    silent = [o.check for env in worlds for o in diagnosis_of(env).outcomes if not o.findings and o.reason is None]
    assert silent == []


def test_the_same_environment_gives_the_same_diagnosis() -> None:
    env = replace(
        world(), interpreter=Known(interpreter(), "/env/bin/python"), torch_cuda=Known(CudaVersion(12, 1), "v")
    )
    assert diagnosis_of(env) == diagnosis_of(env)


def test_the_requirements_of_the_tests_are_those_of_a_real_wheel() -> None:
    assert torch().requires == TORCH_WANTS
