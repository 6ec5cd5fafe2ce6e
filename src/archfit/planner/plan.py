"""Every way out of a diagnosis, best first, and what the resolver must be asked to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from archfit.arch import CudaVersion
from archfit.buildscript import BuildScript
from archfit.catalog import Build, Catalog, Toolkit
from archfit.errors import ObserveError
from archfit.model import Diagnosis, Known, Option, Plan, Question, Severity, State, Text, Unsolved
from archfit.planner.builds import Answers, Candidate, Strategy, candidates, picked, serving, unasked
from archfit.planner.conda import left_to_conda, nightly_of_conda
from archfit.planner.extensions import followed, left_ways, rebuild_option, ways_for
from archfit.planner.jetson import jetpack_option, jetson_unsolved
from archfit.planner.options import (
    cpu_option,
    driver_option,
    nightly_option,
    source_option,
)
from archfit.planner.rank import ranked
from archfit.planner.rejections import rejections
from archfit.planner.situation import Situation, situation_of
from archfit.planner.upgrades import (
    align_option,
    align_question,
    other_python_option,
    partial_option,
    upgrade_option,
)

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
    """How to choose, and what to pretend about the target: ``cp311``, ``linux_x86_64``.

    `toolkits` are the CUDA compilers of this machine; None where nobody looked. `builds` is what the sources of extensions
    say of which the catalog has no row, by normalised name.
    """

    strategy: Strategy = "nearest"
    python_tag: str | None = None
    platform: str | None = None
    toolkits: tuple[CudaVersion, ...] | None = None
    builds: Mapping[str, BuildScript] = field(default_factory=dict)


def questions(diagnosis: Diagnosis, catalog: Catalog, wish: PlanWish, answers: Answers) -> tuple[Question, ...]:
    """What the resolver must still be asked before `plan` can tell which ways are open; empty when all is known.

    Raises:
        ObserveError: as `plan` does.
    """
    situation = situation_of(diagnosis, catalog, wish.python_tag, wish.platform, wish.toolkits, wish.builds)
    if _nothing_to_do(diagnosis, situation, wish, answers):
        return ()
    if _torch_moves(situation, wish):
        best = picked(candidates(situation, wish.strategy, answers), answers)
        return unasked([*best, *_partial(situation, wish, answers)], answers)
    question = align_question(situation) if "torch-family-mismatch" in situation.findings else None
    return (question,) if question and question not in answers else ()


def plan(diagnosis: Diagnosis, catalog: Catalog, wish: PlanWish, answers: Answers | None = None) -> Plan:
    """All ways out of this diagnosis, best first.

    `answers` are the resolver's to `questions`; None means that nobody asked, and the catalog alone answers.

    Raises:
        ObserveError: no GPU is known, nothing is known about the target's Python, or the diagnosis is undecided.
    """
    situation = situation_of(diagnosis, catalog, wish.python_tag, wish.platform, wish.toolkits, wish.builds)
    said = answers or {}
    if _nothing_to_do(diagnosis, situation, wish, said):
        return Plan(diagnosis.environment, (Option("none", Text("none")),), (), ())
    found = candidates(situation, wish.strategy, said)
    env = situation.environment
    options = left_to_conda(_options(situation, wish, found, said), env)
    resolvable = any(option.kind == "upgrade" for option in options)
    return Plan(
        diagnosis.environment,
        tuple(options),
        _unsolved(situation, options, found),
        (*rejections(situation, found), *nightly_of_conda(env)),
        (*_pretended(situation), *_notices(answers, resolvable=resolvable)),
    )


def _nothing_to_do(diagnosis: Diagnosis, situation: Situation, wish: PlanWish, answers: Answers) -> bool:
    errors = [f for f in diagnosis.findings if f.severity is Severity.ERROR]
    unseen = [
        o.check for o in diagnosis.outcomes if o.check in _DECISIVE and o.state in (State.UNDECIDED, State.CRASHED)
    ]
    if unseen and not errors:
        command = diagnosis.environment.command("doctor")
        raise ObserveError("plan-undecided", checks=", ".join(unseen), command=command)
    return not errors and (wish.strategy == "nearest" or _is_newest(situation, answers))


def _is_newest(situation: Situation, answers: Answers) -> bool:
    """Is the newest release that fits the one that is installed?"""
    best = [c for c in candidates(situation, "latest", answers) if not c.refused]
    return bool(best) and best[0].build.torch == situation.torch_release


def _options(situation: Situation, wish: PlanWish, found: Sequence[Candidate], answers: Answers) -> list[Option]:
    torch_moves = _torch_moves(situation, wish)
    options = []
    if torch_moves:
        options += [upgrade_option(situation, candidate) for candidate in picked(found, answers)]
    elif "torch-family-mismatch" in situation.findings and (question := align_question(situation)):
        options.append(align_option(situation, question, answers.get(question)))
    lacking = [d for d in situation.environment.distributions if d.name in situation.lacking]
    if lacking and not torch_moves:
        options.append(rebuild_option(situation, lacking))
    blocked = situation.findings & {"driver-too-old", "ptx-toolchain-beside-torch"}
    if not _driver_first(situation) and ((torch_moves and not options) or blocked):
        options += _driver_alternative(situation)
    if torch_moves and not serving(situation) and (elsewhere := _other_python(situation, wish)):
        options.append(other_python_option(situation, *elsewhere))
    if torch_moves:
        options += _fallbacks(situation)
    partial = [partial_option(situation, candidate) for candidate in _partial(situation, wish, answers)]
    first = [_new_driver(situation, _installed_cuda(situation))] if _driver_first(situation) else []
    return [*first, *ranked(options, partial), cpu_option()]


def _fallbacks(situation: Situation) -> list[Option]:
    """A nightly, and a build from source."""
    options = []
    pip_may = not nightly_of_conda(situation.environment)
    if pip_may and _newest_is_installable(situation) and (nightly := _nightly_toolkit(situation)):
        newest = situation.catalog.builds[-1].torch  # the nearest release to a nightly
        options.append(followed(nightly_option(situation, nightly), ways_for(situation, newest, nightly.cuda)))
    if _source_fits_python(situation) and (toolkit := _source_toolkit(situation)):
        options.append(source_option(situation, toolkit))
    return options


def _partial(situation: Situation, wish: PlanWish, answers: Answers) -> list[Candidate]:
    """Where no build serves all GPUs: the best one for each that the present torch leaves without code, newest GPU first."""
    if not _torch_moves(situation, wish) or len(situation.gpus) < 2 or serving(situation):
        return []
    alone = [replace(situation, gpus=(gpu,)) for gpu in reversed(situation.unserved)]
    best = [found[0] for one in alone if (found := picked(candidates(one, wish.strategy, answers), answers))]
    return list({candidate.question: candidate for candidate in best}.values())


def _torch_moves(situation: Situation, wish: PlanWish) -> bool:
    """Must torch change? Not for a package whose own PTX is too new for the driver."""
    return bool(situation.findings & _TORCH_MUST_MOVE) or wish.strategy == "latest"


# --- the driver ------------------------------------------------------------------------------------------------------


def _driver_first(situation: Situation) -> bool:
    """No build helps until the driver is another one, or its module of the other flavour."""
    return situation.driver_unfit or "open-kernel-module-required" in situation.findings


def _driver_alternative(situation: Situation) -> list[Option]:
    """A newer driver, where it is the driver alone that keeps code from loading: of torch, or of a package beside it."""
    if "ptx-toolchain-beside-torch" in situation.findings:
        return [_new_driver(situation, _installed_cuda(situation))]
    cuda = _installed_cuda(situation) if "driver-too-old" in situation.findings else None
    blocked = [b.cuda for b in serving(situation) if b.cuda and not situation.loads(b)]
    wanted = cuda or min(blocked, default=None)
    return [_new_driver(situation, wanted)] if wanted else []


def _new_driver(situation: Situation, cuda: CudaVersion | None) -> Option:
    """On a Jetson the driver comes with JetPack, elsewhere from NVIDIA's packages."""
    return jetpack_option(situation) if situation.tegra else driver_option(situation, cuda)


