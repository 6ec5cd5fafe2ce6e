"""What a log shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archfit.model.answers import Finding


@dataclass(frozen=True, slots=True)
class Quote:
    """A line of a log: its number, from 1, and what it says."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Culprit:
    """The package and the library that a cause names; empty where nobody can tell."""

    package: str = ""
    library: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of what a log shows.

    `id` is the class, `confidence` between 0 and 1, `row` the signature that decided, `environment` False where neither GPU
    nor environment are at fault, `commands` what to run, `findings` what a look at the environment adds.
    """

    id: str
    confidence: float
    evidence: tuple[Quote, ...]
    culprit: Culprit
    commands: tuple[str, ...]
    environment: bool
    row: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What a log says about its machine; empty where it does not. `cleared` are packages that are not at fault."""

    gpu: str = ""
    capability: str = ""
    torch: str = ""
    cuda: str = ""
    cleared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The causes of what a log shows, root first; never empty: what nobody knows is `other` with low confidence.

    `lines_total` counts the lines of the log, `paths` are folders of environments that it names, `joined` is the environment
    that was looked at beside it.
    """

    causes: tuple[Cause, ...]
    facts: LogFacts
    lines_total: int
    paths: tuple[str, ...] = ()
    joined: Path | None = None

    @property
    def first(self) -> Cause:
        """The cause to solve first."""
        return self.causes[0]
