"""The few ways a check can end."""

from __future__ import annotations

from archfit.model import Finding, Outcome, State, Text


def passed(check: str, key: str, **values: object) -> Outcome:
    """The question was answered and nothing is wrong."""
    return Outcome(check, State.PASSED, reason=_text(key, values))


def found(check: str, *findings: Finding) -> Outcome:
    """Something is wrong, or worth knowing."""
    return Outcome(check, State.FOUND, findings)


def undecided(check: str, key: str, **values: object) -> Outcome:
    """We looked and cannot say."""
    return Outcome(check, State.UNDECIDED, reason=_text(key, values))


def not_applicable(check: str, key: str, **values: object) -> Outcome:
    """The question does not arise here."""
    return Outcome(check, State.NOT_APPLICABLE, reason=_text(key, values))


def _text(key: str, values: dict[str, object]) -> Text:
    return Text(key, {name: value if isinstance(value, Text) else str(value) for name, value in values.items()})
