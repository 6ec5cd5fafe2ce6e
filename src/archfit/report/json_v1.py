"""The documents that others rely on: shapes of schema version 1. Keys are added, never renamed.

Sentences in them are in the language of the run; ids, paths, numbers and commands are the same in every language.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archfit import __version__
from archfit.model import (
    Cause,
    Diagnosis,
    Environment,
    Evidence,
    Explanation,
    Finding,
    Gpu,
    History,
    Known,
    LockedPackage,
    Option,
    Plan,
    Proof,
    SourceBuild,
    Step,
    Unknown,
    Verification,
)
from archfit.report.messages import Messages
from archfit.report.record import Upgrade
from archfit.report.source_screen import source_document
from archfit.report.ways_screen import way_document
from archfit.report.where_v1 import where_document

Document = dict[str, Any]
_ENGLISH = Messages("en")  # what is rejected is a name: the same in every language


def dump(document: Document) -> str:
    """One document as text, readable by people too."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def doctor_document(diagnosis: Diagnosis, messages: Messages) -> Document:
    """``archfit.doctor/1``."""
    env = diagnosis.environment
    return {
        "schema": "archfit.doctor/1",
        **_environment(env),
        **where_document(env),
        "status": diagnosis.status.value,
        "primary": diagnosis.primary.id if diagnosis.primary else None,
        "findings": [_finding(f, messages) for f in diagnosis.findings],
        "outcomes": [
            {
                "check": o.check,
                "state": o.state.value,
                "reason": messages.text(o.reason) if o.reason else "",
                "findings": [f.id for f in o.findings],
            }
            for o in diagnosis.outcomes
        ],
    }


def plan_document(plan: Plan, messages: Messages) -> Document:
    """``archfit.plan/1``."""
    return {
        "schema": "archfit.plan/1",
        **_environment(plan.environment),
        "environment_fingerprint": plan.environment.fingerprint,
        "notices": [messages.text(notice) for notice in plan.notices],
        "options": [_option(o, messages) for o in plan.options],
        "unsolved": [messages.text(u.text) + (f" {u.command}" if u.command else "") for u in plan.unsolved],
        "rejected": [{"option": _ENGLISH.text(r.option), "why": messages.text(r.why)} for r in plan.rejected],
        **source_document(messages, plan),
    }


def verify_document(verification: Verification, environment: Environment, status: str, messages: Messages) -> Document:
    """``archfit.verify/1``."""
    return {
        "schema": "archfit.verify/1",
        **_environment(environment),
        **where_document(environment),
        "level": verification.level,
        "status": status,
        "evidence": [_evidence(e, messages) for e in verification.evidence],
    }


def upgrade_document(
    status: str,
    before: Diagnosis,
    option: Option,
    changes: Sequence[LockedPackage],
    verification: Verification | None,
    record: Path | None,
    messages: Messages,
) -> Document:
    """``archfit.upgrade/1``; `status` is ``dry-run`` or ``done``."""
    return {
        "schema": "archfit.upgrade/1",
        **_environment(before.environment),
        "status": status,
        "option": _option(option, messages),
        "changes": [_change(c) for c in changes],
        "evidence": [_evidence(e, messages) for e in verification.evidence] if verification else [],
        "record": str(record) if record else None,
    }


def _change(package: LockedPackage) -> Document:
    return {
        "package": package.name,
        "from": package.current,
        "to": package.wanted,
        "wheel_bytes": package.wheel_bytes,
        "sha256": package.sha256,
        "index": package.index,
        "compiled_for": package.compiled_for or None,
    }


def record_document(done: Upgrade, messages: Messages) -> Document:
    """``archfit.record/1``: the upgrade record for programs."""
    before, after = done.before.environment, done.after.environment
    return {
        "schema": "archfit.record/1",
        "archfit": __version__,
        "time": done.when.isoformat(timespec="seconds"),
        "state": done.number,
        "previous_state": done.previous,
        **_environment(before),
        "before": {"torch": _environment(before)["torch"], "python": _environment(before)["python"]},
        "after": {"torch": _environment(after)["torch"], "python": _environment(after)["python"]},
        "why": [_finding(f, messages) for f in [done.before.primary] if f],
        "option": _option(done.option, messages),
        "changes": [_change(c) for c in done.changes],
        "level": done.verification.level,
        "evidence": [_evidence(e, messages) for e in done.verification.evidence],
        "not_verified": [e.probe for e in done.verification.evidence if e.status is Proof.SKIPPED],
        "left_over": [messages.text(u.text) + (f" {u.command}" if u.command else "") for u in done.left_over],
        "rollback": messages.runnable(done.rollback),
    }


def nothing_document(environment: Environment) -> Document:
    """``archfit.upgrade/1`` where there is nothing to upgrade."""
    return {"schema": "archfit.upgrade/1", **_environment(environment), "status": "nothing-to-do"}


def history_document(history: History, kept: Mapping[int, int] | None = None) -> Document:
    """``archfit.history/1``; `kept` is what each state takes on the disk for itself, in bytes, where it was counted."""
    return {
        "schema": "archfit.history/1",
        "target": str(history.root),
        "states": [
            {
                "id": s.id,
                "label": s.label,
                "from": s.origin or None,
                "time": s.time,
                "why": s.why,
                "live": s.live,
                "path": str(s.path) if s.path else None,
                "bytes_kept": (kept or {}).get(s.id),
                "verified": s.verified or None,
                "record": str(s.record) if s.record else None,
            }
            for s in history.states
        ],
        "events": [dict(entry) for entry in history.entries],
    }


