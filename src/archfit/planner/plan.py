"""Rank the ways out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archfit.arch import CudaVersion
from archfit.catalog import Catalog, Toolkit
from archfit.errors import ObserveError
from archfit.model import Diagnosis, Known, Option, Plan, Severity, State, Text, Unsolved
from archfit.planner.choose import candidates, select, serving
from archfit.planner.options import (
    align_option,
    cpu_option,
    driver_option,
    linked_to_torch,
    nightly_option,
    rebuild_command,
    rebuild_option,
    source_option,
    upgrade_option,
)
from archfit.planner.rejections import rejections
from archfit.planner.situation import Situation, situation_of

_TORCH_MUST_MOVE = frozenset(
    {
        "torch-missing",
        "cpu-only-build",
        "other-vendor-build",
        "arch-missing-torch",
        "arch-dropped-torch",
        "ptx-toolchain",
        "driver-too-old",
    }
)


# The oldest CUDA that torch's current source was built with in its own nightlies: catalog `builds`, nightlies of 2026-08.
_OLDEST_SOURCE_CUDA = CudaVersion(12, 6)


# Without these answers nobody can say whether anything must be done.
_DECISIVE = frozenset({"torch", "torch-arch", "extensions", "files"})


@dataclass(frozen=True, slots=True)
class PlanWish:
    """How to choose, and what to pretend about the target: ``cp311``, ``linux_x86_64``."""

    strategy: Literal["nearest", "latest"] = "nearest"
    python_tag: str | None = None
    platform: str | None = None


def plan(diagnosis: Diagnosis, catalog: Catalog, wish: PlanWish) -> Plan:
    """All ways out of this diagnosis, best first.

    Raises:
        ObserveError: no GPU is known, nothing is known about the target's Python, or the diagnosis is undecided.
    """
    situation = situation_of(diagnosis, catalog, wish.python_tag, wish.platform)
    env = diagnosis.environment
    errors = [f for f in diagnosis.findings if f.severity is Severity.ERROR]
    unseen = [
        o.check for o in diagnosis.outcomes if o.check in _DECISIVE and o.state in (State.UNDECIDED, State.CRASHED)
    ]
    if unseen and not errors:
        raise ObserveError("plan-undecided", checks=", ".join(unseen), command=env.command("doctor"))
    if not errors and wish.strategy == "nearest":
        return Plan(env, (Option("none", Text("none")),), (), ())
    if not errors and _is_newest(situation):
        return Plan(env, (Option("none", Text("none")),), (), ())
    options = _options(situation, wish)
    return Plan(env, tuple(options), _unsolved(situation, options), rejections(situation))


def _is_newest(situation: Situation) -> bool:
    """Is the newest release that fits the one that is installed?"""
    best = candidates(situation, latest=True)
    return bool(best) and best[0].torch == situation.torch_release


def _options(situation: Situation, wish: PlanWish) -> list[Option]:
    torch_moves = _torch_moves(situation, wish)
    options = [driver_option(situation, _installed_cuda(situation))] if _driver_first(situation) else []
    lacking = [d for d in situation.environment.distributions if d.name in situation.lacking]
    if torch_moves:
        builds = candidates(situation, latest=wish.strategy == "latest")
        options += [upgrade_option(situation, build) for build in select(builds)]
    elif "torch-family-mismatch" in situation.findings and (aligned := align_option(situation)):
        options.append(aligned)
    if lacking and not torch_moves:
        options.append(rebuild_option(situation, lacking))
    blocked = situation.findings & {"driver-too-old", "ptx-toolchain-beside-torch"}
    if (torch_moves and not options) or (blocked and not _driver_first(situation)):
        options += _driver_alternative(situation)
    if torch_moves:
        if _newest_is_installable(situation) and (nightly := _nightly_toolkit(situation)):
            options.append(nightly_option(situation, nightly))
        if toolkit := _source_toolkit(situation):
            options.append(source_option(situation, toolkit))
    return [*options, cpu_option()]


def _torch_moves(situation: Situation, wish: PlanWish) -> bool:
    """Must torch change? Not for a package whose own PTX is too new for the driver."""
    return bool(situation.findings & _TORCH_MUST_MOVE) or wish.strategy == "latest"


def _driver_first(situation: Situation) -> bool:
    """No build helps until the driver is another one, or its module of the other flavour."""
    return situation.driver_unfit or "open-kernel-module-required" in situation.findings


def _driver_alternative(situation: Situation) -> list[Option]:
    """A newer driver, where it is the driver alone that keeps code from loading: of torch, or of a package beside it."""
    if "ptx-toolchain-beside-torch" in situation.findings:
        return [driver_option(situation, _installed_cuda(situation))]
    cuda = _installed_cuda(situation) if "driver-too-old" in situation.findings else None
    blocked = [b.cuda for b in serving(situation) if b.cuda and not situation.loads(b)]
    wanted = cuda or min(blocked, default=None)
    return [driver_option(situation, wanted)] if wanted else []


def _installed_cuda(situation: Situation) -> CudaVersion | None:
    known = situation.environment.torch_cuda
    return known.value if isinstance(known, Known) else None


def _newest_is_installable(situation: Situation) -> bool:
    """Nightlies are built for the Pythons and the glibc of the newest release."""
    newest = situation.catalog.builds[-1].torch
    return any(situation.installable(b) for b in situation.catalog.builds if b.torch == newest)


def _nightly_toolkit(situation: Situation) -> Toolkit | None:
    """The oldest CUDA of today's nightlies that serves every GPU on this driver."""
    variants = situation.catalog.nightlies[-1].variants
    return next(
        (t for v in variants if (t := situation.catalog.toolkit(CudaVersion.parse(v))) and _fits(situation, t)), None
    )


