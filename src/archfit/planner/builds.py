"""Which builds of torch are worth offering, what the resolver must be asked about them, and in which order they stand."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from archfit.catalog import Build
from archfit.model import Pin, Question, Resolution
from archfit.planner.extensions import ways_for
from archfit.planner.situation import Situation
from archfit.requirements import pins_against

Strategy = Literal["nearest", "latest"]
Answers = Mapping[Question, Resolution]

MOST_ASKED = 6
"""So many builds is the resolver asked about at most: who pins torch itself refuses them all, for the same reason."""

REFUSED = ("conflict", "absent", "swapped")
"""Answers of the resolver that rule a build out."""

_TRUST = ("measured", "documented", "inferred")
_FAMILY = ("torch", "torchvision", "torchaudio", "triton", "pytorch-triton", "triton-windows")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A build that can be installed here, what would be asked about it, and what the resolver said, if it was asked.

    `stuck` are extensions that would have to be compiled for it, where no compiler for its CUDA can be had.
    """

    build: Build
    question: Question
    answer: Resolution | None
    pins: tuple[Pin, ...]
    stuck: tuple[str, ...] = ()

    @property
    def confirmed(self) -> bool:
        """The resolver says that it resolves beside all that is installed."""
        return self.answer is not None and self.answer.state == "resolved"

    @property
    def refused(self) -> bool:
        """The resolver says that it does not."""
        return self.answer is not None and self.answer.state in REFUSED

    @property
    def others(self) -> tuple[str, ...]:
        """Installed packages outside torch's own family that change; without an answer, those that must."""
        if self.answer is None or self.answer.state != "resolved":
            return tuple(dict.fromkeys(pin.package for pin in self.pins))
        return tuple(p.name for p in self.answer.locked if p.current is not None and not in_family(p.name))


def in_family(name: str) -> bool:
    """Does this package come and go with torch: its companions, its compiler, its CUDA libraries?"""
    return name in _FAMILY or name.startswith(("nvidia-", "cuda-"))


def serving(situation: Situation) -> list[Build]:
    """Builds that can be installed and hold code for every GPU, whatever the driver; oldest first."""
    return [b for b in situation.catalog.builds if situation.installable(b) and situation.serves(b)]


def fitting(situation: Situation) -> list[Build]:
    """Builds that can be installed, hold code for every GPU and load on the driver; oldest first."""
    return [b for b in serving(situation) if situation.loads(b)]


def specs_of(situation: Situation, build: Build) -> dict[str, str]:
    """Exact versions to install: torch and those of its companions that are there."""
    specs = {"torch": build.torch}
    if release := situation.catalog.releases.get(build.torch):
        offered = {"torchvision": release.torchvision, "torchaudio": release.torchaudio}
        specs |= {name: offered[name][-1] for name in situation.companions if offered[name]}
    return specs


def question_of(situation: Situation, build: Build) -> Question:
    """What the resolver is asked about a build."""
    specs = specs_of(situation, build)
    kept = {name: d.version.partition("+")[0] for name in specs if (d := situation.environment.distribution(name))}
    return Question(
        tuple(f"{name}=={version}" for name, version in specs.items()),
        None if build.on_pypi else build.index,
        tuple(name for name, version in specs.items() if kept.get(name) == version),
    )


def candidates(
    situation: Situation, strategy: Strategy, answers: Answers, builds: Sequence[Build] | None = None
) -> list[Candidate]:
    """Builds that can be installed, hold code for every GPU and load on the driver; best first.

    nearest: what the resolver confirms; what leaves no extension behind that cannot be compiled; what changes the fewest
    other packages; what goes back the fewest releases; what can compile for the GPUs at run time; the release that is there;
    PyPI before a further index; what was measured; the nearest release. latest: the newest that does not go back, where it
    is known to exist.
    """
    found = [_candidate(situation, b, answers) for b in (fitting(situation) if builds is None else builds)]
    silent = _silent(answers)
    current = order_of(situation.torch_release)
    minors = sorted({b.order[:2] for b in situation.catalog.builds})
    fewest = min((len(c.others) for c in found if c.confirmed), default=0)  # who was not asked may need as many

    def rank(candidate: Candidate) -> tuple[object, ...]:
        build = candidate.build
        unconfirmed = not candidate.confirmed and bool({None, _host(candidate.question)} & silent)
        trust = _TRUST.index(build.confidence)
        newest = tuple(-part for part in build.order)
        back = _releases_between(minors, build, current) if current and build.order < current else 0
        foreign = not _compiles_for_all(situation, build)
        if strategy == "latest":
            unsure = build.confidence == "inferred" and not candidate.confirmed
            return unconfirmed, back, unsure, newest, foreign, not build.on_pypi, _cuda_order(build)
        if current is None:
            return unconfirmed, foreign, not build.on_pypi, trust, newest, _cuda_order(build)
        others = len(candidate.others) if candidate.confirmed else max(fewest, len(candidate.others))
        near = _releases_between(minors, build, current), -build.order[-1]
        moves = build.order[:2] != current[:2]
        return (
            unconfirmed,
            bool(candidate.stuck),
            others,
            back,
            foreign,
            moves,
            not build.on_pypi,
            trust,
            near,
            _cuda_order(build),
        )

    return sorted(found, key=rank)


