"""The release gate for wheel authors: does every library that must have code for a GPU have it?

A policy says which GPUs are required. It stands on the command line, in ``[tool.archfit.audit]`` of a ``pyproject.toml``,
or both; what the command line says wins.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from archfit.arch import ComputeCapability, Verdict
from archfit.coverage import Loading, PackageCoverage, judge_subject
from archfit.errors import UsageError
from archfit.model import Library, Subject, Values

Rule = Literal["gpu-missing", "gpu-partial", "gpu-jit", "wheel-too-large", "file-unreadable", "no-gpu-code"]
RULES: tuple[Rule, ...] = ("gpu-missing", "gpu-partial", "gpu-jit", "wheel-too-large", "file-unreadable", "no-gpu-code")

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "require": ((str, float, list), '["7.5", "12.0"]'),
    "allow-jit": ((bool,), "true, false"),
    "max-size": ((str, int), '"900MB"'),
    "exceptions": ((list,), "[[tool.archfit.audit.exceptions]]"),
}
"""What each setting may be, and an example of it."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*((?:[KMGT]i?)?)B?", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


@dataclass(frozen=True, slots=True)
class Exemption:
    """Libraries (a pattern of names or paths) that may lack GPUs: any where `lacks` is empty. The report says `reason`."""

    library: str
    lacks: tuple[ComputeCapability, ...]
    reason: str

    def covers(self, library: Library, device: ComputeCapability) -> bool:
        """May this library lack this GPU?"""
        name = library.path if "/" in self.library else library.name
        return fnmatchcase(name, self.library) and (not self.lacks or device in self.lacks)


@dataclass(frozen=True, slots=True)
class Policy:
    """What is required: GPUs, whether PTX that the driver must compile is enough, and the largest size of a file in bytes."""

    require: tuple[ComputeCapability, ...] = ()
    allow_jit: bool = False
    max_bytes: int | None = None
    exemptions: tuple[Exemption, ...] = ()


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that is not met: by which library (empty: by the whole), for which GPU."""

    rule: Rule
    library: str
    device: ComputeCapability | None
    values: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Audit:
    """The answer for one subject; `excused` are violations that an exemption covers, with its reason."""

    subject: Subject
    violations: tuple[Violation, ...]
    excused: tuple[tuple[Violation, str], ...]
    judged: dict[ComputeCapability, PackageCoverage]

    @property
    def passed(self) -> bool:
        """True if nothing is violated."""
        return not self.violations


def audit(subject: Subject, policy: Policy, loading_of: Callable[[str], Loading]) -> Audit:
    """Hold `subject` against `policy`."""
    judged = {device: judge_subject(subject, device, loading_of) for device in policy.require}
    found = [v for device, package in judged.items() for v in _device_violations(subject, policy, device, package)]
    found += [Violation("file-unreadable", name, None, {"file": name, "why": why}) for name, why in subject.unreadable]
    if judged and all(package.verdict is Verdict.NO_GPU_CODE for package in judged.values()):
        found.append(Violation("no-gpu-code", "", None))
    found += _too_large(subject, policy)
    excused = [(v, reason) for v in found if (reason := _excuse(v, subject, policy)) is not None]
    kept = {id(v) for v, _ in excused}
    return Audit(subject, tuple(v for v in found if id(v) not in kept), tuple(excused), judged)


def _too_large(subject: Subject, policy: Policy) -> list[Violation]:
    """The file itself; of a folder or an environment, each library."""
    sizes = [("", subject.size_bytes)] if subject.size_bytes else [(b.path, b.size_bytes) for b in subject.libraries]
    return [
        Violation(
            "wheel-too-large",
            path,
            None,
            {"file": path or subject.file or subject.name, "size": f"{size:,}", "limit": f"{policy.max_bytes:,}"},
        )
        for path, size in sizes
        if policy.max_bytes is not None and size > policy.max_bytes
    ]


def _device_violations(
    subject: Subject, policy: Policy, device: ComputeCapability, package: PackageCoverage
) -> list[Violation]:
    """The libraries that keep the package from serving a GPU: those that decide its verdict."""
    rules: dict[Verdict, Rule] = {Verdict.NONE: "gpu-missing", Verdict.PARTIAL: "gpu-partial"}
    if not policy.allow_jit:
        rules[Verdict.JIT] = "gpu-jit"
    if package.verdict in (Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.NO_GPU_CODE):
        return []
    by_path = {lib.path: lib for lib in subject.libraries}
    violations = []
    for path in package.decided_by:
        coverage = package.libraries[path]
        if rule := rules.get(coverage.verdict):
            values = {
                "library": by_path[path].name,
                "sm": device.sm,
                "missing": str(coverage.counts.get(Verdict.NONE, 0)),
                "total": str(sum(coverage.counts.values())),
                "isa": coverage.ptx_isa or "-",
            }
            violations.append(Violation(rule, path, device, values))
    return violations


def _excuse(violation: Violation, subject: Subject, policy: Policy) -> str | None:
    library = next((lib for lib in subject.libraries if lib.path == violation.library), None)
    if library is None or violation.device is None:
        return None
    device = violation.device
    return next((e.reason for e in policy.exemptions if e.covers(library, device)), None)


# --- where a policy comes from ---------------------------------------------------------------------------------------


def read_policy(path: Path) -> Policy:
    """The policy in ``[tool.archfit.audit]`` of a ``pyproject.toml``; an empty one where there is no such table.

    Raises:
        UsageError: the file cannot be read, or a key or value in the table cannot be meant.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError("policy-unreadable", path=path, cause=getattr(error, "strerror", None) or error) from error
    table = document
    for name in ("tool", "archfit", "audit"):
        table = table.get(name, {}) if isinstance(table, dict) else {}
    return parse_policy(table, str(path))


