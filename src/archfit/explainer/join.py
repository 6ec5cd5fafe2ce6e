"""A log beside the environment it came from: what the bytes of the libraries say outranks what a text suggests."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from archfit.model import Cause, Culprit, Diagnosis, Explanation, Finding, Known, LogFacts

_PROVEN = 0.97
_REFUTED = 0.3

# Classes that a look at the environment can prove or refute; their findings carry the same ids.
_ARCHITECTURE = ("arch-missing-torch", "arch-dropped-torch", "arch-missing-extension", "arch-missing-framework")
_PROVABLE = (
    *_ARCHITECTURE,
    "driver-too-old",
    "cpu-only-build",
    "torch-family-mismatch",
    "ptx-toolchain",
    "open-kernel-module-required",
)


def join(explanation: Explanation, diagnosis: Diagnosis) -> Explanation:
    """Let the findings of `diagnosis` prove, refute and complete the causes of a log."""
    root = diagnosis.environment.root
    findings = {f.id: f for f in diagnosis.findings if f.id in _PROVABLE}
    causes = list(explanation.causes)
    if causes[0].id in _ARCHITECTURE or causes[0].id in findings:
        causes = _settle(causes, findings, diagnosis)
    causes[0] = _completed(causes[0], diagnosis)
    joined = tuple(replace(c, commands=tuple(dict.fromkeys(_aimed(line, root) for line in c.commands))) for c in causes)
    return replace(explanation, causes=joined, facts=_facts(explanation, joined, diagnosis), joined=root)


def _aimed(command: str, root: Path) -> str:
    """A command of archfit that names no environment, for the one that was looked at."""
    for verb in ("archfit plan", "archfit upgrade"):
        if command == verb or command.startswith(f"{verb} --"):
            return f"{verb} {shlex.quote(str(root))}{command.removeprefix(verb)}"
    return command


def _settle(causes: list[Cause], findings: dict[str, Finding], diagnosis: Diagnosis) -> list[Cause]:
    """Of the architecture classes, the one that the bytes show comes first; torch's own before an extension's."""
    first = causes[0]
    proven = next((name for name in _ARCHITECTURE if name in findings), None) if first.id in _ARCHITECTURE else first.id
    if proven is None:
        known = isinstance(diagnosis.environment.gpus, Known)
        return [replace(first, confidence=min(first.confidence, _REFUTED)), *causes[1:]] if known else causes
    found = [f for f in diagnosis.findings if f.id == proven]
    beside = next((c for c in causes if c.id == proven), first)
    best = _named(found, first) or found[0]
    if proven == first.id == "arch-missing-extension" and first.culprit.package and best is not _named(found, first):
        return causes  # the log blames another package than the one that lacks the code
    kept = replace(
        beside, id=proven, confidence=_PROVEN, evidence=first.evidence, findings=(best,), environment=True,
        culprit=_culprit_of(best, beside.culprit), commands=_commands_of(best, beside if beside.id == proven else first),
    )  # fmt: skip
    cleared = () if proven.endswith("-torch") else ("arch-missing-torch", "arch-dropped-torch")
    return [kept, *(c for c in causes if c.id not in (proven, first.id, *cleared))]


def _named(findings: Sequence[Finding], cause: Cause) -> Finding | None:
    """The finding about the package that the log names."""
    return next((f for f in findings if cause.culprit.package and f.values.get("name") == cause.culprit.package), None)


def _culprit_of(finding: Finding, known: Culprit) -> Culprit:
    named = "torch" if finding.id.endswith("-torch") else str(finding.values.get("name", ""))
    package = named or finding.subject.partition(" ")[0]
    library = finding.subject if "library" in finding.values else ""
    return Culprit(package or known.package, library or known.library)


def _commands_of(finding: Finding, cause: Cause) -> tuple[str, ...]:
    return tuple(dict.fromkeys(command for command in (finding.fix, *cause.commands) if command))


def _completed(cause: Cause, diagnosis: Diagnosis) -> Cause:
    """The package of a library that the log names by its file only."""
    if not cause.culprit.library or cause.culprit.package:
        return cause
    name = cause.culprit.library
    owner = next((d.name for d in diagnosis.environment.distributions for lib in d.libraries if lib.name == name), "")
    return replace(cause, culprit=Culprit(owner, name))


def _facts(explanation: Explanation, causes: Sequence[Cause], diagnosis: Diagnosis) -> LogFacts:
    env = diagnosis.environment
    torch = env.distribution("torch")
    gpu = env.devices[0] if env.devices else None
    at_fault = {f.id for f in diagnosis.findings} & {"arch-missing-torch", "arch-dropped-torch", "cpu-only-build"}
    cleared = ("torch",) if torch and env.devices and not at_fault and causes[0].id == "arch-missing-extension" else ()
    facts = explanation.facts
    return replace(
        facts,
        gpu=facts.gpu or (gpu.name if gpu else ""),
        capability=facts.capability or (str(gpu.capability) if gpu else ""),
        torch=facts.torch or (torch.version if torch else ""),
        cleared=cleared or facts.cleared,
    )
