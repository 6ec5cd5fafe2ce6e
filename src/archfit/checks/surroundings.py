"""Questions about what lies around an environment: caches, libraries in the way, what the GPU is left with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from archfit.arch import Verdict
from archfit.catalog import Catalog
from archfit.checks.outcome import found, not_applicable, passed
from archfit.checks.torch import coverage_of
from archfit.model import (
    CacheEntry,
    DriverRelease,
    Environment,
    Fact,
    Finding,
    Gpu,
    GpuState,
    Known,
    Outcome,
    Severity,
    Shadow,
    Surroundings,
    Text,
    Unknown,
)

_LITTLE_BYTES = 1_500_000_000  # a CUDA context and cuBLAS take about half of it
_LITTLE_SHARE = 0.05
_ON = frozenset({"1", "true", "yes"})


def check_caches(env: Environment, catalog: Catalog) -> Outcome:
    """Is code that was compiled and kept at run time made for this GPU and this torch?"""
    around = _around(env)
    if around is None:
        return not_applicable("caches", "not-looked-around")
    findings = [f for entry in around.caches if (f := _judge_cache(env, catalog, entry))]
    if findings:
        return found("caches", *findings)
    return passed("caches", "caches", count=len(around.caches))


def check_loader(env: Environment, _: Catalog) -> Outcome:
    """Does anything stand between torch and the libraries that it was built with?"""
    around = _around(env)
    if around is None:
        return not_applicable("loader", "not-looked-around")
    findings = [*_shadowed(around), *_runtimes(env), *_driver_library(env, around)]
    return found("loader", *findings) if findings else passed("loader", "loader")


def check_gpu_use(env: Environment, catalog: Catalog) -> Outcome:
    """Do variables hide the GPU or its code, and is there memory left on it?"""
    around = _around(env)
    if around is None:
        return not_applicable("gpu-use", "not-looked-around")
    findings = [*_hidden(env, around), *_jit(env, catalog, around), *_memory(around)]
    if findings:
        return found("gpu-use", *findings)
    free = ", ".join(f"{state.free_bytes / 1e9:.1f} GB" for state in around.gpu_states)
    return passed("gpu-use", "gpu-use", free=free) if free else passed("gpu-use", "gpu-use-variables")


def _around(env: Environment) -> Surroundings | None:
    return env.surroundings.value if isinstance(env.surroundings, Known) else None


def _real(env: Environment) -> list[Gpu]:
    return [gpu for gpu in env.devices if not gpu.pretended]


# --- caches ----------------------------------------------------------------------------------------------------------


def _judge_cache(env: Environment, catalog: Catalog, entry: CacheEntry) -> Finding | None:
    if entry.kind == "torch-extension":
        return _judge_extension(env, catalog, entry)
    foreign = [c for c in entry.targets if c not in {gpu.capability for gpu in env.devices}]
    if not foreign or not env.devices:
        return None
    values = {
        "path": str(entry.path),
        "targets": " ".join(c.sm for c in foreign),
        "gpus": " ".join(gpu.capability.sm for gpu in env.devices),
        "size": f"{entry.size_bytes / 1e6:.0f} MB",
    }
    return Finding("foreign-cache", Severity.INFO, str(entry.path), values, fix=_remove(str(entry.path)))


def _judge_extension(env: Environment, catalog: Catalog, entry: CacheEntry) -> Finding | None:
    lacking = [
        gpu.capability.sm
        for gpu in env.devices
        if entry.library and coverage_of(env, catalog, entry.library, gpu.capability).verdict is Verdict.NONE
    ]
    if lacking:
        why = Text("cache-no-code", {"targets": " ".join(lacking)})
    elif entry.trouble == "locked":
        why = Text("cache-locked", {"path": entry.detail})
    elif entry.trouble == "other-torch":
        why = Text("cache-other-torch", {"path": entry.detail})
    elif entry.trouble == "older":
        why = Text("cache-older", {"library": entry.detail})
    else:
        return None
    fix = _remove(entry.detail if entry.trouble == "locked" and not lacking else str(entry.path))
    values: dict[str, str | Text] = {"name": entry.path.name, "path": str(entry.path), "why": why}
    fact = Fact(str(entry.path), why)
    return Finding("stale-extension-cache", Severity.WARNING, str(entry.path), values, (fact,), fix)


def _remove(path: str) -> str:
    return shlex.join(["rm", "-r", path])


# --- libraries -------------------------------------------------------------------------------------------------------


def _shadowed(around: Surroundings) -> Iterator[Finding]:
    """One finding for all libraries that another folder on LD_LIBRARY_PATH has in another version."""
    other = [shadow for shadow in around.shadows if not _same_release(shadow)]
    if other:
        first = other[0]
        values = {
            "names": ", ".join(shadow.name for shadow in other),
            "folder": str(first.path.parent),
            "version": first.version or "?",
            "own": first.own_version,
        }
        facts = tuple(
            Fact(str(s.path), Text("shadow", {"version": s.version or "?", "own": s.own_version})) for s in other
        )
        yield Finding("cuda-lib-conflict", Severity.WARNING, values["folder"], values, facts, "unset LD_LIBRARY_PATH")


def _same_release(shadow: Shadow) -> bool:
    """12.8.4.1 and 12.8.4 are the same; a name that does not tell its version is taken for another."""
    theirs, own = shadow.version.split("."), shadow.own_version.split(".")
    length = min(len(theirs), len(own))
    return bool(shadow.version) and length > 1 and theirs[:length] == own[:length]


def _runtimes(env: Environment) -> Iterator[Finding]:
    """Extensions of torch that load a CUDA runtime of another major version into its process."""
    if isinstance(env.torch_cuda, Unknown):
        return
    major = env.torch_cuda.value.major
    for distribution in env.distributions:
        if distribution.name == "torch":
            continue
        needed = {
            so: lib for lib in distribution.torch_extensions for so in lib.needed if so.startswith("libcudart.so.")
        }
        others = {
            so: lib for so, lib in needed.items() if (n := re.match(r"libcudart\.so\.(\d+)", so)) and int(n[1]) != major
        }
        if others and len(others) == len(needed):  # one that has a library for this CUDA, too, chooses by itself
            so, library = next(iter(others.items()))
            values = {
                "package": str(distribution),
                "library": library.name,
                "needed": so,
                "cuda": str(env.torch_cuda.value),
            }
            fact = Fact(library.path, Text("needs-library", values))
            yield Finding("two-cuda-runtimes", Severity.WARNING, library.path, values, (fact,), env.command("plan"))


def _driver_library(env: Environment, around: Surroundings) -> Iterator[Finding]:
    """The driver's library beside the driver itself: NVIDIA's cuda-compat, or a piece of another driver."""
    path = around.libcuda
    match = re.search(r"libcuda\.so\.(\d+\.\d+(?:\.\d+)?)$", path.name) if path else None
    if path is None or match is None or isinstance(env.driver, Unknown) or env.driver.value.source.startswith("--"):
        return
    library, release = DriverRelease.parse(match[1]), env.driver.value.release
    if library == release:
        return
    values = {"path": str(path), "library": str(library), "driver": str(release)}
    facts = (Fact(str(path), Text("libcuda-seen", values)), Fact(env.driver.value.source, Text("driver-seen", values)))
    if "compat" not in path.parts:
        yield Finding("driver-mismatch", Severity.WARNING, str(path), values, facts, "sudo reboot")
    elif library < release or any(_consumer(gpu.name) for gpu in _real(env)):
        consumer = library > release
        severity = Severity.ERROR if consumer else Severity.WARNING
        reason = Text("compat-consumer" if consumer else "compat-older", values)
        told: dict[str, str | Text] = {**values, "why": reason}
        yield Finding("forward-compat", severity, str(path), told, facts, "unset LD_LIBRARY_PATH")


def _consumer(name: str) -> bool:
    """NVIDIA serves forward compatibility on data-centre and professional GPUs only."""
    return bool(re.search(r"GeForce|TITAN", name, re.IGNORECASE))


# --- what the GPU is left with ---------------------------------------------------------------------------------------


def _hidden(env: Environment, around: Surroundings) -> Iterator[Finding]:
    """CUDA_VISIBLE_DEVICES: what CUDA cannot read ends the list, so one wrong word hides all that follow."""
    value = around.variables.get("CUDA_VISIBLE_DEVICES")
    gpus = [gpu for gpu in env.gpus.value if not gpu.pretended] if isinstance(env.gpus, Known) else []
    if value is None or not gpus:
        return
    words = [word.strip() for word in value.split(",")]
    wrong = next((word for word in words if not _names_a_gpu(word, len(gpus))), None)
    if wrong is None:
        return
    visible = words.index(wrong)
    if visible >= len(gpus):
        return
    values = {"value": value, "visible": str(visible), "total": str(len(gpus))}
    yield Finding(
        "mig-or-visible-devices", Severity.WARNING, "CUDA_VISIBLE_DEVICES", values, fix="unset CUDA_VISIBLE_DEVICES"
    )


def _names_a_gpu(word: str, count: int) -> bool:
    return int(word) < count if word.isdigit() else word.startswith(("GPU-", "MIG-"))


def _jit(env: Environment, catalog: Catalog, around: Surroundings) -> Iterator[Finding]:
    """Variables that forbid what the code of this environment needs."""
    needs_jit, no_ptx = _by_verdict(env, catalog)
    for name in ("CUDA_DISABLE_PTX_JIT", "CUDA_DISABLE_JIT"):
        if needs_jit and _is_on(around, name):
            values = {"variable": name, "libraries": ", ".join(needs_jit)}
            yield Finding("ptx-jit-disabled", Severity.ERROR, name, values, fix=f"unset {name}")
    for name in ("CUDA_FORCE_PTX_JIT", "CUDA_FORCE_JIT"):
        if no_ptx and _is_on(around, name):
            values = {"variable": name, "libraries": ", ".join(no_ptx)}
            yield Finding("ptx-jit-forced", Severity.ERROR, name, values, fix=f"unset {name}")
    if needs_jit and around.compute_cache:
        values = {"libraries": ", ".join(needs_jit), "cause": around.compute_cache}
        fix = (
            "unset CUDA_CACHE_DISABLE"
            if around.compute_cache.startswith("CUDA_")
            else "export CUDA_CACHE_PATH=/tmp/ComputeCache"
        )
        yield Finding("jit-every-start", Severity.WARNING, around.compute_cache, values, fix=fix)


def _is_on(around: Surroundings, name: str) -> bool:
    return around.variables.get(name, "").strip().lower() in _ON


def _by_verdict(env: Environment, catalog: Catalog) -> tuple[list[str], list[str]]:
    """Libraries of torch and its extensions that only PTX can serve, and those that hold no PTX at all."""
    needs_jit, no_ptx = [], []
    owners = [d for d in env.distributions if not d.name.startswith("nvidia-")]
    for library in (lib for d in owners for lib in d.libraries if lib.containers):
        verdicts = {coverage_of(env, catalog, library, gpu.capability).verdict for gpu in env.devices}
        kinds = {o.kind for container in library.containers for o in container.objects}
        needs_jit += [library.name] if Verdict.JIT in verdicts else []
        no_ptx += [library.name] if verdicts & {Verdict.NATIVE, Verdict.COMPATIBLE} and "ptx" not in kinds else []
    return list(dict.fromkeys(needs_jit)), list(dict.fromkeys(no_ptx))


def _memory(around: Surroundings) -> Iterator[Finding]:
    for state in around.gpu_states:
        if state.total_bytes and state.free_bytes < max(_LITTLE_BYTES, _LITTLE_SHARE * state.total_bytes):
            yield _little_memory(state)


def _little_memory(state: GpuState) -> Finding:
    values = {
        "gpu": state.name,
        "free": f"{state.free_bytes / 1e9:.1f} GB",
        "total": f"{state.total_bytes / 1e9:.1f} GB",
        "processes": ", ".join(state.processes) or "?",
    }
    return Finding("gpu-memory-low", Severity.WARNING, state.name, values, fix="nvidia-smi")