def _installed_cuda(situation: Situation) -> CudaVersion | None:
    known = situation.environment.torch_cuda
    return known.value if isinstance(known, Known) else None


# --- nightlies, sources and other Pythons ----------------------------------------------------------------------------


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


def _source_fits_python(situation: Situation) -> bool:
    """Today's source builds for the Pythons of the newest release only."""
    newest = situation.catalog.builds[-1]
    return situation.python_tag in newest.python_tags


def _fits(situation: Situation, toolkit: Toolkit) -> bool:
    floor = toolkit.floor.on(situation.platform)
    free = situation.driver is None or situation.driver_unfit or situation.driver >= floor
    loads = free or situation.environment.driver_knows(toolkit.cuda)
    return loads and all(situation.catalog.can_target(toolkit, c) for c in situation.capabilities)


def _other_python(situation: Situation, wish: PlanWish) -> tuple[Situation, Candidate] | None:
    """The Python for which most builds serve every GPU, the nearest of equals; and the best build there."""
    tags = [tag for build in _elsewhere(situation) for tag in build.python_tags if not tag.endswith("t")]
    for tag in sorted(set(tags), key=lambda t: (-tags.count(t), _python_order(t))):
        there = replace(situation, python_tag=tag)
        if found := candidates(there, wish.strategy, {}):
            return there, found[0]
    return None


