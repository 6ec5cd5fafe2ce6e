"""Rank the ways out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archfit.arch import CudaVersion
from archfit.catalog import Catalog, Toolkit
from archfit.model import Diagnosis, Option, Plan, Severity, Text
from archfit.planner.choose import candidates, select
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


@dataclass(frozen=True, slots=True)
class PlanWish:
    """How to choose, and what to pretend about the target: ``cp311``, ``linux_x86_64``."""

    strategy: Literal["nearest", "latest"] = "nearest"
    python_tag: str | None = None
    platform: str | None = None


def plan(diagnosis: Diagnosis, catalog: Catalog, wish: PlanWish) -> Plan:
    """All ways out of this diagnosis, best first.

    Raises:
        ObserveError: no GPU is known, or nothing is known about the target's Python.

    """
    situation = situation_of(diagnosis, catalog, wish.python_tag, wish.platform)
    env = diagnosis.environment
    errors = [f for f in diagnosis.findings if f.severity is Severity.ERROR]
    if not errors and wish.strategy == "nearest":
        return Plan(env, (Option("none", Text("none")),), (), ())
    options = _options(situation, wish)
    return Plan(env, tuple(options), _unsolved(situation, options), rejections(situation))


def _options(situation: Situation, wish: PlanWish) -> list[Option]:
    options = [driver_option(situation)] if situation.driver_unfit else []
    lacking = [d for d in situation.environment.distributions if d.name in situation.lacking]
    torch_moves = bool(situation.findings & _TORCH_MUST_MOVE) or wish.strategy == "latest"
    if torch_moves:
        builds = candidates(situation, latest=wish.strategy == "latest")
        options += [upgrade_option(situation, build) for build in select(builds)]
    elif "torch-family-mismatch" in situation.findings and (aligned := align_option(situation)):
        options.append(aligned)
    if lacking and not torch_moves:
        options.append(rebuild_option(situation, lacking))
    if torch_moves:
        if nightly := _nightly_toolkit(situation):
            options.append(nightly_option(situation, nightly))
        if toolkit := _source_toolkit(situation):
            options.append(source_option(situation, toolkit))
    return [*options, cpu_option()]


def _nightly_toolkit(situation: Situation) -> Toolkit | None:
    """The oldest CUDA of today's nightlies that serves every GPU on this driver."""
    variants = situation.catalog.nightlies[-1].variants
    return next(
        (t for v in variants if (t := situation.catalog.toolkit(CudaVersion.parse(v))) and _fits(situation, t)), None
    )


def _source_toolkit(situation: Situation) -> Toolkit | None:
    return next((t for t in situation.catalog.toolkits if t.cuda >= CudaVersion(11, 8) and _fits(situation, t)), None)


def _fits(situation: Situation, toolkit: Toolkit) -> bool:
    loads = situation.driver is None or situation.driver_unfit or situation.driver >= toolkit.min_driver
    return loads and all(situation.catalog.can_target(toolkit, c) for c in situation.capabilities)


def _unsolved(situation: Situation, options: list[Option]) -> tuple[Text, ...]:
    unsolved = []
    moves_torch = any(o.kind == "upgrade" and any(s.package == "torch" for s in o.steps) for o in options)
    if situation.findings & _TORCH_MUST_MOVE and not moves_torch:
        capabilities = ", ".join(str(c) for c in situation.capabilities)
        values = {"capabilities": capabilities, "python": situation.python_tag, "platform": situation.platform}
        unsolved.append(Text("no-build", values))
    if moves_torch:
        for distribution in linked_to_torch(situation):
            command = rebuild_command(situation, distribution, uv=True)
            unsolved.append(Text("needs-rebuild", {"package": str(distribution), "command": command}))
    return tuple(unsolved)
