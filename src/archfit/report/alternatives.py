"""The ways to do one and the same: archfit, pip, uv; each said to be an alternative, so that nobody runs them in turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from archfit.model import Option, Plan, Way
from archfit.report.messages import Messages

_APPLIED = ("install", "rebuild")
"""Steps that `archfit upgrade` takes; the others are left to people."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Commands that together do it; `label` says ``either …`` or ``or …`` and is empty where there is no choice."""

    label: str
    commands: tuple[str, ...]


def alternatives_of(messages: Messages, option: Option, plan: Plan | None = None) -> list[Alternative]:
    """Every way to carry out an option; that of archfit first, where `archfit upgrade` does it by this plan."""
    ways = list(_by_hand(option))
    if plan and archfit_does(plan, option):
        ways.insert(0, ("archfit-does", (plan.environment.cure,)))
    words = ["either", *["or"] * len(ways)] if len(ways) > 1 else [""]
    return [_alternative(messages, word, *way) for word, way in zip(words, ways, strict=False)]


def remedy_of(plan: Plan | None) -> Option | None:
    """The best way out; None where there is none but to do without the GPU."""
    best = plan.options[0] if plan else None
    return best if best and best.kind not in ("none", "cpu") else None


def by_hand_of(messages: Messages, plan: Plan, way: Way) -> list[Alternative]:
    """How to do by hand what becomes of a package; ``or …`` where the best option does it, too."""
    ways = list(_by_hand(way))
    first = "or" if is_done(plan, way) else "either" if len(ways) > 1 else ""
    return [_alternative(messages, "or" if number else first, *way) for number, way in enumerate(ways)]


def archfit_does(plan: Plan, option: Option) -> bool:
    """Is this what `archfit upgrade` does here?"""
    env = plan.environment
    elsewhere = any(notice.key == "notice-pretended" for notice in plan.notices)
    applies = option.kind in ("upgrade", "nightly", "rebuild") and any(s.action in _APPLIED for s in option.steps)
    return option is plan.options[0] and applies and not elsewhere and env.cure == env.command("upgrade")


def is_done(plan: Plan, way: Way) -> bool:
    """Does `archfit upgrade` compile this package, too? One that is used in place is left to whoever works on it."""
    found = plan.environment.distribution(way.package)
    if way.kind != "rebuild" or (found and found.in_place):
        return False
    return any(way in option.extensions and archfit_does(plan, option) for option in plan.options)


def as_shell(alternatives: Iterable[Alternative]) -> Iterator[str]:
    """As lines of a shell, with the labels as comments."""
    for alternative in alternatives:
        if alternative.label:
            yield f"# {alternative.label}"
        yield from alternative.commands


def _by_hand(way: Option | Way) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where pip and uv are the same, it is neither: a driver, say."""
    same = way.pip == way.uv
    rows = (("by-hand", way.pip),) if same else (("by-hand-pip", way.pip), ("by-hand-uv", way.uv))
    yield from ((key, tuple(dict.fromkeys(lines))) for key, lines in rows if lines)


def _alternative(messages: Messages, word: str, key: str, commands: tuple[str, ...]) -> Alternative:
    return Alternative(messages.ui(word, how=messages.ui(key)) if word else "", commands)