def parse_policy(table: Any, where: str) -> Policy:
    """The policy that a table holds; raises UsageError for what cannot be meant."""
    if not isinstance(table, dict):
        raise UsageError("policy-type", setting="audit", where=where, wanted="[tool.archfit.audit]")
    for key in sorted(table.keys() - _TYPES.keys()):
        raise UsageError("policy-key", setting=key, where=where, known=", ".join(sorted(_TYPES)))
    for key, value in table.items():
        types, wanted = _TYPES[key]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise UsageError("policy-type", setting=key, where=where, wanted=wanted)
    size = table.get("max-size")
    return Policy(
        parse_capabilities(table.get("require", ()), where),
        table.get("allow-jit", False),
        parse_size(str(size)) if size is not None else None,
        tuple(_exemption(row, where) for row in table.get("exceptions", ())),
    )


def override(
    policy: Policy, require: tuple[ComputeCapability, ...], max_bytes: int | None, *, allow_jit: bool
) -> Policy:
    """`policy` with what the command line says instead."""
    return replace(
        policy,
        require=require or policy.require,
        max_bytes=max_bytes if max_bytes is not None else policy.max_bytes,
        allow_jit=allow_jit or policy.allow_jit,
    )


def parse_capabilities(words: object, where: str = "--require") -> tuple[ComputeCapability, ...]:
    """Read ``7.5,8.0,12.0`` (or with blanks or semicolons between them) or a list of such; raises UsageError."""
    texts = words if isinstance(words, list | tuple) else [words]
    found = []
    for word in (part for text in texts for part in re.split(r"[,;\s]+", str(text)) if part):
        try:
            found.append(ComputeCapability.parse(word))
        except ValueError:
            raise UsageError("policy-capability", word=word, where=where) from None
    return tuple(dict.fromkeys(found))


def parse_size(text: str) -> int:
    """Read ``900MB``, ``1.5 GiB`` or a number of bytes; raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise UsageError("policy-size", text=text)
    return round(float(match[1]) * _UNITS[match[2].lower()])


def _exemption(row: Any, where: str) -> Exemption:
    """A misspelt key would excuse more than was meant."""
    known = isinstance(row, dict) and row.keys() <= {"library", "lacks", "reason"}
    if not known or not row.get("library") or not row.get("reason"):
        raise UsageError("policy-exception", where=where)
    return Exemption(str(row["library"]), parse_capabilities(row.get("lacks", ()), where), str(row["reason"]))
