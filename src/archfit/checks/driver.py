"""Does the driver know the GPU and the code?"""

from __future__ import annotations

from archfit.catalog import Catalog
from archfit.checks.outcome import found, not_applicable, passed, undecided
from archfit.model import Driver, Environment, Fact, Finding, Gpu, Known, Outcome, Severity, Text, Unknown, Values


def check_driver_for_gpu(env: Environment, catalog: Catalog) -> Outcome:
    """Is the driver new enough for each GPU, and not too new for an old one?"""
    if (missing := _without_driver("driver-for-gpu", env)) is not None:
        return missing
    driver = _driver(env)
    findings = [f for gpu in _each_gpu(env) if (f := _judge(env, catalog, gpu, driver))]
    if findings:
        return found("driver-for-gpu", *findings)
    return passed("driver-for-gpu", "driver-for-gpu", driver=driver.release, source=driver.source)


def check_driver_for_build(env: Environment, catalog: Catalog) -> Outcome:
    """Is the driver new enough for the CUDA release that torch was built with?"""
    if isinstance(env.torch_cuda, Unknown):
        return not_applicable("driver-for-build", "no-cuda-torch", cause=env.torch_cuda.reason)
    if (missing := _without_driver("driver-for-build", env)) is not None:
        return missing
    driver, cuda = _driver(env), env.torch_cuda.value
    needed = catalog.min_driver_for_cuda(cuda, env.platform)
    if needed is None:
        return undecided("driver-for-build", "cuda-not-in-catalog", cuda=cuda)
    if driver.release >= needed or env.driver_knows(cuda):
        return passed("driver-for-build", "driver-for-build", driver=driver.release, cuda=cuda, needed=needed)
    reason = Text("reason-cuda", {"cuda": str(cuda)})
    values: Values = {"driver": str(driver.release), "needed": str(needed), "reason": reason}
    evidence = (
        Fact(driver.source, Text("driver-seen", {"driver": str(driver.release)})),
        Fact(env.torch_cuda.source, Text("torch-cuda", {"cuda": str(cuda)})),
        Fact("catalog: toolkits", Text("cuda-floor", {"cuda": str(cuda), "needed": str(needed)})),
    )
    return found("driver-for-build", _too_old(env, values, evidence))


def check_kernel_module(env: Environment, catalog: Catalog) -> Outcome:
    """Is the kernel module of the flavour that the GPU needs?"""
    if isinstance(env.driver, Unknown) or env.driver.value.open_module is None:
        return not_applicable("kernel-module", "module-unseen")
    # A GPU that the driver lists is driven, whatever this page says; what is judged is a card that is planned.
    planned = [gpu for gpu in env.devices if not env.listed(gpu)]
    open_only = [g for g in planned if (row := catalog.generations.get(g.capability)) and row.open_only]
    if not open_only or env.driver.value.open_module:
        flavour = "open" if env.driver.value.open_module else "proprietary"
        return passed("kernel-module", "kernel-module", flavour=flavour)
    values = {"gpu": open_only[0].name, "driver": str(env.driver.value.release)}
    fact = Fact("/proc/driver/nvidia/version", Text("module-proprietary", values))
    finding = Finding(
        "open-kernel-module-required", Severity.ERROR, open_only[0].name, values, (fact,), env.command("plan")
    )
    return found("kernel-module", finding)


def _without_driver(check: str, env: Environment) -> Outcome | None:
    """The outcome where the driver cannot be judged, or None where it can."""
    if not env.devices:
        return not_applicable(check, "no-gpu-known")
    if isinstance(env.driver, Known):
        return None
    if any(gpu.pretended for gpu in env.devices):
        return not_applicable(check, "driver-not-given")
    return undecided(check, "driver-unknown", cause=env.driver.reason)


def _driver(env: Environment) -> Driver:
    if isinstance(env.driver, Unknown):
        raise TypeError("asked for a driver that is not known")
    return env.driver.value


def _each_gpu(env: Environment) -> list[Gpu]:
    """Every product once: two of one capability may have come with different drivers. What the driver lists, it knows."""
    every = dict.fromkeys(env.gpus.value) if isinstance(env.gpus, Known) else {}
    return [gpu for gpu in every if not env.listed(gpu)]


def _judge(env: Environment, catalog: Catalog, gpu: Gpu, driver: Driver) -> Finding | None:
    first = catalog.first_driver_for(gpu, env.platform)
    generation = catalog.generations.get(gpu.capability)
    if first is not None and driver.release < first:
        reason = Text("reason-gpu", {"gpu": gpu.name, "capability": str(gpu.capability)})
        values: Values = {"driver": str(driver.release), "needed": str(first), "reason": reason}
        evidence = (
            Fact(driver.source, Text("driver-seen", {"driver": str(driver.release)})),
            Fact("catalog: gpus", Text("gpu-floor", {"gpu": gpu.name, "needed": str(first)})),
        )
        return _too_old(env, values, evidence)
    if generation and generation.last_branch and catalog.branch_of(driver.release) > generation.last_branch:
        told = {"driver": str(driver.release), "gpu": gpu.name, "last": str(generation.last_branch)}
        fact = Fact("catalog: gpus", Text("gpu-ceiling", told))
        return Finding("driver-dropped-gpu", Severity.ERROR, gpu.name, told, (fact,), env.command("plan"))
    return None


def _too_old(env: Environment, values: Values, evidence: tuple[Fact, ...]) -> Finding:
    return Finding("driver-too-old", Severity.ERROR, str(values["driver"]), values, evidence, env.command("plan"))
