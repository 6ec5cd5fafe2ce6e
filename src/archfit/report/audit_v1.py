"""The JSON of ``archfit audit`` and its few lines in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text as Styled

from archfit.audit import Audit, Policy, Violation
from archfit.report.messages import Messages
from archfit.report.screen import Screen

Document = dict[str, Any]


def audit_document(
    audits: Sequence[Audit], policy: Policy, failures: Sequence[tuple[str, str]], messages: Messages
) -> Document:
    """``archfit.audit/1``; `failures` are what could not be read at all, with the reason in words."""
    failed = any(not a.passed for a in audits)
    return {
        "schema": "archfit.audit/1",
        "status": "failed" if failed else "undecided" if failures else "passed",
        "policy": {
            "require": [str(c) for c in policy.require],
            "allow_jit": policy.allow_jit,
            "max_bytes": policy.max_bytes,
        },
        "subjects": [
            {
                "subject": a.subject.name,
                "file": a.subject.file or None,
                "sha256": a.subject.sha256,
                "status": "passed" if a.passed else "failed",
                "verdicts": {device.sm: package.verdict.value for device, package in a.judged.items()},
                "violations": [_violation(v, messages) for v in a.violations],
                "excused": [{**_violation(v, messages), "reason": reason} for v, reason in a.excused],
            }
            for a in audits
        ],
        "failures": [{"subject": name, "reason": reason} for name, reason in failures],
    }


def _violation(violation: Violation, messages: Messages) -> Document:
    return {
        "rule": violation.rule,
        "library": violation.library or None,
        "gpu": violation.device.sm if violation.device else None,
        "text": messages.violation(violation.rule, violation.values),
    }


def show_audits(screen: Screen, audits: Sequence[Audit], unread: int) -> None:
    """A line for each subject, what is violated below it, and the sum; `unread` subjects could not be read at all."""
    messages = screen.messages
    for audit in audits:
        name = Styled.assemble((audit.subject.name, "bold"), (f"  {_verdicts(audit)}", "dim"))
        screen.hanging(screen.mark("good" if audit.passed else "bad"), name, indent=0)
        for violation in audit.violations:
            screen.hanging(screen.mark("bad"), messages.violation(violation.rule, violation.values))
        for violation, reason in audit.excused:
            text = messages.violation(violation.rule, violation.values)
            screen.hanging(screen.mark("none"), messages.ui("audit-excused", text=text, reason=reason))
    failed = sum(not a.passed for a in audits)
    if failed:
        screen.say(messages.ui("audit-failed", failed=failed, count=len(audits)), "red")
    elif audits and not unread:
        screen.say(messages.ui("audit-passed", count=len(audits)), "green")
    if unread:
        screen.say(messages.ui("audit-unread", count=unread), "yellow")


def _verdicts(audit: Audit) -> str:
    """The GPUs by what serves them: ``native sm_80 sm_90, none sm_120``."""
    by_verdict: dict[str, list[str]] = {}
    for device, package in audit.judged.items():
        by_verdict.setdefault(package.verdict.value, []).append(device.sm)
    return ", ".join(f"{verdict} {' '.join(names)}" for verdict, names in by_verdict.items())
