"""Pages: one file each that needs no network, in both languages, for a screen, a phone, a screen reader and paper.

The templates hold what a page says and in which order; here stands what they ask for. Everything is escaped by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from archfit.arch import ComputeCapability
from archfit.catalog import load_catalog
from archfit.coverage import judge_subject
from archfit.errors import ArchfitError
from archfit.model import (
    Diagnosis,
    Environment,
    Evidence,
    Explanation,
    LockedPackage,
    Option,
    Plan,
    Proof,
    Subject,
    Unsolved,
    Verification,
)
from archfit.report.heatmap import HeatMap, Row, map_environment, map_subject
from archfit.report.html_engine import render
from archfit.report.html_words import Said, facts_of, status_of
from archfit.report.messages import Messages

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Page:
    """What a page tells; what is empty is left out.

    `after`, `option`, `changes` and `left_over` belong to an upgrade, of which `diagnosis` is what was before. `devices` are
    the GPUs for which `subjects` are judged; `failures` are what could not be scanned.
    """

    command: str
    diagnosis: Diagnosis | None = None
    plan: Plan | None = None
    verification: Verification | None = None
    after: Diagnosis | None = None
    option: Option | None = None
    changes: Sequence[LockedPackage] = ()
    left_over: Sequence[Unsolved] = ()
    subjects: Sequence[Subject] = ()
    devices: Sequence[ComputeCapability] = ()
    failures: Sequence[tuple[str, ArchfitError]] = ()
    explanation: Explanation | None = None


def render_page(page: Page, messages: Messages, when: datetime) -> str:
    """The page as one HTML file; it opens in the language of `messages`, and the other one is a click away."""
    env = page.after.environment if page.after else page.diagnosis.environment if page.diagnosis else None
    subjects = [_subject(s, page.devices) for s in page.subjects]
    named = str(env.root) if env else subjects[0].title if subjects else ""
    return render(
        "report.html.j2",
        messages,
        when,
        title=lambda m: m.page(f"title-{page.command}", target=named),
        command=page.command,
        page=page,
        environment=env,
        facts=facts_of(env) if env else {},
        status=_status_of_page(page),
        heat=_heat_of(env) if env else (),
        subjects=subjects,
        evidence=_failures_first(page.verification.evidence) if page.verification else (),
    )


def _status_of_page(page: Page) -> Said | None:
    if page.verification and not page.after:
        failed = sum(e.status is Proof.FAILED for e in page.verification.evidence)
        proven = page.verification.passed and page.verification.reached
        key = ("failed", "bad") if failed else ("proven", "good") if proven else ("unproven", "warn")
        return Said(*key, failed or sum(e.status is Proof.PASSED for e in page.verification.evidence))
    diagnosis = page.after or page.diagnosis
    return status_of(diagnosis) if diagnosis else None


@dataclass(frozen=True, slots=True)
class _Scanned:
    """A subject as the page shows it."""

    record: Subject
    title: str
    heat: HeatMap
    libraries: tuple[Any, ...]
    words: dict[str, str]


def _subject(subject: Subject, devices: Sequence[ComputeCapability]) -> _Scanned:
    libraries = tuple(lib for lib in subject.libraries if lib.containers)
    containers = [c for lib in libraries for c in lib.containers]
    words = {
        "files": f"{len(subject.libraries) + len(subject.compilers):,}",
        "with_code": f"{len(libraries):,}",
        "containers": f"{sum(c.count for c in containers):,}",
        "objects": f"{sum(c.count * len(c.objects) for c in containers):,}",
    }
    title = subject.file if subject.kind == "requirement" else subject.name
    return _Scanned(subject, title, _with_whole(subject, map_subject(subject, devices), devices), libraries, words)


def _with_whole(subject: Subject, heat: HeatMap, devices: Sequence[ComputeCapability]) -> HeatMap:
    """What all of it together can do, above its libraries."""
    if len(heat.rows) < 2:
        return heat
    name = str(subject.distributions[0]) if len(subject.distributions) == 1 else subject.name
    judged = [judge_subject(subject, device, load_catalog().loading_of) for device in devices]
    notes = tuple(", ".join(package.decided_by) for package in judged)
    return replace(heat, rows=(Row(name, tuple(package.verdict for package in judged), notes), *heat.rows))


def _heat_of(env: Environment) -> tuple[HeatMap, ...]:
    """By package, and library by library, on every generation that is known and on the GPUs of the machine."""
    devices = sorted({*load_catalog().generations, *(gpu.capability for gpu in env.devices)})
    maps = [map_environment(env, devices, libraries=libraries) for libraries in (False, True)]
    return tuple(maps) if maps[0].rows else ()


def _failures_first(evidence: Sequence[Evidence]) -> list[Evidence]:
    return sorted(evidence, key=lambda e: e.status is not Proof.FAILED)