def _elsewhere(situation: Situation) -> list[Build]:
    """Builds for this platform and glibc that serve every GPU, for other Pythons."""
    fits = [b for b in situation.catalog.builds if b.platform == situation.platform and b.cuda and situation.serves(b)]
    return [b for b in fits if any(replace(situation, python_tag=tag).installable(b) for tag in b.python_tags[:1])]


def _python_order(tag: str) -> tuple[int, int]:
    return int(tag[2:3]), int(tag[3:].rstrip("t") or 0)


# --- what remains ----------------------------------------------------------------------------------------------------


def _unsolved(situation: Situation, options: Sequence[Option], found: Sequence[Candidate]) -> tuple[Unsolved, ...]:
    unsolved = []
    moves_torch = any(o.kind == "upgrade" and any(s.package == "torch" for s in o.steps) for o in options)
    if situation.findings & _TORCH_MUST_MOVE and not serving(situation):
        capabilities = ", ".join(str(c) for c in situation.capabilities)
        values = {"capabilities": capabilities, "python": situation.python_tag, "platform": situation.platform}
        unsolved.append(Unsolved(Text("no-build", values)))
        tags = dict.fromkeys(tag for build in _elsewhere(situation) for tag in build.python_tags)
        if pythons := [tag for tag in tags if not tag.endswith("t")]:
            unsolved.append(Unsolved(Text("other-python", {"pythons": ", ".join(pythons)})))
    unsolved += _pinned(found)
    unsolved += jetson_unsolved(situation)
    if situation.modules_clash:
        unsolved.append(Unsolved(Text("modules-clash", {"gpus": ", ".join(g.name for g in situation.gpus)})))
    unsolved += [
        Unsolved(Text("framework-lacks", {"package": str(d)}))
        for d in situation.environment.distributions
        if d.name in situation.frameworks
    ]
    if moves_torch:
        best = next(o for o in options if o.kind == "upgrade" and any(s.package == "torch" for s in o.steps))
        unsolved += left_ways(best.extensions)
    return tuple(unsolved)


def _pinned(found: Sequence[Candidate]) -> list[Unsolved]:
    """Packages that forbid every build that was asked about."""
    asked = [c for c in found if c.answer and c.answer.state != "unreachable"]
    if not asked or not all(c.refused for c in asked):
        return []
    pins = {(p.package, p.version): p for c in asked if c.answer for p in c.answer.broken}
    return [
        Unsolved(
            Text("pinned", {"package": f"{p.package} {p.version}", "requirement": p.requirement, "found": p.found})
        )
        for p in pins.values()
    ]


def _pretended(situation: Situation) -> list[Text]:
    """Another Python or platform than the environment's: nothing of this can be applied here."""
    known = situation.environment.interpreter
    if not isinstance(known, Known) or (known.value.tag, known.value.platform) == (
        situation.python_tag,
        situation.platform,
    ):
        return []
    return [Text("notice-pretended", {"python": situation.python, "platform": situation.platform})]


def _notices(answers: Answers | None, *, resolvable: bool) -> tuple[Text, ...]:
    if not resolvable and not answers:
        return ()
    if answers is None:
        return (Text("notice-not-asked"),)
    silent = {q.index or "PyPI": a.detail for q, a in answers.items() if a.state == "unreachable"}
    return tuple(Text("notice-unreachable", {"index": index, "cause": why}) for index, why in silent.items())
