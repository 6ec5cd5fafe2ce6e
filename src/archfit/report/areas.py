"""The checks of a doctor by area: what a person asks about, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archfit.model import Diagnosis, Finding, Outcome, Severity, State

AREAS: dict[str, tuple[str, ...]] = {
    "gpu": ("gpu", "gpu-use"),
    "driver": ("driver-for-build", "driver-for-gpu", "kernel-module"),
    "python": ("interpreter",),
    "torch": ("torch", "torch-arch"),
    "cuda-libraries": ("vendor-libraries",),
    "extensions": ("extensions",),
    "compilers": ("compilers",),
    "packages": ("family", "files"),
    "surroundings": ("loader", "caches"),
    "changes": ("transaction",),
}
"""The first check that passed speaks for its area where nothing was found."""

_TARGETS = ("targets", "targets-sass", "targets-ptx")  # sentences


@dataclass(frozen=True, slots=True)
class Area:
    """An area with the outcomes of its checks; `name` is a key of ``[area]``."""

    name: str
    outcomes: tuple[Outcome, ...]

    @property
    def kind(self) -> str:
        """The mark: the worst of its checks, none where nothing could be judged."""
        marks = [mark_of(outcome) for outcome in self.outcomes]
        return next((mark for mark in ("bad", "warn", "good") if mark in marks), "none")

    @property
    def telling(self) -> tuple[Outcome, ...]:
        """The outcomes that have something to say: what was found or is undecided, else the first that passed."""
        loud = tuple(o for o in self.outcomes if o.findings or o.state in (State.UNDECIDED, State.CRASHED))
        passed = [o for o in self.outcomes if o.state is State.PASSED]
        return loud or tuple(passed[:1]) or self.outcomes[:1]


def areas_of(outcomes: Sequence[Outcome]) -> Iterator[Area]:
    """Every outcome in its area, in the order of the report; a check without an area stands for itself, at the end."""
    by_check = {outcome.check: outcome for outcome in outcomes}
    for name, checks in AREAS.items():
        if found := tuple(by_check.pop(check) for check in checks if check in by_check):
            yield Area(name, found)
    yield from (Area("", (outcome,)) for outcome in by_check.values())


def first_with_targets(diagnosis: Diagnosis) -> Finding | None:
    """The first finding in a report whose evidence speaks of SASS and PTX: there the words are explained, once."""
    findings = (diagnosis.primary, *diagnosis.findings)
    return next((f for f in findings if f and any(fact.text.key in _TARGETS for fact in f.evidence)), None)


def mark_of(outcome: Outcome) -> str:
    """good, bad, warn or none."""
    if outcome.state is State.PASSED:
        return "good"
    if any(f.severity is Severity.ERROR for f in outcome.findings) or outcome.state is State.CRASHED:
        return "bad"
    if any(f.severity is Severity.WARNING for f in outcome.findings) or outcome.state is State.UNDECIDED:
        return "warn"
    return "good" if outcome.findings else "none"
