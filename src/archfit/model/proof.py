"""What was measured in the environment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from archfit.model.answers import Finding
from archfit.model.facts import Text


class Proof(StrEnum):
    """How a probe of `verify` ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measurement: `seconds` of wall time; `reason` or `finding` says why it ended as it did.

    `package` is the distribution that the probe is about, where it is about one.
    """

    probe: str
    status: Proof
    measured: str = ""
    expected: str = ""
    tolerance: str = ""
    device: str = ""
    seconds: float = 0.0
    reason: Text | None = None
    finding: Finding | None = None
    package: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """All evidence of one run of `verify`."""

    level: str
    evidence: tuple[Evidence, ...]

    @property
    def passed(self) -> bool:
        """True if something was proven and nothing failed."""
        states = {e.status for e in self.evidence}
        return Proof.FAILED not in states and Proof.PASSED in states

    @property
    def reached(self) -> bool:
        """True if something was proven at the level that was asked for: kernels that no GPU ran prove nothing."""
        kinds = {"kernels": ("kernel:", "extension:", "plugin:"), "train": ("train:",)}.get(self.level, ("",))
        return any(e.status is Proof.PASSED and e.probe.startswith(kinds) for e in self.evidence)
