"""SARIF 2.1.0 for code-scanning tools: audits of wheels, and diagnoses (OASIS standard, sarif-v2.1.0)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from archfit import __version__
from archfit.audit import RULES, Audit, Violation
from archfit.model import Diagnosis, Finding, Severity, State, Subject
from archfit.report.messages import Messages

Document = dict[str, Any]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL_OF = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_LEVELS = {"gpu-jit": "warning", "wheel-too-large": "warning"}


def sarif_document(audits: Sequence[Audit], failures: Sequence[tuple[str, str]], messages: Messages) -> Document:
    """One run with a rule for each kind of violation, a result for each violation; what an exception covers is suppressed.

    `failures` are what could not be read at all, with the reason in words: the run tells that it did not succeed.
    """
    results = [
        _result(audit, violation, messages, reason)
        for audit in audits
        for violation, reason in [*((v, None) for v in audit.violations), *audit.excused]
    ]
    run = {
        "tool": {"driver": _driver([_rule(rule, messages) for rule in RULES])},
        "invocations": [{"executionSuccessful": not failures, "toolExecutionNotifications": _notes(failures)}],
        "artifacts": [{"location": {"uri": uri}} for uri in dict.fromkeys(_uri(audit.subject) for audit in audits)],
        "results": results,
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def diagnosis_sarif(diagnosis: Diagnosis, messages: Messages) -> Document:
    """One run with a result for each finding, at the environment, with the file in it by name; ids of findings are rules.

    What could not be decided is a notification, and the run then did not succeed.
    """
    env = diagnosis.environment
    undecided = [o for o in diagnosis.outcomes if o.state in (State.UNDECIDED, State.CRASHED)]
    notes = [(o.check, messages.text(o.reason)) for o in undecided if o.reason]
    ids = list(dict.fromkeys(finding.id for finding in diagnosis.findings))
    run = {
        "tool": {"driver": _driver([{"id": rule} for rule in ids])},
        "invocations": [{"executionSuccessful": not undecided, "toolExecutionNotifications": _notes(notes)}],
        "results": [_found(finding, ids, env.root, messages) for finding in diagnosis.findings],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _found(finding: Finding, ids: Sequence[str], root: Path, messages: Messages) -> Document:
    uri = quote(Path(os.path.relpath(root)).as_posix(), safe="/+=@,~")
    return {
        "ruleId": finding.id,
        "ruleIndex": ids.index(finding.id),
        "level": _LEVEL_OF[finding.severity],
        "message": {"text": f"{messages.title(finding)}. {messages.detail(finding)}"},
        "locations": [_location(uri, finding.subject)],
        "partialFingerprints": {"archfit/v1": f"{finding.id}:{finding.subject}"},
        **({"properties": {"fix": messages.runnable(finding.fix)}} if finding.fix else {}),
    }


def _driver(rules: Sequence[Document]) -> Document:
    return {"name": "archfit", "version": __version__, "semanticVersion": __version__, "rules": list(rules)}


def _notes(failures: Sequence[tuple[str, str]]) -> list[Document]:
    return [{"level": "error", "message": {"text": reason}} for _, reason in failures]


def _rule(rule: str, messages: Messages) -> Document:
    return {
        "id": rule,
        "shortDescription": {"text": messages.ui(f"audit-rule-{rule}")},
        "defaultConfiguration": {"level": _LEVELS.get(rule, "error")},
    }


def _result(audit: Audit, violation: Violation, messages: Messages, reason: str | None) -> Document:
    device = violation.device.sm if violation.device else ""
    uri = _uri(audit.subject)
    return {
        "ruleId": violation.rule,
        "ruleIndex": RULES.index(violation.rule),
        "level": _LEVELS.get(violation.rule, "error"),
        "message": {"text": messages.violation(violation.rule, violation.values)},
        "locations": [_location(uri, violation.library)],
        "partialFingerprints": {"archfit/v1": f"{violation.rule}:{uri}:{violation.library}:{device}"},
        **({"suppressions": [_suppression(reason)]} if reason is not None else {}),
    }


def _location(uri: str, library: str) -> Document:
    """The file, since code scanning needs one, with the first line that it asks for; the library in it by name."""
    region = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
    place: Document = {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}
    if library:
        place["logicalLocations"] = [{"fullyQualifiedName": library, "kind": "module"}]
    return place


def _suppression(reason: str) -> Document:
    return {"kind": "external", "status": "accepted", "justification": reason}


def _uri(subject: Subject) -> str:
    """Relative to where archfit ran, which for code scanning is the root of the repository; a requirement's is its wheel."""
    path = Path(subject.file if subject.kind == "requirement" else subject.name)
    if path.is_absolute():
        path = Path(os.path.relpath(path))
    return quote(path.as_posix(), safe="/+=@,~")
