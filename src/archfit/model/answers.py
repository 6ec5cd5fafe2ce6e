"""What the checks say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from archfit.model.facts import Text, Values
from archfit.model.machine import Environment


class Severity(StrEnum):
    """How bad a finding is, worst first."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class State(StrEnum):
    """How a check ended; none is ever lost."""

    PASSED = "passed"
    FOUND = "found"
    UNDECIDED = "undecided"
    CRASHED = "crashed"
    NOT_APPLICABLE = "not-applicable"


class Status(StrEnum):
    """The answer as a whole."""

    OK = "ok"
    PROBLEMS = "problems"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Fact:
    """One piece of evidence: what was read, and where."""

    source: str
    text: Text


@dataclass(frozen=True, slots=True)
class Finding:
    """A state of the environment.

    `id` is permanent; the words for it live in the texts and are filled with `values`. `fix` is a command to run now.
    """

    id: str
    severity: Severity
    subject: str
    values: Values
    evidence: tuple[Fact, ...] = ()
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one check; `reason` says why it passed, could not decide or did not apply."""

    check: str
    state: State
    findings: tuple[Finding, ...] = ()
    reason: Text | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All outcomes over one environment; `primary` is the finding to solve first."""

    environment: Environment
    outcomes: tuple[Outcome, ...]
    findings: tuple[Finding, ...]
    primary: Finding | None
    status: Status

    def fix_beside(self, finding: Finding) -> str:
        """What to run for a finding beside the primary one; empty where the primary one's own fix, or its plan, does it."""
        if finding is self.primary or self.primary is None:
            return finding.fix
        return (
            ""
            if finding.fix in (self.environment.command("plan"), self.environment.command("upgrade"))
            else finding.fix
        )
