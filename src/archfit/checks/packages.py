"""Questions about everything that is installed beside torch."""

from __future__ import annotations

import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from archfit.arch import ComputeCapability, Verdict
from archfit.catalog import Catalog
from archfit.checks.outcome import found, not_applicable, passed
from archfit.checks.torch import coverage_of, jit_finding, targets_fact
from archfit.coverage import judge_package, targets_of
from archfit.model import (
    Compiler,
    Coverage,
    Distribution,
    Environment,
    Fact,
    Finding,
    Gpu,
    Known,
    Library,
    Outcome,
    Severity,
    Text,
)
from archfit.requirements import all_requirements, markers_of, requirements_of

_FRAMEWORKS = frozenset(
    {"tensorflow", "jax-cuda12-plugin", "jax-cuda13-plugin", "onnxruntime-gpu", "paddlepaddle-gpu", "mxnet-cu112"}
)
_COMPANIONS = ("torchvision", "torchaudio")
_TRITONS = ("triton", "pytorch-triton", "triton-windows")
_BLACKWELL_FROM = ComputeCapability(9, 0)


def check_vendor_libraries(env: Environment, catalog: Catalog) -> Outcome:
    """Do the CUDA libraries that torch asks for know each GPU?

    Only a GPU newer than everything in a library is a problem: some libraries serve new generations only, by design.
    """
    torch = env.distribution("torch")
    if not env.devices:
        return not_applicable("vendor-libraries", "no-gpu-known")
    if torch is None:
        return not_applicable("vendor-libraries", "no-cuda-torch", cause="torch")
    asked = {canonicalize_name(r.name) for r in requirements_of(torch, markers_of(env))}
    if "cuda-toolkit" in asked and (metapackage := env.distribution("cuda-toolkit")):
        asked |= {canonicalize_name(r.name) for r in all_requirements(metapackage)}  # torch 2.11 and newer
    vendors = [d for d in env.distributions if d.name in asked and d.name.startswith("nvidia-")]
    if not vendors:
        return not_applicable("vendor-libraries", "no-vendor-libraries")
    findings = []
    for gpu in env.devices:
        lacking = [(d, lib) for d in vendors for lib in d.libraries if _too_new_for(env, catalog, lib, gpu)]
        if lacking:
            findings.append(_vendor_finding(env, catalog, lacking, gpu))
    if findings:
        return found("vendor-libraries", *findings)
    return passed("vendor-libraries", "vendor-libraries", count=len(vendors))


def check_extensions(env: Environment, catalog: Catalog) -> Outcome:
    """Does every other package with GPU code of its own have some for each GPU?"""
    if not env.devices:
        return not_applicable("extensions", "no-gpu-known")
    packages = [(d, libs) for d in env.distributions if (libs := _own_gpu_libraries(d, catalog))]
    findings = [f for gpu in env.devices for d, libs in packages if (f := _judge(env, catalog, d, libs, gpu))]
    if findings:
        return found("extensions", *findings)
    return passed("extensions", "extensions", names=", ".join(d.name for d, _ in packages) or "-")


def check_compilers(env: Environment, catalog: Catalog) -> Outcome:
    """Does the ptxas that Triton would run know each GPU?

    NVRTC and nvJitLink are not asked: what calls them falls back to PTX for an older GPU, which the driver compiles.
    """
    triton = next((d for d in env.distributions if d.name in _TRITONS and d.compilers), None)
    if not env.devices:
        return not_applicable("compilers", "no-gpu-known")
    if triton is None or not (copies := [c for c in triton.compilers if c.kind == "ptxas"]):
        return not_applicable("compilers", "no-triton")
    chosen = [(gpu, _ptxas_for(gpu.capability, copies)) for gpu in env.devices]
    findings = [_no_ptxas(env, triton, ptxas, gpu) for gpu, ptxas in chosen if not ptxas.knows(gpu.capability)]
    if findings:
        return found("compilers", *findings)
    return passed("compilers", "compilers", names=", ".join(dict.fromkeys(f"{c.name} {c.release}" for _, c in chosen)))


def _ptxas_for(device: ComputeCapability, copies: list[Compiler]) -> Compiler:
    """Triton 3.4 and newer run ``ptxas-blackwell``, where it is there, for 9.0 and newer (its ``get_ptxas``)."""
    by_name = {c.name: c for c in copies}
    newer = by_name.get("ptxas-blackwell")
    return newer if newer and device >= _BLACKWELL_FROM else by_name.get("ptxas", copies[0])


def _no_ptxas(env: Environment, triton: Distribution, ptxas: Compiler, gpu: Gpu) -> Finding:
    values = {
        "package": str(triton),
        "ptxas": ptxas.name,
        "release": str(ptxas.release or "?"),
        "gpu": gpu.name,
        "sm": gpu.capability.sm,
        "known": " ".join(dict.fromkeys(t.capability.sm for t in ptxas.targets)),
    }
    fact = Fact(ptxas.path, Text("ptxas-targets", values))
    return Finding("ptxas-arch", Severity.WARNING, ptxas.path, values, (fact,), env.command("plan"))


