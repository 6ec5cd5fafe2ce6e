"""What an option means for packages with GPU code or torch's ABI: as steps, and as what is left to do."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

from archfit.arch import CudaVersion
from archfit.catalog.extensions import load_extensions
from archfit.model import Distribution, Option, Step, Text, Unsolved, Way
from archfit.planner.options import installer
from archfit.planner.situation import Situation
from archfit.planner.ways import Goal, ways_of

_LEFT = {"rebuild": "needs-rebuild", "replace": "needs-replace", "wheel": "needs-wheel"}


def ways_for(
    situation: Situation, torch: str, cuda: CudaVersion | None, *, moves: bool = True, changed: Container[str] = ()
) -> tuple[Way, ...]:
    """What becomes of every extension once torch is this release; `changed` packages come anew with it."""
    environment = situation.environment
    goal = Goal(
        torch=torch,
        cuda=cuda,
        devices=situation.capabilities,
        platform=situation.platform,
        python_tag=situation.python_tag,
        torch_moves=moves,
        lacking=situation.lacking,
        installed={d.name: d.version for d in environment.distributions},
        pip=installer(situation, uv=False),
        uv=installer(situation, uv=True),
        glibc=situation.glibc,
        offers=situation.catalog.wheels_of,
        builds=situation.builds,
    )
    return ways_of(goal, [d for d in environment.distributions if d.name not in changed], load_extensions())


def way_steps(ways: Sequence[Way]) -> tuple[Step, ...]:
    """Compile, replace, or leave behind what will not load any more; what stays is no step."""
    return tuple(step for way in ways if (step := _step(way)))


def _step(way: Way) -> Step | None:
    if way.kind == "keep":
        return None
    if way.kind in ("refused", "none"):
        return Step("leave", way.package, way.current, None, None, way.why[:1])
    if way.kind == "rebuild":
        return Step("rebuild", way.package, way.current, way.wanted, None, way.why[:1])
    return Step("replace", way.package, way.current, f"{way.name} {way.wanted or ''}".strip(), way.index, way.why[:1])


def followed(option: Option, ways: Sequence[Way]) -> Option:
    """An option with what its torch means for the extensions."""
    return replace(option, steps=(*option.steps, *way_steps(ways)), extensions=tuple(ways))


def left_ways(ways: Sequence[Way]) -> tuple[Unsolved, ...]:
    """What an upgrade of torch leaves to do, each with its commands in one line."""
    acting = [Unsolved(Text(_LEFT[w.kind], {"package": _target(w)}), " && ".join(w.uv)) for w in ways if w.acts]
    behind = [
        Unsolved(Text("stays-behind", {"package": f"{w.package} {w.current}", "why": w.why[0]}))
        for w in ways
        if w.kind in ("refused", "none")
    ]
    return (*acting, *behind)


def _target(way: Way) -> str:
    """What must come: of a rebuild the package itself, as the one who compiles it names it."""
    return f"{way.package} {way.wanted or way.current}" if way.kind == "rebuild" else f"{way.package} {way.current}"


def rebuild_option(situation: Situation, lacking: Sequence[Distribution]) -> Option:
    """Torch is fine, packages with code of their own are not: what serves these GPUs instead, package by package."""
    names = ", ".join(str(d) for d in lacking)
    arch_list = ";".join(str(c) for c in situation.capabilities)
    known = situation.environment.torch_cuda
    cuda = getattr(known, "value", None)
    ways = ways_for(situation, situation.torch_release or "0", cuda, moves=False)
    ways = tuple(way for way in ways if way.package in situation.lacking)
    loose = [d for d in lacking if not d.version]  # what belongs to no package, no installer can bring
    why = (Text("rebuild-arch", {"packages": names, "arch_list": arch_list}),)
    return Option(
        kind="rebuild",
        summary=Text("rebuild", {"packages": names, "arch_list": arch_list}),
        steps=(*way_steps(ways), *(Step("rebuild", d.name, d.version, d.version, None, why) for d in loose)),
        risks=(Text("risk-rebuild"),),
        pip=tuple(dict.fromkeys(command for way in ways for command in way.pip)),
        uv=tuple(dict.fromkeys(command for way in ways for command in way.uv)),
        extensions=ways,
    )
