"""Ways that look like one and are none, each with its reason: most bad advice is one of these."""

from __future__ import annotations

from archfit.arch import CudaVersion
from archfit.catalog import Build, Toolkit
from archfit.model import Rejected, Text
from archfit.planner.situation import Situation


def rejections(situation: Situation) -> tuple[Rejected, ...]:
    """Every index whose CUDA cannot serve a GPU, every build that the driver blocks, and 'only a new driver'."""
    return (*_toolkits(situation), *_blocked_by_driver(situation), *_driver_alone(situation))


def _toolkits(situation: Situation) -> list[Rejected]:
    variants = {b.variant: b.cuda for b in situation.catalog.builds if b.cuda and b.platform == situation.platform}
    for nightly in situation.catalog.nightlies:
        variants |= {v: CudaVersion.parse(v) for v in nightly.variants}
    rejected = []
    for variant, cuda in sorted(variants.items(), key=lambda item: item[1]):
        toolkit = situation.catalog.toolkit(cuda)
        if toolkit and (why := _why_not(situation, toolkit)):
            rejected.append(Rejected(f"{variant} (stable, nightly/{variant})", why))
    return rejected


def _why_not(situation: Situation, toolkit: Toolkit) -> Text | None:
    """Why this CUDA release cannot hold machine code for one of the GPUs, or None if it can."""
    for gpu in situation.gpus:
        if situation.catalog.can_target(toolkit, gpu.capability):
            continue
        plain = [t for t in toolkit.targets if not t.suffix]
        first = situation.catalog.first_toolkit_for(gpu.capability)
        values = {
            "cuda": str(toolkit.cuda),
            "sm": gpu.capability.sm,
            "gpu": gpu.name,
            "oldest": str(min(plain)),
            "newest": str(max(plain)),
            "first": str(first.cuda) if first else "?",
            "driver": str(situation.driver_floor or "?"),
        }
        return Text("toolkit-too-new" if gpu.capability < min(plain).capability else "toolkit-too-old", values)
    return None


def _blocked_by_driver(situation: Situation) -> list[Rejected]:
    """One row per CUDA release that would serve the GPUs but does not load on this driver."""
    if situation.driver is None or situation.driver_unfit:
        return []
    newest: dict[CudaVersion, Build] = {}
    for build in situation.catalog.builds:
        if build.cuda and situation.installable(build) and situation.serves(build) and not situation.loads(build):
            newest[build.cuda] = build
    return [
        Rejected(
            f"torch {build.torch} (CUDA {cuda}, {build.index})",
            Text("driver-blocks", {"needed": str(situation.driver_for(build)), "driver": str(situation.driver)}),
        )
        for cuda, build in sorted(newest.items())
    ]


def _driver_alone(situation: Situation) -> list[Rejected]:
    if not situation.findings & {"arch-missing-torch", "arch-dropped-torch"}:
        return []
    return [Rejected("driver only", Text("driver-alone", {"sm": situation.capabilities[-1].sm}))]
