"""The levels of verification; each is a superset of the one before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches

from archfit.errors import UsageError
from archfit.model import (
    Diagnosis,
    Environment,
    Evidence,
    Finding,
    Outcome,
    Proof,
    Severity,
    State,
    Text,
    Verification,
)
from archfit.verify.imports import Terms, import_probes, import_work, in_order
from archfit.verify.kernels import (
    Asked,
    Place,
    chosen,
    judged,
    prove_kernels,
    rows_for,
    run_fresh,
    seen_devices,
)
from archfit.verify.lanes import OnProbe, counted, lanes, side_by_side
from archfit.verify.train import prove_training

LEVELS = ("static", "import", "kernels", "train")

# What an upgrade exists to solve; everything else that was wrong before may still be wrong after it.
_MUST_BE_SOLVED = frozenset(
    {
        "torch-missing",
        "cpu-only-build",
        "other-vendor-build",
        "arch-missing-torch",
        "arch-dropped-torch",
        "driver-too-old",
    }
)

_DECIDED = (State.PASSED, State.FOUND)


def verify(
    diagnosis: Diagnosis,
    level: str,
    *,
    before: Diagnosis | None = None,
    to_rebuild: frozenset[str] = frozenset(),
    rebuilt: frozenset[str] = frozenset(),
    allowed: frozenset[str] = frozenset(),
    device: str = "cuda",
    only: tuple[str, ...] = (),
    on_probe: OnProbe | None = None,
) -> Verification:
    """Collect evidence up to `level` for the diagnosed environment, kernels and training on `device`: cuda or cpu.

    With `only`, patterns such as ``kernel:matmul-*``, no other probes are run; what the bytes say is told all the same.
    Raises UsageError for a pattern that is the name of none.

    With `before`, the diagnosis of the environment that this one is to replace, a failure that was there before is noted
    and does not count, unless it is what the change was made for; nor does that of a package in `to_rebuild`, which the plan
    said will have to be compiled again, or in `allowed`, which the person said may break. One that was `rebuilt` for the
    change must work, whatever the old one did.
    """
    _check_names(diagnosis.environment, level, only)
    evidence = list(_static(diagnosis, before))
    env = diagnosis.environment
    terms = Terms(env, before.environment if before else None, to_rebuild, rebuilt, allowed, only)
    height = LEVELS.index(level)
    begins = counted(on_probe, len(_names(env, level, only)))
    imports = import_work(terms, begins) if height >= LEVELS.index("import") else []
    if height < LEVELS.index("kernels"):
        tried = [e for done in side_by_side(lambda work: work(), imports, lanes()) for e in done]
        evidence += in_order(env, tried)
    else:
        found = prove_kernels(env, device, begins, only, imports)
        count = sum(chosen(probe, only) for probe in import_probes(env))
        evidence += in_order(env, found[:count])
        evidence += (_excused(terms, e, device) for e in found[count:])
    if height >= LEVELS.index("train") and chosen("train:run", only):
        evidence += prove_training(env, device, begins)
    return Verification(level, tuple(evidence))


def _names(env: Environment, level: str, only: Sequence[str] = ()) -> list[str]:
    """The probes of this level, or those among them that were asked for."""
    known = {
        "import": import_probes(env),
        "kernels": [row.id for row, _ in rows_for(env)],
        "train": ["train:run"],
    }
    within = [name for kind, names in known.items() if LEVELS.index(kind) <= LEVELS.index(level) for name in names]
    return [name for name in within if chosen(name, only)]


def _check_names(env: Environment, level: str, only: Sequence[str]) -> None:
    """Refuse a pattern that fits no probe of this level: a typing error must not look like a pass."""
    for pattern in only:
        if not _names(env, level, (pattern,)):
            every = _names(env, level)
            near = get_close_matches(pattern, every, n=3, cutoff=0.4) or every[:3]
            raise UsageError("probe-unknown", spec=pattern, level=level, near=", ".join(near) or "--level kernels")


def default_level(env: Environment, only: Sequence[str] = ()) -> str:
    """As far as this machine allows: kernels where a GPU is really here, else import; as far as the named probes need."""
    if any(pattern.startswith("train:") for pattern in only):
        return "train"
    named = any(pattern.startswith(("kernel:", "extension:", "plugin:", "health:")) for pattern in only)
    return "kernels" if named or seen_devices(env) else "import"


def _static(diagnosis: Diagnosis, before: Diagnosis | None) -> Iterator[Evidence]:
    known = {(f.id, f.subject) for f in before.findings} if before else set()
    decided = {o.check for o in before.outcomes if o.state in _DECIDED} if before else set()
    for outcome in diagnosis.outcomes:
        errors = [f for f in outcome.findings if f.severity is Severity.ERROR]
        if not errors:
            yield _settled(outcome, lost=outcome.check in decided)
        for finding in errors:
            old = (finding.id, finding.subject) in known and finding.id not in _MUST_BE_SOLVED
            yield _failed(finding, old=old)


def _settled(outcome: Outcome, *, lost: bool) -> Evidence:
    """`lost`: the question could be answered for the environment that this one is to replace."""
    probe = f"static:{outcome.check}"
    if outcome.state in _DECIDED:
        return Evidence(probe, Proof.PASSED, reason=outcome.reason, finding=next(iter(outcome.findings), None))
    if lost and outcome.state in (State.UNDECIDED, State.CRASHED):
        return Evidence(probe, Proof.FAILED, reason=outcome.reason)
    return Evidence(probe, Proof.SKIPPED, reason=outcome.reason)


def _failed(finding: Finding, *, old: bool) -> Evidence:
    status = Proof.SKIPPED if old else Proof.FAILED
    reason = Text("failed-before", {"id": finding.id, "subject": finding.subject}) if old else None
    return Evidence(f"static:{finding.id}", status, measured=finding.subject, reason=reason, finding=finding)


# Words of a GPU that finds no code for itself: what an upgrade is made to solve, so it never excuses itself.
_NO_CODE = ("no kernel image", "invalid device function", "no binary for gpu")


def _excused(terms: Terms, evidence: Evidence, device: str) -> Evidence:
    """The evidence of a probe that failed, not counted where the change is not to blame."""
    if evidence.status is not Proof.FAILED or terms.before is None or evidence.probe == "kernel:device":
        return evidence
    cause = evidence.reason or Text("probe-proved-nothing")
    told: dict[str, str | Text] = {"package": evidence.package, "cause": cause}
    if evidence.package in terms.to_rebuild:
        return replace(evidence, status=Proof.SKIPPED, reason=Text("to-rebuild", told))
    if evidence.package in terms.allowed:
        return replace(evidence, status=Proof.SKIPPED, reason=Text("allowed-broken", told))
    if evidence.package in terms.rebuilt:
        return evidence
    if any(word in str(cause).lower() for word in _NO_CODE) or not _failed_before(terms.before, evidence, device):
        return evidence
    return replace(
        evidence, status=Proof.SKIPPED, reason=Text("failed-before", {"id": evidence.probe, "subject": cause})
    )


def _failed_before(before: Environment, evidence: Evidence, device: str) -> bool:
    """Does the environment that is to be replaced fail the same probe?"""
    name, _, where = evidence.probe.partition("@")
    row = next((row for row, _ in rows_for(before) if row.id == name), None)
    place = Place(where or ("cuda:0" if device == "cuda" else "cpu"), evidence.device, "", 0)
    if row is None:
        return False
    asked = Asked(row, place, evidence.package)
    return judged(before, asked, run_fresh(before, row, place)).status is Proof.FAILED
