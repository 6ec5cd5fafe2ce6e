"""Can the installed torch launch a kernel on each GPU?"""

from __future__ import annotations

from archfit.arch import ComputeCapability, Target, Verdict
from archfit.catalog import Catalog
from archfit.checks.outcome import found, not_applicable, passed, undecided
from archfit.coverage import base_targets_of, judge_library
from archfit.model import (
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

# One library, or two up to torch 1.13; the others beside them, such as libtorch_cuda_linalg.so, hold parts.
_MAIN_LIBRARIES = frozenset({"libtorch_cuda.so", "libtorch_cuda_cu.so", "libtorch_cuda_cpp.so"})


def check_torch(env: Environment, _: Catalog) -> Outcome:
    """Is torch there, and is it a CUDA build?"""
    torch = env.distribution("torch")
    if torch is None:
        values = {"target": str(env.root)}
        severity = Severity.INFO if _has_gpu_code(env) else Severity.ERROR
        return found("torch", Finding("torch-missing", severity, str(env.root), values, fix=env.command("plan")))
    if main_library(torch) or _main_unreadable(env):
        return passed("torch", "torch", version=torch.version, cuda=_cuda_text(env))
    if not torch.libraries:
        return undecided("torch", "torch-elsewhere", version=torch.version)
    if any(library.name.startswith("libtorch_hip") for library in torch.libraries):
        return _other_vendor(env, torch)
    if isinstance(env.torch_cuda, Known):  # a CUDA build whose libraries lie elsewhere: Nix, a distribution's package
        return undecided("torch", "torch-elsewhere", version=torch.version)
    values = {"version": torch.version, "count": str(len(torch.libraries))}
    fact = Fact("torch/lib", Text("no-torch-cuda", values))
    severity = Severity.ERROR if env.devices else Severity.INFO
    finding = Finding("cpu-only-build", severity, f"torch {torch.version}", values, (fact,), env.cure)
    return found("torch", finding)


def _other_vendor(env: Environment, torch: Distribution) -> Outcome:
    """A build for AMD GPUs: wrong for an NVIDIA GPU, none of our business without one."""
    if not env.devices:
        return not_applicable("torch", "torch-rocm", version=torch.version)
    values = {"version": torch.version, "gpu": env.devices[0].name}
    fact = Fact("torch/lib/libtorch_hip.so", Text("torch-rocm", values))
    finding = Finding("other-vendor-build", Severity.ERROR, f"torch {torch.version}", values, (fact,), env.cure)
    return found("torch", finding)


def check_torch_arch(env: Environment, catalog: Catalog) -> Outcome:
    """Does torch hold machine code, or PTX that the driver can compile, for each GPU?"""
    torch = env.distribution("torch")
    if not env.devices:
        return not_applicable("torch-arch", "no-gpu-known")
    if _main_unreadable(env):
        return undecided("torch-arch", "torch-unreadable")
    if torch is None or (main := main_library(torch)) is None:
        return not_applicable("torch-arch", "no-cuda-torch", cause="libtorch_cuda.so")
    findings = [f for gpu in env.devices for f in _judge(env, catalog, torch, main, gpu)]
    if findings:
        return found("torch-arch", *findings)
    verdicts = ", ".join(
        f"{g.capability} ({coverage_of(env, catalog, main, g.capability).verdict})" for g in env.devices
    )
    return passed("torch-arch", "torch-arch", library=main.name, verdicts=verdicts)


def main_library(torch: Distribution) -> Library | None:
    """The library that holds torch's own kernels."""
    named = [lib for lib in torch.libraries if lib.name in _MAIN_LIBRARIES]
    return max(named, key=lambda lib: sum(c.count for c in lib.containers if c.registered), default=None)


def coverage_of(env: Environment, catalog: Catalog, library: Library, device: ComputeCapability) -> Coverage:
    """What one library of this environment can do on `device`."""
    toolkit = env.torch_cuda.value if isinstance(env.torch_cuda, Known) else None
    return judge_library(library, device, dispatched=catalog.is_dispatched(library.name), toolkit=toolkit)


def targets_fact(library: Library, gpu: Gpu, coverage: Coverage) -> Fact:
    """What the library was built for and how much of it this GPU can run: the evidence of every arch finding."""
    targets = base_targets_of(library)
    sass = [t for t in targets if t.startswith("sm_")]
    ptx = [t for t in targets if t.startswith("compute_")]
    able = sum(n for verdict, n in coverage.counts.items() if verdict.runs)
    values = {
        "sass": " ".join(sass),
        "ptx": " ".join(ptx),
        "able": str(able),
        "total": str(sum(coverage.counts.values())),
        "sm": gpu.capability.sm,
    }
    key = "targets" if sass and ptx else "targets-sass" if sass else "targets-ptx"
    return Fact(library.path, Text(key, values))


def jit_finding(
    env: Environment, catalog: Catalog, subject: str, library: Library, gpu: Gpu, coverage: Coverage
) -> Finding:
    """Only PTX can serve: an error where the driver is known to be too old for it, else worth knowing."""
    isa = coverage.ptx_isa or "?"
    needed = catalog.driver_for_ptx(isa, env.platform) if coverage.ptx_isa else None
    cuda = catalog.cuda_of_ptx(isa) if coverage.ptx_isa else None
    able = cuda is not None and env.driver_knows(cuda)
    values = {
        "package": subject,
        "library": library.name,
        "sm": gpu.capability.sm,
        "isa": isa,
        "needed": str(needed or "?"),
    }
    evidence = (targets_fact(library, gpu, coverage),)
    if needed and not able and isinstance(env.driver, Known) and env.driver.value.release < needed:
        values["driver"] = str(env.driver.value.release)
        return Finding("ptx-toolchain", Severity.ERROR, library.path, values, evidence, env.command("plan"))
    return Finding("jit-only", Severity.INFO, library.path, values, evidence)


def _judge(env: Environment, catalog: Catalog, torch: Distribution, main: Library, gpu: Gpu) -> list[Finding]:
    coverage = coverage_of(env, catalog, main, gpu.capability)
    if coverage.verdict in (Verdict.NONE, Verdict.NO_GPU_CODE):
        return [_missing(env, catalog, torch, main, gpu, coverage)]
    if coverage.verdict is Verdict.JIT:
        return [jit_finding(env, catalog, f"torch {torch.version}", main, gpu, coverage)]
    short = [
        (library, found_coverage)
        for library in torch.libraries
        if library.name.startswith("libtorch")
        and (found_coverage := coverage_of(env, catalog, library, gpu.capability)).verdict
        in (Verdict.NONE, Verdict.PARTIAL)
    ]
    return [_partial(torch, library, gpu, lacking) for library, lacking in short]


def _missing(
    env: Environment, catalog: Catalog, torch: Distribution, main: Library, gpu: Gpu, coverage: Coverage
) -> Finding:
    capabilities = [Target.parse(t).capability for t in base_targets_of(main)]
    older = bool(capabilities) and gpu.capability < min(capabilities)
    first = catalog.first_toolkit_for(gpu.capability)
    values = {
        "gpu": gpu.name,
        "capability": str(gpu.capability),
        "sm": gpu.capability.sm,
        "version": torch.version,
        "cuda": _cuda_text(env),
        "library": main.name,
        "targets": _span(capabilities),
        "toolkit": str(first.cuda) if first else "?",
        "last_toolkit": _last_toolkit(catalog, gpu.capability),
    }
    finding_id = "arch-dropped-torch" if older else "arch-missing-torch"
    evidence = (
        Fact(gpu.source, Text("gpu-seen", {"name": gpu.name, "capability": str(gpu.capability)})),
        targets_fact(main, gpu, coverage),
    )
    return Finding(finding_id, Severity.ERROR, main.path, values, evidence, env.cure)


def _partial(torch: Distribution, library: Library, gpu: Gpu, coverage: Coverage) -> Finding:
    missing = coverage.counts.get(Verdict.NONE, 0)
    values = {
        "package": f"torch {torch.version}",
        "library": library.name,
        "sm": gpu.capability.sm,
        "missing": str(missing),
        "total": str(sum(coverage.counts.values())),
    }
    return Finding("arch-partial", Severity.WARNING, library.path, values, (targets_fact(library, gpu, coverage),))


def _last_toolkit(catalog: Catalog, device: ComputeCapability) -> str:
    fits = [t.cuda for t in catalog.toolkits if catalog.can_target(t, device)]
    return str(max(fits, default="?"))


def _span(capabilities: list[ComputeCapability]) -> str:
    return " ".join(str(c) for c in sorted(set(capabilities))) or "-"


def _cuda_text(env: Environment) -> str:
    return str(env.torch_cuda.value) if isinstance(env.torch_cuda, Known) else "?"


def _main_unreadable(env: Environment) -> bool:
    return any(path.rsplit("/", 1)[-1] in _MAIN_LIBRARIES for path, _ in env.unreadable)


def _has_gpu_code(env: Environment) -> bool:
    return any(library.containers for d in env.distributions for library in d.libraries)
