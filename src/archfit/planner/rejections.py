"""Ways that look like one and are none, each with its reason: most bad advice is one of these."""

from __future__ import annotations

from archfit.arch import CudaVersion
from archfit.catalog import Toolkit
from archfit.model import DriverRelease, Gpu, Rejected, Text
from archfit.planner.situation import Situation


def rejections(situation: Situation) -> tuple[Rejected, ...]:
    """Every index whose CUDA cannot serve a GPU, every build that the driver blocks, and 'only a new driver'."""
    return (
        *_toolkits(situation),
        *_blocked_by_driver(situation),
        *_driver_alone(situation),
    )


def _toolkits(situation: Situation) -> list[Rejected]:
    """One row for all CUDA releases older than a GPU, one for all that have dropped one."""
    variants = {b.variant: b.cuda for b in situation.catalog.builds if b.cuda and b.platform == situation.platform}
    for nightly in situation.catalog.nightlies:
        variants |= {v: CudaVersion.parse(v) for v in nightly.variants}
    useless: dict[tuple[str, Gpu], list[tuple[str, Toolkit]]] = {}
    for variant, cuda in sorted(variants.items(), key=lambda item: item[1]):
        toolkit = situation.catalog.toolkit(cuda)
        if toolkit and (why := _why_not(situation, toolkit)):
            useless.setdefault(why, []).append((variant, toolkit))
    return [_reject(situation, key, gpu, rows) for (key, gpu), rows in useless.items()]


def _why_not(situation: Situation, toolkit: Toolkit) -> tuple[str, Gpu] | None:
    """Which GPU this CUDA release cannot make machine code for, being too old or too new; None if it can for all."""
    for gpu in situation.gpus:
        if not situation.catalog.can_target(toolkit, gpu.capability):
            oldest = min(t.capability for t in toolkit.targets)
            return ("toolkit-too-new" if gpu.capability < oldest else "toolkit-too-old"), gpu
    return None


def _reject(situation: Situation, key: str, gpu: Gpu, rows: list[tuple[str, Toolkit]]) -> Rejected:
    plain = [t.capability for _, toolkit in rows for t in toolkit.targets if not t.suffix]
    able = [t.cuda for t in situation.catalog.toolkits if situation.catalog.can_target(t, gpu.capability)]
    values = {
        "cuda": ", ".join(str(toolkit.cuda) for _, toolkit in rows),
        "sm": gpu.capability.sm,
        "gpu": gpu.name,
        "oldest": min(plain).sm,
        "newest": max(plain).sm,
        "first": str(min(able, default="?")),
        "last": str(max(able, default="?")),
        "driver": str(situation.driver_floor or "?"),
    }
    names = ", ".join(variant for variant, _ in rows)
    return Rejected(Text("stable-and-nightly", {"names": names}), Text(key, values))


def _blocked_by_driver(situation: Situation) -> list[Rejected]:
    """One row per driver that is wanted: the builds that would serve the GPUs but do not load on this driver."""
    if situation.driver is None or situation.driver_unfit:
        return []
    blocked: dict[DriverRelease, dict[str, str]] = {}
    for build in situation.catalog.builds:  # oldest first, so the newest release of a variant stays
        needed = situation.driver_for(build)
        if needed and situation.installable(build) and situation.serves(build) and not situation.loads(build):
            blocked.setdefault(needed, {})[build.variant] = f"torch {build.torch}+{build.variant}"
    for variant in situation.catalog.nightlies[-1].variants:
        toolkit = situation.catalog.toolkit(CudaVersion.parse(variant))
        blocks = toolkit and situation.driver < toolkit.min_driver
        blocks = blocks and not situation.environment.driver_knows(CudaVersion.parse(variant))
        if toolkit and blocks and _why_not(situation, toolkit) is None:
            blocked.setdefault(toolkit.min_driver, {})[f"nightly/{variant}"] = f"nightly/{variant}"
    return [
        Rejected(
            Text("plain", {"text": ", ".join(names.values())}),
            Text("driver-blocks", {"needed": str(needed), "driver": str(situation.driver)}),
        )
        for needed, names in sorted(blocked.items())
    ]


def _driver_alone(situation: Situation) -> list[Rejected]:
    if not situation.findings & {"arch-missing-torch", "arch-dropped-torch"}:
        return []
    return [Rejected(Text("driver-only"), Text("driver-alone", {"sm": situation.capabilities[-1].sm}))]
