"""Which builds of torch are worth offering, what the resolver must be asked about them, and in which order they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from archfit.catalog import Build
from archfit.model import Pin, Question, Resolution
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
    """A build that can be installed here, what would be asked about it, and what the resolver said, if it was asked."""

    build: Build
    question: Question
    answer: Resolution | None
    pins: tuple[Pin, ...]

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
    """Builds that can be installed, hold code for every GPU and load on the driver; best first."""
    found = [_candidate(situation, b, answers) for b in (fitting(situation) if builds is None else builds)]
    silent = {q.index for q, answer in answers.items() if answer.state == "unreachable"}
    current = order_of(situation.torch_release)
    fewest = min((len(c.others) for c in found if c.confirmed), default=0)  # who was not asked may need as many

    def rank(candidate: Candidate) -> tuple[object, ...]:
        build = candidate.build
        unconfirmed = not candidate.confirmed and bool({None, candidate.question.index} & silent)
        downgrade = current is not None and build.order < current
        newest = tuple(-part for part in build.order)
        if strategy == "latest" or current is None:
            unsure = build.confidence == "inferred" and not candidate.confirmed
            return unconfirmed, downgrade, unsure, newest, not build.on_pypi, _cuda_order(build)
        trust = _TRUST.index(build.confidence)
        near = _distance(build, current)
        others = len(candidate.others) if candidate.confirmed else max(fewest, len(candidate.others))
        return unconfirmed, others, downgrade, not build.on_pypi, trust, near, _cuda_order(build)

    return sorted(found, key=rank)


def picked(situation: Situation, strategy: Strategy, answers: Answers) -> list[Candidate]:
    """The few worth showing: the best, the newest from PyPI, and the best from the PyTorch index."""
    alive = [c for c in candidates(situation, strategy, answers) if not c.refused]
    if len(answers) >= MOST_ASKED:
        alive = [c for c in alive if c.answer]
    from_pypi = [c for c in alive if c.build.on_pypi]
    chosen = [*alive[:1], *([max(from_pypi, key=lambda c: c.build.order)] if from_pypi else [])]
    chosen += [c for c in alive if not c.build.on_pypi and all(c.build.torch != p.build.torch for p in chosen)][:1]
    return list({c.question: c for c in chosen}.values())


def unasked(chosen: Sequence[Candidate], answers: Answers) -> tuple[Question, ...]:
    """What must still be asked about them; nothing where an index did not answer before, or enough was asked."""
    silent = {q.index for q, answer in answers.items() if answer.state == "unreachable"}
    open_ = [c.question for c in chosen if c.answer is None and not {None, c.question.index} & silent]
    return tuple(open_[: max(0, MOST_ASKED - len(answers))])


def order_of(release: str | None) -> tuple[int, ...] | None:
    """Sorts by release; None where torch is missing."""
    return tuple(int(part) for part in release.split(".")) if release else None


def _candidate(situation: Situation, build: Build, answers: Answers) -> Candidate:
    question = question_of(situation, build)
    specs = specs_of(situation, build)
    pins = pins_against(situation.environment.distributions, specs, situation.markers)
    return Candidate(build, question, answers.get(question), pins)


def _distance(build: Build, current: tuple[int, ...]) -> tuple[int, ...]:
    """Minor releases apart; within the same minor release the newest patch is the nearest in spirit."""
    major, minor, patch = build.order
    return abs(major - current[0]), abs(minor - current[1]), -patch


def _cuda_order(build: Build) -> tuple[int, ...]:
    return (build.cuda.major, build.cuda.minor) if build.cuda else (0, 0)
