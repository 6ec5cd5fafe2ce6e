"""``archfit verify`` in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from archfit.model import Evidence, Proof, Verification
from archfit.report.prose import Prose
from archfit.report.screen import Screen

_MARKS = {Proof.PASSED: "good", Proof.FAILED: "bad", Proof.SKIPPED: "none"}


def show_verification(screen: Screen, verification: Verification, *, only_failures: bool = False) -> None:
    """The evidence, one line each, and the sum."""
    grid = Table.grid(padding=(0, 1))
    for _ in range(2):
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for group in _alike(verification.evidence):
        evidence = group[0]
        if only_failures and evidence.status is not Proof.FAILED:
            continue
        more = {"name": evidence.probe, "count": len(group) - 1}
        name = evidence.probe if len(group) == 1 else screen.messages.ui("and-more", **more)
        grid.add_row(screen.mark(_mark(evidence)), name, _told(screen, evidence))
    screen.out.print(grid)
    counts = [sum(e.status is proof for e in verification.evidence) for proof in Proof]
    key = "verify-passed" if verification.passed else "verify-failed" if counts[1] else "verify-nothing"
    total = len(verification.evidence)
    sentence = screen.messages.ui(key, passed=counts[0], failed=counts[1], skipped=counts[2], total=total)
    screen.say(sentence, "green" if verification.passed else "red")


def _mark(evidence: Evidence) -> str:
    """What passed although something was found is no reason to worry, and none to rejoice."""
    return "warn" if evidence.status is Proof.PASSED and evidence.finding else _MARKS[evidence.status]


def _told(screen: Screen, evidence: Evidence) -> Prose:
    parts = [screen.messages.because(evidence) or _measured(screen, evidence)]
    if evidence.seconds:
        parts.append(f"{evidence.seconds:.1f} s")
    return Prose("  ".join(parts), style="dim")


def _measured(screen: Screen, evidence: Evidence) -> str:
    """What was measured, and against what."""
    if evidence.probe.startswith("health:"):
        return screen.messages.ui("measured-speed", measured=evidence.measured, expected=evidence.expected)
    if evidence.tolerance:
        allowed = evidence.tolerance.partition(" (")[0]
        return screen.messages.ui("measured-error", measured=evidence.measured, tolerance=allowed)
    return evidence.measured


def _alike(evidence: Sequence[Evidence]) -> list[list[Evidence]]:
    """Neighbours of one kind that were not judged for one and the same reason share a line."""
    groups: list[list[Evidence]] = []
    for one in evidence:
        same = groups and one.status is Proof.SKIPPED and one.reason and _line_of(groups[-1][0]) == _line_of(one)
        groups[-1].append(one) if same else groups.append([one])
    return groups


def _line_of(evidence: Evidence) -> tuple[object, ...]:
    return evidence.probe.partition(":")[0], evidence.status, evidence.reason
