"""Pages: one file each that needs no network, in both languages, for a screen, a phone, a screen reader and paper.

The templates hold what a page says and in which order; here stands what they ask for. Everything is escaped by default.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfit import __version__
from archfit.arch import ComputeCapability, Verdict
from archfit.catalog import load_catalog
from archfit.coverage import base_targets_of, judge_subject
from archfit.errors import ArchfitError
from archfit.model import (
    Diagnosis,
    DriverRelease,
    Environment,
    Evidence,
    Explanation,
    Finding,
    Known,
    LockedPackage,
    Option,
    Outcome,
    Plan,
    Proof,
    Severity,
    State,
    Status,
    Subject,
    Unsolved,
    Verification,
)
from archfit.report.areas import mark_of
from archfit.report.heatmap import LOOKS, HeatMap, Row, map_environment, map_subject
from archfit.report.messages import Language, Messages
from archfit.report.screen import size

if TYPE_CHECKING:
    from jinja2 import Environment as Templates

_FOLDER = Path(__file__).with_name("templates")
_LANGUAGES: tuple[tuple[Language, str], ...] = (("en", "en"), ("zh", "zh-Hans"))


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


@dataclass(frozen=True, slots=True)
class Sheet:
    """The page in one language; `tag` is the language as browsers call it."""

    language: Language
    tag: str
    messages: Messages
    title: str


@dataclass(frozen=True, slots=True)
class Said:
    """A status: a key of the sentences, how many, and its colour: good, warn, bad or none."""

    key: str
    kind: str
    count: int = 0


@dataclass(frozen=True, slots=True)
class FactLine:
    """A fact and where it comes from; an empty value is not known."""

    value: str
    note: str = ""


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


def render(
    template: str, messages: Messages, when: datetime, *, title: Any, scripts: Sequence[str] = (), **values: Any
) -> str:
    """A template with both languages, the style sheet and the scripts of `templates/` in it; `title` is made of Messages."""
    sheets = [_sheet(language, tag, messages, title) for language, tag in _LANGUAGES]
    texts = [_asset(name) for name in ("page.js", *scripts)]
    return (
        _templates()
        .get_template(template)
        .render(
            sheets=sheets,
            first=next(sheet for sheet in sheets if sheet.language == messages.language),
            style=_asset("page.css"),
            scripts={"texts": texts, "policy": " ".join(map(_hash, texts))},
            version=__version__,
            when=when.isoformat(sep=" ", timespec="minutes"),
            **values,
        )
    )


def facts_of(env: Environment) -> dict[str, FactLine | str]:
    """What is known of the machine and the environment, for the head of a page; `pretended` is what was made up."""
    python = env.interpreter.value if isinstance(env.interpreter, Known) else None
    driver = env.driver.value if isinstance(env.driver, Known) else None
    torch = env.distribution("torch")
    pretended = [f"{g.name} ({g.capability})" for g in env.devices if g.pretended]
    if driver and driver.source.startswith("--driver"):
        pretended.append(driver.source)
    gpus = ", ".join(dict.fromkeys(g.name for g in env.gpus.value)) if isinstance(env.gpus, Known) else ""
    return {
        "gpu": FactLine(gpus, ", ".join(g.capability.sm for g in env.devices)),
        "driver": FactLine(str(driver.release), f"CUDA {driver.cuda}" if driver.cuda else "")
        if driver
        else FactLine(""),
        "python": FactLine(python.version, python.platform) if python else FactLine(""),
        "torch": FactLine(torch.version if torch else ""),
        "cuda": FactLine(str(env.torch_cuda.value) if isinstance(env.torch_cuda, Known) else ""),
        "pretended": ", ".join(pretended),
    }


def _sheet(language: Language, tag: str, messages: Messages, title: Callable[[Messages], str]) -> Sheet:
    own = messages if messages.language == language else Messages(language, messages.program)
    return Sheet(language, tag, own, title(own))


def _status_of(diagnosis: Diagnosis) -> Said:
    errors = sum(f.severity is Severity.ERROR for f in diagnosis.findings)
    kind = {Status.OK: "good", Status.PROBLEMS: "bad", Status.UNDECIDED: "warn"}[diagnosis.status]
    return Said(diagnosis.status.value, kind, errors)


def _status_of_page(page: Page) -> Said | None:
    if page.verification and not page.after:
        failed = sum(e.status is Proof.FAILED for e in page.verification.evidence)
        proven = page.verification.passed and page.verification.reached
        key = ("failed", "bad") if failed else ("proven", "good") if proven else ("unproven", "warn")
        return Said(*key, failed or sum(e.status is Proof.PASSED for e in page.verification.evidence))
    diagnosis = page.after or page.diagnosis
    return _status_of(diagnosis) if diagnosis else None


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


# --- what the templates call -----------------------------------------------------------------------------------------


def _others_of(diagnosis: Diagnosis) -> list[Finding]:
    return [f for f in diagnosis.findings if f is not diagnosis.primary]


def _said_of(messages: Messages, outcome: Outcome) -> str:
    said = "; ".join(messages.title(f) for f in outcome.findings)
    said = said or (messages.text(outcome.reason) if outcome.reason else "")
    return messages.labelled("skipped", said) if outcome.state is State.NOT_APPLICABLE else said


@dataclass(frozen=True, slots=True)
class _ToDo:
    """What to do, and the command that does it."""

    said: str
    command: str


def _steps_of(messages: Messages, page: Page) -> list[_ToDo]:
    """The way out in as few commands as there are: a driver comes first and is not all where torch lacks code, too."""
    diagnosis, plan = page.diagnosis, page.plan
    if diagnosis is None or diagnosis.primary is None:
        return []
    env = diagnosis.environment
    driver = plan.options[0] if plan and plan.options[0].kind == "driver" else None
    after = next((o for o in plan.options if o.kind in ("upgrade", "nightly")), None) if plan else None
    if driver is None:
        said = messages.text(plan.options[0].summary) if plan else ""
        return [_ToDo(said, diagnosis.primary.fix)] if diagnosis.primary.fix else []
    steps = [_ToDo(messages.text(driver.summary), "\n".join(driver.pip))]
    if after and any(f.severity is Severity.ERROR for f in _others_of(diagnosis)):
        steps.append(_ToDo(messages.text(after.summary), _with_driver(env, driver.requires.driver).cure))
    return steps


def _with_driver(env: Environment, release: DriverRelease | None) -> Environment:
    """The same with the driver that was installed first, where the one at hand is only pretended."""
    if release and isinstance(env.driver, Known) and env.driver.value.source.startswith("--driver"):
        driver = replace(env.driver.value, release=release, source=f"--driver {release}")
        return replace(env, driver=Known(driver, env.driver.source))
    return env


def _verdict_of(messages: Messages, verdict: Verdict, note: str) -> str:
    """A verdict in words, with what decided it: numbers of containers, or names of libraries."""
    if verdict is Verdict.NO_GPU_CODE:
        return messages.page("no-gpu-code")
    said = messages.page("verdict", verdict=verdict.value, means=messages.ui(f"scan-{verdict.value}"))
    if not note:
        return said
    counted = note.rpartition(" ")[2].isdigit()
    return messages.page("verdict-counted" if counted else "verdict-decided", said=said, note=note)


def _whys_of(messages: Messages, option: Option) -> list[str]:
    return list(dict.fromkeys(messages.text(t) for step in option.steps for t in step.why))


def _needs_of(messages: Messages, option: Option) -> str:
    needs = option.requires
    said = [
        messages.ui("requires-driver", driver=needs.driver) if needs.driver else "",
        messages.ui("requires-python", python=needs.python) if needs.python else "",
        messages.ui("requires-download", size=size(needs.download_bytes)) if needs.download_bytes else "",
        messages.ui("requires-disk", size=size(needs.disk_bytes)) if needs.disk_bytes else "",
    ]
    return messages.ui("separator").join(filter(None, said))


@cache
def _templates() -> Templates:
    from jinja2 import Environment as Templates
    from jinja2 import FileSystemLoader, StrictUndefined

    made = Templates(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    made.globals |= {
        "signs": {verdict.value: look.sign for verdict, look in LOOKS.items()},
        "size": size,
        "facts_of": facts_of,
        "status_of": _status_of,
        "others_of": _others_of,
        "mark_of": mark_of,
        "said_of": _said_of,
        "steps_of": _steps_of,
        "verdict_of": _verdict_of,
        "whys_of": _whys_of,
        "needs_of": _needs_of,
        "targets_of": base_targets_of,
    }
    return made


@cache
def _asset(name: str) -> Any:
    """A style sheet or a script of ours, which needs no escaping."""
    from markupsafe import Markup

    return Markup((_FOLDER / name).read_text("utf-8"))


def _hash(script: str) -> str:
    """The page runs this script and no other: not even one that a hostile name smuggled in."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