def explain_document(explanation: Explanation, messages: Messages) -> Document:
    """``archfit.explain/1``; causes best first, ids from ``catalog/signatures.toml``."""
    facts = explanation.facts
    return {
        "schema": "archfit.explain/1",
        "target": str(explanation.joined) if explanation.joined else None,
        "lines": explanation.lines_total,
        "facts": {
            "gpu": facts.gpu or None,
            "compute_capability": facts.capability or None,
            "torch": facts.torch or None,
            "cuda": facts.cuda or None,
        },
        "cleared": list(facts.cleared),
        "causes": [_cause(c, messages) for c in explanation.causes],
    }


def _cause(cause: Cause, messages: Messages) -> Document:
    return {
        "id": cause.id,
        "confidence": cause.confidence,
        "environment": cause.environment,
        "title": messages.cause(cause.id, "title"),
        "detail": messages.cause(cause.id, "means"),
        "evidence": [{"line": q.line, "text": q.text} for q in cause.evidence],
        "culprit": {"package": cause.culprit.package or None, "library": cause.culprit.library or None},
        "fix": messages.runnable("\n".join(cause.commands)) or messages.cause(cause.id, "fix"),
        "advice": messages.cause(cause.id, "fix"),
        "commands": [messages.runnable(command) for command in cause.commands],
        "signature": cause.row or None,
        "findings": [_finding(f, messages) for f in cause.findings],
    }


def _environment(env: Environment) -> Document:
    python = env.interpreter.value if isinstance(env.interpreter, Known) else None
    torch = env.distribution("torch")
    return {
        "target": str(env.root),
        "target_chosen": env.chosen,
        "python": {
            "executable": str(env.python),
            "version": python.version if python else None,
            "tag": python.tag if python else None,
            "platform": python.platform if python else None,
        },
        "torch": {
            "version": torch.version if torch else None,
            "cuda": str(env.torch_cuda.value) if isinstance(env.torch_cuda, Known) else None,
        },
        "gpus": [_gpu(g) for g in env.gpus.value] if isinstance(env.gpus, Known) else [],
        "driver": _driver(env),
        "pretended": [s for s in _sources(env) if s.startswith("--")],
    }


def _sources(env: Environment) -> Sequence[str]:
    gpus = [g.source for g in env.gpus.value] if isinstance(env.gpus, Known) else []
    return [*dict.fromkeys(gpus), *([env.driver.value.source] if isinstance(env.driver, Known) else [])]


def _gpu(gpu: Gpu) -> Document:
    return {"name": gpu.name, "compute_capability": str(gpu.capability), "source": gpu.source}


def _driver(env: Environment) -> Document:
    if isinstance(env.driver, Unknown):
        return {"release": None, "cuda": None, "source": None, "unknown": env.driver.reason}
    driver = env.driver.value
    return {
        "release": str(driver.release),
        "cuda": str(driver.cuda) if driver.cuda else None,
        "source": driver.source,
        "open_kernel_module": driver.open_module,
    }


def _finding(finding: Finding, messages: Messages) -> Document:
    return {
        "id": finding.id,
        "severity": finding.severity.value,
        "subject": finding.subject,
        "title": messages.title(finding),
        "detail": messages.detail(finding),
        "values": messages.values(finding.values),
        "evidence": [{"source": f.source, "text": messages.text(f.text)} for f in finding.evidence],
        "fix": finding.fix or None,
    }


def _option(option: Option, messages: Messages) -> Document:
    torch = option.torch
    return {
        "kind": option.kind,
        "summary": messages.text(option.summary),
        "steps": [_step(s, messages) for s in option.steps],
        "torch": {"version": torch.version, "cuda": torch.cuda, "index": torch.index} if torch else None,
        "requires": {
            "driver": str(option.requires.driver) if option.requires.driver else None,
            "python": option.requires.python,
            "disk_bytes": option.requires.disk_bytes,
            "download_bytes": option.requires.download_bytes,
        },
        "risks": [messages.text(r) for r in option.risks],
        "locked": [_locked(package) for package in option.locked],
        "extensions": [way_document(messages, way) for way in option.extensions],
        "source_build": _source_build(option.source) if option.source else None,
        "commands": {"pip": list(option.pip), "uv": list(option.uv)},
    }


def _source_build(build: SourceBuild) -> Document:
    return {
        "release": build.release,
        "cuda": str(build.cuda),
        "arch_list": build.arch_list,
        "python": str(build.python),
        "gcc_from": build.gcc_from,
        "gcc_below": build.gcc_below,
        "disk_gb": build.disk_gb,
        "job_gb": build.job_gb,
    }


def _locked(package: LockedPackage) -> Document:
    return {
        "name": package.name,
        "from": package.current,
        "version": package.wanted,
        "index": package.index,
        "bytes": package.wheel_bytes,
        "sha256": list(package.hashes),
    }


def _step(step: Step, messages: Messages) -> Document:
    return {
        "action": step.action,
        "package": step.package,
        "from": step.current,
        "to": step.wanted,
        "index": step.index,
        "unsafe": step.unsafe,
        "why": [messages.text(t) for t in step.why],
    }


def _evidence(evidence: Evidence, messages: Messages) -> Document:
    return {
        "probe": evidence.probe,
        "status": evidence.status.value,
        "measured": evidence.measured or None,
        "expected": evidence.expected or None,
        "tolerance": evidence.tolerance or None,
        "device": evidence.device or None,
        "seconds": evidence.seconds,
        "reason": messages.because(evidence) or None,
        "package": evidence.package or None,
    }
