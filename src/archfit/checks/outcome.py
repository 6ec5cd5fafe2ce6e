"""The few ways a check can end, and the command that a finding leads to."""

from __future__ import annotations

import shlex

from archfit.model import Environment, Finding, Known, Outcome, State, Text


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


def command(environment: Environment, verb: str) -> str:
    """``archfit upgrade /path --gpu "RTX 5090"``: the verb for this target with what was pretended."""
    words = ["archfit", verb, shlex.quote(str(environment.root))]
    for gpu in environment.devices:
        if gpu.pretended:
            words += ["--gpu", shlex.quote(gpu.name)]
    if isinstance(environment.driver, Known) and environment.driver.value.source.startswith("--driver"):
        words += ["--driver", str(environment.driver.value.release)]
    return " ".join(words)


def _text(key: str, values: dict[str, object]) -> Text:
    return Text(key, {name: str(value) for name, value in values.items()})
