"""Nodes that look the same as one row: what the terminal, Markdown and the page have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from archfit.model import DriverMove, Finding, Fleet, Node, NodeFinding, Severity, SharedCause, Window
from archfit.report.messages import Messages

_ORDER = ("bad", "warn", "none", "good")


@dataclass(frozen=True, slots=True)
class Cohort:
    """Nodes with equal hardware, software and causes. `kind` is a mark: good, warn, bad or none; `causes` are the numbers of
    the causes, from 1; `said` is why there is no answer, or which probes failed.
    """

    kind: str
    names: tuple[str, ...]
    state: str
    hardware: str
    driver: str
    python: str
    torch: str
    causes: tuple[int, ...]
    said: str


def cohorts_of(fleet: Fleet, messages: Messages) -> list[Cohort]:
    """Rows, those with problems first, then the largest."""
    numbers: dict[str, list[int]] = {}
    for number, cause in enumerate(causes_shown(fleet.causes), 1):
        for name in cause.nodes:
            numbers.setdefault(name, []).append(number)
    grouped: dict[tuple[object, ...], list[Node]] = {}
    for node in fleet.nodes:
        causes = tuple(numbers.get(node.name, ())) if node.findings else ()
        seen = (node.hardware, node.driver and node.driver.release, node.python, node.platform, node.torch, node.cuda)
        grouped.setdefault((causes, node.state, node.status, *seen, _said(node, messages)), []).append(node)
    rows = [_cohort(alike, key[0], messages) for key, alike in grouped.items()]
    return sorted(rows, key=lambda row: (_ORDER.index(row.kind), -len(row.names), row.names))


def causes_shown(causes: Iterable[SharedCause]) -> list[SharedCause]:
    """The causes that have a number: what is only good to know has none."""
    return [cause for cause in causes if cause.severity is not Severity.INFO]


def finding_title(messages: Messages, found: NodeFinding | SharedCause) -> str:
    """A finding of a report in our language; in its own where it has values that we do not know."""
    try:
        return messages.title(Finding(found.id, found.severity, "", found.values))
    except (KeyError, IndexError, ValueError):
        return found.title


def cause_title(messages: Messages, cause: SharedCause) -> str:
    """A cause in the reader's language."""
    return finding_title(messages, cause) or cause.id


def _cohort(alike: list[Node], causes: object, messages: Messages) -> Cohort:
    node = alike[0]
    return Cohort(
        kind=kind_of(node),
        names=tuple(n.name for n in alike),
        state=node.state,
        hardware=node.hardware,
        driver=str(node.driver.release) if node.driver else "",
        python=" ".join(filter(None, (node.python, node.platform.removeprefix("linux_")))),
        torch=f"{node.torch} ({node.cuda})" if node.cuda else node.torch,
        causes=cast(tuple[int, ...], causes),
        said=_said(node, messages),
    )


def kind_of(node: Node) -> str:
    """The mark of a node."""
    if node.state != "reported":
        return "none" if node.state == "duplicate" else "warn"
    if node.proof and node.proof.status == "failed":
        return "bad"
    status = node.status.value if node.status else "undecided"
    return {"ok": "good", "problems": "bad", "undecided": "warn"}[status]


def _said(node: Node, messages: Messages) -> str:
    if node.state != "reported":
        state = messages.ui(f"fleet-state-{node.state}")
        return messages.ui("labelled", label=state, text=messages.text(node.why)) if node.why else state
    if node.proof is None:
        return ""
    why = messages.text(node.proof.why) if node.proof.why else ", ".join(node.proof.failed)
    key = {"passed": "fleet-proof-passed", "failed": "fleet-proof-failed"}.get(node.proof.status, "fleet-proof-open")
    return messages.ui(key, level=node.proof.level, why=why)


def short_status(node: Node, messages: Messages) -> str:
    """How a node is, in a few words."""
    if node.state != "reported":
        return messages.ui(f"fleet-state-{node.state}")
    status = messages.ui(f"fleet-is-{node.status.value if node.status else 'undecided'}")
    said = _said(node, messages)
    return messages.ui("separator").join(filter(None, (status, node.hardware, node.primary, said)))


def counted(nodes: Iterable[Node], messages: Messages) -> str:
    """``12 nodes: 8 ok, 3 with problems, 1 silent``."""
    counts: dict[str, int] = {}
    nodes = tuple(nodes)
    for node in nodes:
        word = node.state if node.state != "reported" else node.status.value if node.status else "undecided"
        counts[word] = counts.get(word, 0) + 1
    parts = [
        messages.ui(f"fleet-count-{word}", count=count) for word, count in sorted(counts.items(), key=lambda p: -p[1])
    ]
    total = len({node.name for node in nodes})
    return messages.ui("fleet-counted", total=total, parts=messages.ui("separator").join(parts))


def move_text(move: DriverMove, messages: Messages) -> str:
    """Which driver must become which."""
    key = "fleet-move" if move.last is None else "fleet-move-last"
    return messages.ui(key, count=len(move.nodes), current=move.current, needed=move.needed, last=move.last or "")


def window_text(window: Window, messages: Messages) -> str:
    """One driver for all, or that there is none."""
    if not window.fits:
        return messages.ui("fleet-window-none", floor=window.floor or "?", last=window.last or "?")
    if window.floor is None:
        return messages.ui("fleet-window-unknown")
    key = "fleet-window" if window.last is None else "fleet-window-last"
    return messages.ui(key, floor=window.floor, last=window.last or "")
