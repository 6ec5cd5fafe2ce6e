"""SARIF 2.1.0 for code-scanning tools: the audit of wheels (OASIS standard, sarif-v2.1.0)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archfit import __version__
from archfit.audit import RULES, Audit, Violation
from archfit.report.messages import Messages

Document = dict[str, Any]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"gpu-jit": "warning", "wheel-too-large": "warning"}


def sarif_document(audits: Sequence[Audit], messages: Messages) -> Document:
    """One run with a rule for each kind of violation, a result for each violation; what an exception covers is suppressed."""
    results = [
        _result(audit, violation, messages, reason)
        for audit in audits
        for violation, reason in [*((v, None) for v in audit.violations), *audit.excused]
    ]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "archfit",
                        "version": __version__,
                        "semanticVersion": __version__,
                        "rules": [_rule(rule, messages) for rule in RULES],
                    }
                },
                "artifacts": [{"location": {"uri": _uri(audit)}} for audit in audits],
                "results": results,
            }
        ],
    }


def _rule(rule: str, messages: Messages) -> Document:
    return {
        "id": rule,
        "shortDescription": {"text": messages.ui(f"audit-rule-{rule}")},
        "defaultConfiguration": {"level": _LEVELS.get(rule, "error")},
    }


def _result(audit: Audit, violation: Violation, messages: Messages, reason: str | None) -> Document:
    place = {"physicalLocation": {"artifactLocation": {"uri": _uri(audit)}}}
    if violation.library:
        place["logicalLocations"] = [{"fullyQualifiedName": violation.library, "kind": "module"}]  # type: ignore[assignment]
    return {
        "ruleId": violation.rule,
        "ruleIndex": RULES.index(violation.rule),
        "level": _LEVELS.get(violation.rule, "error"),
        "message": {"text": messages.violation(violation.rule, violation.values)},
        "locations": [place],
        "partialFingerprints": {
            "archfit/v1": f"{violation.rule}:{violation.library}:{violation.device.sm if violation.device else ''}"
        },
        **({"suppressions": [{"kind": "external", "justification": reason}]} if reason is not None else {}),
    }


def _uri(audit: Audit) -> str:
    return (audit.subject.file or audit.subject.name).replace("\\", "/").replace(" ", "%20")