def check_family(env: Environment, _: Catalog) -> Outcome:
    """Do torchvision, torchaudio and the others fit the installed torch, going by their own metadata?"""
    torch = env.distribution("torch")
    if torch is None:
        return not_applicable("family", "no-torch")
    markers = markers_of(env)
    findings = [
        _mismatch(env, dist, requirement, torch)
        for dist in env.distributions
        for requirement in requirements_of(dist, markers, ("torch",))
        if not requirement.specifier.contains(torch.version, prereleases=True)
    ]
    if findings:
        return found("family", *findings)
    return passed("family", "family", version=torch.version)


def _too_new_for(env: Environment, catalog: Catalog, library: Library, gpu: Gpu) -> bool:
    if catalog.is_tool(library.name) or coverage_of(env, catalog, library, gpu.capability).verdict is not Verdict.NONE:
        return False
    return all(_capability(target) < gpu.capability for target in targets_of(library))


def _capability(target: str) -> ComputeCapability:
    return ComputeCapability.parse(target.rstrip("af"))


def _vendor_finding(
    env: Environment, catalog: Catalog, lacking: list[tuple[Distribution, Library]], gpu: Gpu
) -> Finding:
    evidence = tuple(targets_fact(lib, gpu, coverage_of(env, catalog, lib, gpu.capability)) for _, lib in lacking)
    names = ", ".join(dict.fromkeys(str(d) for d, _ in lacking))
    values = {"packages": names, "gpu": gpu.name, "sm": gpu.capability.sm}
    return Finding("arch-missing-library", Severity.WARNING, names, values, evidence, env.command("plan"))


def _own_gpu_libraries(distribution: Distribution, catalog: Catalog) -> list[Library]:
    if distribution.name == "torch" or distribution.name.startswith("nvidia-"):
        return []
    ours = [lib for lib in distribution.libraries if lib.containers]
    return [lib for lib in ours if not catalog.is_dispatched(lib.name) and not catalog.is_tool(lib.name)]


def _judge(
    env: Environment, catalog: Catalog, distribution: Distribution, libraries: list[Library], gpu: Gpu
) -> Finding | None:
    """One finding per package and GPU: what would be loaded there decides, and the first library that decides is named."""
    cuda = env.torch_cuda.value if isinstance(env.torch_cuda, Known) else None
    judged = judge_package(libraries, gpu.capability, catalog.loading_of(distribution.name), cuda=cuda, toolkit=cuda)
    if not judged.decided_by:
        return None
    deciding = next(lib for lib in libraries if lib.path == judged.decided_by[0])
    coverage = judged.libraries[deciding.path]
    if judged.verdict is Verdict.JIT:
        return jit_finding(env, catalog, str(distribution), deciding, gpu, coverage)
    if judged.verdict is Verdict.PARTIAL:
        return _finding("arch-partial", Severity.WARNING, distribution, deciding, gpu, coverage, "")
    if judged.verdict is Verdict.NONE:
        kind = "arch-missing-framework" if distribution.name in _FRAMEWORKS else "arch-missing-extension"
        return _finding(kind, Severity.ERROR, distribution, deciding, gpu, coverage, env.command("plan"))
    return None


def _finding(
    kind: str, severity: Severity, owner: Distribution, library: Library, gpu: Gpu, coverage: Coverage, fix: str
) -> Finding:
    values = {
        "package": str(owner),
        "name": owner.name,
        "library": library.name,
        "gpu": gpu.name,
        "sm": gpu.capability.sm,
        "missing": str(coverage.counts.get(Verdict.NONE, 0)),
        "total": str(sum(coverage.counts.values())),
    }
    return Finding(kind, severity, library.path, values, (targets_fact(library, gpu, coverage),), fix)


def _same_minor(requirement: Requirement, torch: Distribution) -> bool:
    """Patch releases of torch share one ABI: torchvision 0.19.0 (torch==2.4.0) runs on 2.4.1, measured 2026-11-23."""
    minor = re.match(r"\d+\.\d+(?=\.)(?!.*(dev|a\d|rc))", torch.version)
    return bool(minor) and any(re.fullmatch(rf"{minor[0]}\.\d+", s.version) for s in requirement.specifier if minor)


def _mismatch(env: Environment, dist: Distribution, requirement: Requirement, torch: Distribution) -> Finding:
    values = {"package": str(dist), "wants": str(requirement), "version": torch.version}
    fact = Fact(f"{dist.name} METADATA", Text("requires", values))
    if dist.name in _COMPANIONS and not _same_minor(requirement, torch):
        return Finding("torch-family-mismatch", Severity.ERROR, str(dist), values, (fact,), env.cure)
    return Finding("requirement-unmet", Severity.WARNING, str(dist), values, (fact,))
