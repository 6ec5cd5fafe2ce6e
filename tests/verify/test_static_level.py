"""Static evidence: every outcome is told, every error counts, but for one that was there before and may stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from archfit.model import Diagnosis, Evidence, Finding, Outcome, Proof, Severity, State, Text, Verification
from archfit.verify import LEVELS, verify

MakeDiagnosis = Callable[..., Diagnosis]
MakeError = Callable[..., Outcome]
SAID = Text("plain", {"text": "because"})


def test_the_levels_in_order() -> None:
    assert LEVELS == ("static", "import", "kernels", "train")


@pytest.mark.parametrize(
    ("state", "proof"),
    [
        (State.PASSED, Proof.PASSED),
        (State.UNDECIDED, Proof.SKIPPED),
        (State.CRASHED, Proof.SKIPPED),
        (State.NOT_APPLICABLE, Proof.SKIPPED),
    ],
)
def test_every_end_of_a_check_is_evidence(diagnosis: MakeDiagnosis, state: State, proof: Proof) -> None:
    found = verify(diagnosis(Outcome("torch-arch", state, (), SAID)), "static")
    assert found == Verification("static", (Evidence("static:torch-arch", proof, reason=SAID),))


def test_an_error_fails(diagnosis: MakeDiagnosis, error: MakeError) -> None:
    found = verify(diagnosis(error("arch-missing-torch")), "static")
    finding = Finding("arch-missing-torch", Severity.ERROR, "torch", {})
    expected = Evidence("static:arch-missing-torch", Proof.FAILED, measured="torch", finding=finding)
    assert found == Verification("static", (expected,))
    assert not found.passed


@pytest.mark.parametrize("severity", [Severity.WARNING, Severity.INFO])
def test_what_is_no_error_does_not_fail(diagnosis: MakeDiagnosis, severity: Severity) -> None:
    finding = Finding("wheel-for-ptx", severity, "torch", {})
    found = verify(diagnosis(Outcome("family", State.FOUND, (finding,))), "static")
    assert found == Verification("static", (Evidence("static:family", Proof.PASSED, finding=finding),))


def test_each_error_of_one_check_is_told(diagnosis: MakeDiagnosis) -> None:
    rows = (
        Finding("arch-missing-extension", Severity.ERROR, "apex", {}),
        Finding("some-warning", Severity.WARNING, "apex", {}),
        Finding("arch-missing-extension", Severity.ERROR, "flash-attn", {}),
    )
    found = verify(diagnosis(Outcome("extensions", State.FOUND, rows)), "static")
    assert [(e.probe, e.status, e.measured) for e in found.evidence] == [
        ("static:arch-missing-extension", Proof.FAILED, "apex"),
        ("static:arch-missing-extension", Proof.FAILED, "flash-attn"),
    ]


def test_no_outcome_is_lost(diagnosis: MakeDiagnosis, error: MakeError) -> None:
    outcomes = (Outcome("a", State.PASSED), error("driver-too-old"), Outcome("b", State.NOT_APPLICABLE))
    found = verify(diagnosis(*outcomes), "static")
    assert [e.probe for e in found.evidence] == ["static:a", "static:driver-too-old", "static:b"]


@pytest.mark.parametrize(
    ("states", "passed"),
    [
        ((), False),
        ((State.UNDECIDED, State.NOT_APPLICABLE), False),
        ((State.PASSED, State.UNDECIDED), True),
    ],
)
def test_what_proves_nothing_does_not_pass(diagnosis: MakeDiagnosis, states: tuple[State, ...], passed: bool) -> None:
    outcomes = (Outcome(f"check-{number}", state) for number, state in enumerate(states))
    assert verify(diagnosis(*outcomes), "static").passed is passed


# --- what was there before -------------------------------------------------------------------------------------------


def test_an_error_that_was_there_before_does_not_count(diagnosis: MakeDiagnosis, error: MakeError) -> None:
    old = error("arch-missing-extension", "apex")
    found = verify(diagnosis(Outcome("torch", State.PASSED), old), "static", before=diagnosis(old))
    reason = Text("failed-before", {"id": "arch-missing-extension", "subject": "apex"})
    expected = Evidence("static:arch-missing-extension", Proof.SKIPPED, measured="apex", reason=reason)
    assert found.evidence[1] == replace(expected, finding=old.findings[0])
    assert found.passed


MUST_BE_SOLVED = ("torch-missing", "cpu-only-build", "arch-missing-torch", "arch-dropped-torch")


@pytest.mark.parametrize("id_", MUST_BE_SOLVED)
def test_what_the_change_was_made_for_counts_though_it_was_there(
    diagnosis: MakeDiagnosis, error: MakeError, id_: str
) -> None:
    found = verify(diagnosis(Outcome("gpu", State.PASSED), error(id_)), "static", before=diagnosis(error(id_)))
    assert [e.status for e in found.evidence] == [Proof.PASSED, Proof.FAILED]
    assert not found.passed


@pytest.mark.parametrize(
    "old",
    [("arch-missing-extension", "apex"), ("torch-family-mismatch", "flash-attn")],
    ids=["another subject", "another error"],
)
def test_another_error_than_before_counts(diagnosis: MakeDiagnosis, error: MakeError, old: tuple[str, str]) -> None:
    new = error("arch-missing-extension", "flash-attn")
    found = verify(diagnosis(new), "static", before=diagnosis(error(*old)))
    assert [e.status for e in found.evidence] == [Proof.FAILED]


def test_without_a_before_every_error_counts(diagnosis: MakeDiagnosis, error: MakeError) -> None:
    assert [e.status for e in verify(diagnosis(error("x")), "static", before=None).evidence] == [Proof.FAILED]


def test_the_static_level_starts_no_child(
    diagnosis: MakeDiagnosis, environment: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archfit.verify.imports.run_child", None)
    found = verify(diagnosis(Outcome("torch", State.PASSED), env=environment(demo="1/0")), "static")
    assert found.passed


@pytest.mark.parametrize("state", [State.UNDECIDED, State.CRASHED])
def test_what_could_be_judged_before_must_be_judged_after(diagnosis: MakeDiagnosis, state: State) -> None:
    """A library that arrived cut off is no reason to go live."""
    before = diagnosis(Outcome("torch-arch", State.FOUND), Outcome("gpu", State.UNDECIDED))
    after = diagnosis(Outcome("torch-arch", state, (), SAID), Outcome("gpu", State.UNDECIDED))
    found = verify(after, "static", before=before)
    assert [e.status for e in found.evidence] == [Proof.FAILED, Proof.SKIPPED]