def _source_toolkit(situation: Situation) -> Toolkit | None:
    return next((t for t in situation.catalog.toolkits if t.cuda >= _OLDEST_SOURCE_CUDA and _fits(situation, t)), None)


def _fits(situation: Situation, toolkit: Toolkit) -> bool:
    free = situation.driver is None or situation.driver_unfit or situation.driver >= toolkit.min_driver
    loads = free or situation.environment.driver_knows(toolkit.cuda)
    return loads and all(situation.catalog.can_target(toolkit, c) for c in situation.capabilities)


def _unsolved(situation: Situation, options: list[Option]) -> tuple[Unsolved, ...]:
    unsolved = []
    moves_torch = any(o.kind == "upgrade" and any(s.package == "torch" for s in o.steps) for o in options)
    if situation.findings & _TORCH_MUST_MOVE and not moves_torch and not serving(situation):
        capabilities = ", ".join(str(c) for c in situation.capabilities)
        values = {"capabilities": capabilities, "python": situation.python_tag, "platform": situation.platform}
        unsolved.append(Unsolved(Text("no-build", values)))
        if pythons := _other_pythons(situation):
            unsolved.append(Unsolved(Text("other-python", {"pythons": ", ".join(pythons)})))
    if situation.modules_clash:
        unsolved.append(Unsolved(Text("modules-clash", {"gpus": ", ".join(g.name for g in situation.gpus)})))
    unsolved += [
        Unsolved(Text("framework-lacks", {"package": str(d)}))
        for d in situation.environment.distributions
        if d.name in situation.frameworks
    ]
    if moves_torch:
        unsolved += [
            Unsolved(Text("needs-rebuild", {"package": str(d)}), rebuild_command(situation, d, uv=True))
            for d in linked_to_torch(situation)
        ]
    return tuple(unsolved)


def _other_pythons(situation: Situation) -> list[str]:
    """Wheel tags of Pythons for which this platform has a build that serves every GPU, oldest first."""
    fits = [b for b in situation.catalog.builds if b.platform == situation.platform and b.cuda and situation.serves(b)]
    return list(dict.fromkeys(tag for build in fits for tag in build.python_tags if not tag.endswith("t")))
