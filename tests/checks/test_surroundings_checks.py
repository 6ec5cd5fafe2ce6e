"""What lies around an environment, judged: each trouble by its id, and none where all is well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archfit.arch import ComputeCapability
from archfit.model import (
    CacheEntry,
    Distribution,
    Environment,
    Finding,
    GpuState,
    Known,
    Library,
    Severity,
    Shadow,
    State,
    Surroundings,
)
from worlds import NEW, diagnosis_of, driver, gpus, library, torch, world

HEALTHY = (torch("2.8.0", NEW),)
FREE = GpuState("NVIDIA H200", 140_000_000_000, 141_000_000_000, 0, False, False)
CACHE = Path("/home/you/.cache/torch_extensions/py311_cu128/fused")


def around(*distributions: Distribution, gpu: str = "H200", release: str = "580.65.06", **told: Any) -> Environment:
    """A healthy machine with these surroundings."""
    told.setdefault("variables", {})
    return world(
        *(distributions or HEALTHY),
        cuda="12.8",
        gpus=gpus(gpu, seen=True),
        driver=driver(release, pretended=False),
        surroundings=Known(Surroundings(**told), "this machine"),
    )


def findings(env: Environment) -> list[tuple[str, Severity]]:
    return [(f.id, f.severity) for f in diagnosis_of(env).findings]


def finding(env: Environment) -> Finding:
    (only,) = diagnosis_of(env).findings
    return only


def states(env: Environment) -> dict[str, State]:
    return {o.check: o.state for o in diagnosis_of(env).outcomes if o.check in ("loader", "gpu-use", "caches")}


def test_a_healthy_machine_has_no_finding() -> None:
    env = around(gpu_states=(FREE,), libcuda=Path("/usr/lib/x86_64-linux-gnu/libcuda.so.580.65.06"))
    assert findings(env) == []
    assert set(states(env).values()) == {State.PASSED}


def test_what_was_not_looked_at_is_not_fine() -> None:
    assert set(states(world()).values()) == {State.NOT_APPLICABLE}


# --- caches ----------------------------------------------------------------------------------------------------------


def cached(fixture: str = NEW, trouble: str = "", detail: str = "") -> CacheEntry:
    code = library(str(CACHE / "fused.so"), fixture)
    return CacheEntry("torch-extension", CACHE, 1000, 1, code, (), trouble, detail)


@pytest.mark.parametrize(
    ("entry", "why", "fix"),
    [
        (cached("libsm_75.so"), "cache-no-code", f"rm -r {CACHE}"),
        (cached(trouble="other-torch", detail="/other"), "cache-other-torch", f"rm -r {CACHE}"),
        (cached(trouble="older", detail="fused.so"), "cache-older", f"rm -r {CACHE}"),
        (cached(trouble="locked", detail=f"{CACHE}/lock"), "cache-locked", f"rm -r {CACHE}/lock"),
    ],
)
def test_a_cached_extension_that_does_not_fit(entry: CacheEntry, why: str, fix: str) -> None:
    found = finding(around(caches=(entry,)))
    assert (found.id, found.severity, found.fix) == ("stale-extension-cache", Severity.WARNING, fix)
    assert found.evidence[0].text.key == why


def test_a_cached_extension_that_fits() -> None:
    assert findings(around(caches=(cached(),))) == []


def test_code_for_other_gpus_only_takes_room() -> None:
    both = (ComputeCapability(8, 0), ComputeCapability(9, 0))
    entry = CacheEntry("triton", Path("/home/you/.triton/cache"), 5_000_000, 7, targets=both)
    assert findings(around(caches=(entry,))) == [("foreign-cache", Severity.INFO)]
    assert findings(around(caches=(replace(entry, targets=both[1:]),))) == []


# --- libraries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "own", "conflict"),
    [
        ("12.1.105", "12.8.93", True),
        ("", "12.8.93", True),
        ("12.8.93", "12.8.93", False),
        ("12.8.4", "12.8.4.1", False),
        ("2.20.5", "2.27.3", True),
    ],
)
def test_another_release_on_the_library_path(version: str, own: str, conflict: bool) -> None:
    shadow = Shadow("libnvJitLink.so.12", Path("/usr/local/cuda/lib64/libnvJitLink.so.12"), version, own)
    expected = [("cuda-lib-conflict", Severity.WARNING)] if conflict else []
    assert findings(around(shadows=(shadow,))) == expected


def needing(*sonames: str) -> Distribution:
    code = tuple(replace(library(f"mine/_{i}.so", NEW), needed=("libc10.so", so)) for i, so in enumerate(sonames))
    return Distribution("mine", "1.0", (), ("mine",), code)


def test_an_extension_for_another_cuda_brings_a_second_runtime() -> None:
    assert findings(around(*HEALTHY, needing("libcudart.so.11.0"))) == [("two-cuda-runtimes", Severity.WARNING)]
    assert findings(around(*HEALTHY, needing("libcudart.so.12"))) == []
    assert findings(around(*HEALTHY, needing("libcudart.so.13", "libcudart.so.12"))) == []
    alone = Distribution("other", "1.0", (), ("other",), (Library("o.so", 1, ("libcudart.so.11.0",), ()),))
    assert findings(around(*HEALTHY, alone)) == []


COMPAT = "/usr/local/cuda-13.0/compat/libcuda.so."


@pytest.mark.parametrize(
    ("gpu", "libcuda", "expected"),
    [
        ("H200", COMPAT + "590.44.01", []),
        ("RTX 5090", COMPAT + "590.44.01", [("forward-compat", Severity.ERROR)]),
        ("RTX 5090", COMPAT + "575.51.03", [("forward-compat", Severity.WARNING)]),
        ("H200", COMPAT + "575.51.03", [("forward-compat", Severity.WARNING)]),
        ("RTX 5090", COMPAT + "580.65.06", []),
        ("RTX 5090", "/usr/lib/libcuda.so.575.51.03", [("driver-mismatch", Severity.WARNING)]),
        ("RTX 5090", "/usr/lib/wsl/lib/libcuda.so.1", []),
    ],
)
def test_the_drivers_library_beside_the_driver(gpu: str, libcuda: str, expected: list[tuple[str, Severity]]) -> None:
    assert findings(around(gpu=gpu, libcuda=Path(libcuda))) == expected


# --- what the GPU is left with ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "hidden"),
    [
        ("", True),
        ("-1", True),
        ("NoDevFiles", True),
        ("5", True),
        ("0", False),
        ("0,1", False),
        ("GPU-5a1c", False),
        ("MIG-5a1c", False),
    ],
)
def test_visible_devices(value: str, hidden: bool) -> None:
    expected = [("mig-or-visible-devices", Severity.WARNING)] if hidden else []
    assert findings(around(variables={"CUDA_VISIBLE_DEVICES": value})) == expected


def test_a_pretended_gpu_is_not_hidden() -> None:
    env = world(*HEALTHY, cuda="12.8", on="H200")
    told = Surroundings({"CUDA_VISIBLE_DEVICES": ""})
    assert findings(replace(env, surroundings=Known(told, "this machine"))) == []


PTX_ONLY = Distribution("mine", "1.0", (), ("mine",), (library("mine/_ext.so", "libcompute_75.so"),))


def test_variables_that_forbid_what_the_code_needs() -> None:
    forbid = {"CUDA_DISABLE_PTX_JIT": "1"}
    assert ("ptx-jit-disabled", Severity.ERROR) in findings(around(*HEALTHY, PTX_ONLY, variables=forbid))
    assert findings(around(variables=forbid)) == []
    assert findings(around(*HEALTHY, PTX_ONLY, variables={"CUDA_DISABLE_PTX_JIT": "0"})) == [
        ("jit-only", Severity.INFO)
    ]


def test_forced_compilation_hides_machine_code() -> None:
    force = {"CUDA_FORCE_PTX_JIT": "1"}
    sass_only = torch("2.8.0", "libsm_90.so")
    assert findings(around(sass_only, variables=force)) == [("ptx-jit-forced", Severity.ERROR)]
    assert findings(around(variables=force)) == []


def test_compiled_anew_at_every_start() -> None:
    slow = findings(around(*HEALTHY, PTX_ONLY, compute_cache="CUDA_CACHE_DISABLE=1"))
    assert slow == [("jit-every-start", Severity.WARNING), ("jit-only", Severity.INFO)]
    assert findings(around(compute_cache="CUDA_CACHE_DISABLE=1")) == []


@pytest.mark.parametrize(("free", "low"), [(140e9, False), (8e9, False), (5e9, True), (0, True)])
def test_memory_that_others_hold(free: float, low: bool) -> None:
    state = replace(FREE, free_bytes=int(free), processes=("python (7)",))
    expected = [("gpu-memory-low", Severity.WARNING)] if low else []
    assert findings(around(gpu_states=(state,))) == expected