def picked(found: Sequence[Candidate], answers: Answers) -> list[Candidate]:
    """Of candidates, best first, the few worth showing: the best, the newest from PyPI, the best from the PyTorch index."""
    alive = [c for c in found if not c.refused]
    if len(answers) >= MOST_ASKED:
        alive = [c for c in alive if c.answer]
    from_pypi = [c for c in alive if c.build.on_pypi]
    chosen = [*alive[:1], *([max(from_pypi, key=lambda c: c.build.order)] if from_pypi else [])]
    if all(c.build.on_pypi for c in chosen):
        chosen += [c for c in alive if not c.build.on_pypi and all(c.build.torch != p.build.torch for p in chosen)][:1]
    return list({c.question: c for c in chosen}.values())


def unasked(chosen: Sequence[Candidate], answers: Answers) -> tuple[Question, ...]:
    """What must still be asked about them; nothing where an index did not answer before, or enough was asked."""
    silent = _silent(answers)
    open_ = [c.question for c in chosen if c.answer is None and not {None, _host(c.question)} & silent]
    return tuple(open_[: max(0, MOST_ASKED - len(answers))])


def _silent(answers: Answers) -> set[str | None]:
    """Hosts that did not answer; None is the default index, which every question needs."""
    return {_host(question) for question, answer in answers.items() if answer.state == "unreachable"}


def _host(question: Question) -> str | None:
    return urlsplit(question.index).netloc if question.index else None


def order_of(release: str | None) -> tuple[int, ...] | None:
    """Sorts by release; None where torch is missing."""
    return tuple(int(part) for part in release.split(".")) if release else None


def _candidate(situation: Situation, build: Build, answers: Answers) -> Candidate:
    question = question_of(situation, build)
    specs = specs_of(situation, build)
    pins = pins_against(situation.environment.distributions, specs, situation.markers)
    answer = answers.get(question)
    if answer is None or answer.state == "unreachable":
        answer = _inferred(question, pins, answers) or answer
    return Candidate(build, question, answer, pins, _stuck(situation, build))


def _inferred(question: Question, pins: Sequence[Pin], answers: Answers) -> Resolution | None:
    """Where nobody answers: a package that had no way out elsewhere has none here."""
    if not {None, _host(question)} & _silent(answers):
        return None
    known = {(pin.package, pin.requirement) for told in answers.values() for pin in told.broken}
    broken = tuple(pin for pin in pins if (pin.package, pin.requirement) in known)
    return Resolution("conflict", broken=broken) if broken else None


def _stuck(situation: Situation, build: Build) -> tuple[str, ...]:
    if build.cuda is None or situation.compiles(build.cuda):
        return ()
    moves = build.torch != situation.torch_release
    ways = ways_for(situation, build.torch, build.cuda, moves=moves)
    return tuple(f"{way.package} {way.current}" for way in ways if way.kind == "rebuild")


def _releases_between(minors: Sequence[tuple[int, ...]], build: Build, current: tuple[int, ...]) -> int:
    """Minor releases apart, counted in the catalog: from 1.13 to 2.0 it is one."""
    return abs(bisect(minors, build.order[:2]) - bisect(minors, current[:2]))


def _compiles_for_all(situation: Situation, build: Build) -> bool:
    """Does the CUDA of this build name every GPU? Triton and torch.compile make code with its tools: 12.8 knows no 12.1."""
    toolkit = situation.catalog.toolkit(build.cuda) if build.cuda else None
    known = {t.capability.canonical for t in toolkit.targets} if toolkit else set()
    return all(c.canonical in known for c in situation.capabilities)


def _cuda_order(build: Build) -> tuple[int, ...]:
    return (build.cuda.major, build.cuda.minor) if build.cuda else (0, 0)
