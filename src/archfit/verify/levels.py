"""The levels of verification; each is a superset of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from archfit.child import run_child
from archfit.model import (
    Diagnosis,
    Distribution,
    Environment,
    Evidence,
    Finding,
    Outcome,
    Proof,
    Severity,
    State,
    Text,
    Unknown,
    Verification,
)

LEVELS = ("static", "import")
_IMPORT_SECONDS = 300.0
_NOT_THE_PACKAGE = frozenset({"test", "tests", "docs", "examples", "benchmarks", "scripts", "tools"})

# What an upgrade exists to solve; everything else that was wrong before may still be wrong after it.
_MUST_BE_SOLVED = frozenset(
    {"torch-missing", "cpu-only-build", "other-vendor-build", "arch-missing-torch", "arch-dropped-torch"}
)

OnProbe = Callable[[str, int, int], None]
"""Told the probe that begins, how many are done, and how many there are."""


def verify(
    diagnosis: Diagnosis, level: str, *, before: Diagnosis | None = None, on_probe: OnProbe | None = None
) -> Verification:
    """Collect evidence up to `level` for the diagnosed environment.

    With `before`, the diagnosis of the environment that this one is to replace, a failure that was there before is noted
    and does not count, unless it is what the change was made for.
    """
    evidence = list(_static(diagnosis, before))
    if level == "import":
        evidence += _imports(diagnosis.environment, before.environment if before else None, on_probe)
    return Verification(level, tuple(evidence))


def _static(diagnosis: Diagnosis, before: Diagnosis | None) -> Iterator[Evidence]:
    known = {(f.id, f.subject) for f in before.findings} if before else set()
    for outcome in diagnosis.outcomes:
        errors = [f for f in outcome.findings if f.severity is Severity.ERROR]
        if not errors:
            yield _settled(outcome)
        for finding in errors:
            old = (finding.id, finding.subject) in known and finding.id not in _MUST_BE_SOLVED
            yield _failed(finding, old=old)


def _settled(outcome: Outcome) -> Evidence:
    probe = f"static:{outcome.check}"
    if outcome.state in (State.PASSED, State.FOUND):
        return Evidence(probe, Proof.PASSED, reason=outcome.reason)
    return Evidence(probe, Proof.SKIPPED, reason=outcome.reason)


def _failed(finding: Finding, *, old: bool) -> Evidence:
    status = Proof.SKIPPED if old else Proof.FAILED
    key = "failed-before" if old else "finding"
    reason = Text(key, {"id": finding.id, "subject": finding.subject})
    return Evidence(f"static:{finding.id}", status, measured=finding.subject, reason=reason)


def _imports(env: Environment, before: Environment | None, on_probe: OnProbe | None) -> list[Evidence]:
    packages = [(d, names) for d in env.distributions if (names := import_names(d))]
    evidence = []
    for index, (distribution, names) in enumerate(packages):
        if on_probe:
            on_probe(distribution.name, index, len(packages))
        evidence.append(_import(env, before, distribution, names))
    return evidence


def import_names(distribution: Distribution) -> tuple[str, ...]:
    """The modules whose import loads the native code of a distribution; empty if it has none."""
    if not distribution.libraries or distribution.name.startswith("nvidia-"):
        return ()  # NVIDIA's wheels hold libraries only; torch loads them
    own = distribution.name.replace("-", "_")
    if own in distribution.import_names:
        return (own,)
    public = [n for n in distribution.import_names if not n.startswith("_") and n not in _NOT_THE_PACKAGE]
    return tuple(public or distribution.import_names)


def _import(
    env: Environment, before: Environment | None, distribution: Distribution, names: tuple[str, ...]
) -> Evidence:
    probe = f"import:{distribution.name}"
    error, seconds = _try_import(env, names)
    if error is None:
        return Evidence(probe, Proof.PASSED, measured=distribution.version, expected=", ".join(names), seconds=seconds)
    was_there = before.distribution(distribution.name) if before else None
    if before and was_there and _try_import(before, import_names(was_there) or names)[0] is not None:
        reason = Text("failed-before", {"id": "import", "subject": f"{distribution.name}: {error}"})
        return Evidence(probe, Proof.SKIPPED, expected=", ".join(names), seconds=seconds, reason=reason)
    reason = Text("import-failed", {"cause": error})
    return Evidence(probe, Proof.FAILED, expected=", ".join(names), seconds=seconds, reason=reason)


def _try_import(env: Environment, names: tuple[str, ...]) -> tuple[str | None, float]:
    """The error of importing these modules in a child of the target, or None; and the seconds it took."""
    answer = run_child(env.python, "import_names.py", names, timeout_s=_IMPORT_SECONDS)
    if isinstance(answer, Unknown):
        return answer.reason, 0.0
    told = answer.value
    return (f"{told['failed']}: {told['error']}" if told["failed"] else None), float(told["seconds"])
