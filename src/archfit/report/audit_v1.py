"""The JSON of ``archfit audit`` and its few lines in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archfit.audit import Audit, Policy, Violation
from archfit.report.messages import Messages
from archfit.report.text import Screen

Document = dict[str, Any]


def audit_document(audits: Sequence[Audit], policy: Policy, messages: Messages) -> Document:
    """``archfit.audit/1``."""
    return {
        "schema": "archfit.audit/1",
        "status": "passed" if all(a.passed for a in audits) else "failed",
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
    }


def _violation(violation: Violation, messages: Messages) -> Document:
    return {
        "rule": violation.rule,
        "library": violation.library or None,
        "gpu": violation.device.sm if violation.device else None,
        "text": messages.violation(violation.rule, violation.values),
    }


def show_audits(screen: Screen, audits: Sequence[Audit]) -> None:
    """One line per subject, and what is violated below it."""
    messages = screen.messages
    for audit in audits:
        served = " ".join(f"{d.sm} {package.verdict.value};" for d, package in audit.judged.items()).rstrip(";")
        screen.hanging(screen.mark("good" if audit.passed else "bad"), f"{audit.subject.name}  {served}", indent=0)
        for violation in audit.violations:
            screen.hanging(screen.mark("bad"), messages.violation(violation.rule, violation.values))
        for violation, reason in audit.excused:
            text = messages.violation(violation.rule, violation.values)
            screen.hanging(screen.mark("none"), messages.ui("audit-excused", text=text, reason=reason))
    failed = sum(not a.passed for a in audits)
    key, style = ("audit-failed", "red") if failed else ("audit-passed", "green")
    screen.out.print(messages.ui(key, failed=failed, count=len(audits)), style=style)
