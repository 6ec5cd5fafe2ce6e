"""The words of a page that take some thought: what a template asks for beside the sentences themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace

from archfit.arch import Verdict
from archfit.model import (
    Diagnosis,
    DriverRelease,
    Environment,
    Finding,
    Known,
    Option,
    Outcome,
    Plan,
    Severity,
    State,
    Status,
)
from archfit.report.messages import Messages
from archfit.report.screen import size
from archfit.report.ways_screen import compiled, rebuilt


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


def facts_of(env: Environment) -> dict[str, FactLine | str]:
    """What is known of the machine and the environment, for the head of a page; `pretended` is what was made up."""
    python = env.interpreter.value if isinstance(env.interpreter, Known) else None
    driver = env.driver.value if isinstance(env.driver, Known) else None
    torch = env.distribution("torch")
    pretended = [gpu.name for gpu in env.devices if gpu.pretended]
    if driver and driver.source.startswith("--driver"):
        pretended.append(driver.source)
    gpus = ", ".join(dict.fromkeys(g.name for g in env.gpus.value)) if isinstance(env.gpus, Known) else ""
    return {
        "gpu": FactLine(gpus, ", ".join(f"{g.capability} = {g.capability.sm}" for g in env.devices)),
        "driver": FactLine(str(driver.release), f"CUDA {driver.cuda}" if driver.cuda else "")
        if driver
        else FactLine(""),
        "python": FactLine(python.version, python.platform) if python else FactLine(""),
        "torch": FactLine(torch.version if torch else ""),
        "cuda": FactLine(str(env.torch_cuda.value) if isinstance(env.torch_cuda, Known) else ""),
        "pretended": ", ".join(pretended),
    }


def status_of(diagnosis: Diagnosis) -> Said:
    """The answer of a diagnosis in a word."""
    errors = sum(f.severity is Severity.ERROR for f in diagnosis.findings)
    kind = {Status.OK: "good", Status.PROBLEMS: "bad", Status.UNDECIDED: "warn"}[diagnosis.status]
    return Said(diagnosis.status.value, kind, errors)


def others_of(diagnosis: Diagnosis) -> list[Finding]:
    """All findings but the primary one."""
    return [f for f in diagnosis.findings if f is not diagnosis.primary]


def said_of(messages: Messages, outcome: Outcome) -> str:
    """What a check has to say: what it found, or why it ended as it did."""
    said = "; ".join(messages.title(f) for f in outcome.findings)
    said = said or (messages.text(outcome.reason) if outcome.reason else "")
    return messages.labelled("skipped", said) if outcome.state is State.NOT_APPLICABLE else said


@dataclass(frozen=True, slots=True)
class ToDo:
    """What to do, and the commands that do it; each can be copied alone, since some are for one system and not for others."""

    said: str
    commands: tuple[str, ...]


def steps_of(messages: Messages, diagnosis: Diagnosis, plan: Plan | None) -> list[ToDo]:
    """The way out in as few commands as there are: a driver comes first and is not all where torch lacks code, too."""
    if diagnosis.primary is None:
        return []
    env = diagnosis.environment
    driver = plan.options[0] if plan and plan.options[0].kind == "driver" else None
    after = next((o for o in plan.options if o.kind in ("upgrade", "nightly")), None) if plan else None
    if driver is None:
        said = _with_compiled(messages, plan, plan.options[0]) if plan else ""
        return [ToDo(said, (diagnosis.primary.fix,))] if diagnosis.primary.fix else []
    steps = [ToDo(messages.text(driver.summary), driver.pip)]
    if plan and after and any(f.severity is Severity.ERROR for f in others_of(diagnosis)):
        steps.append(ToDo(_with_compiled(messages, plan, after), (_with_driver(env, driver.requires.driver).cure,)))
    return steps


def _with_compiled(messages: Messages, plan: Plan, option: Option) -> str:
    """What an option does, the packages that are compiled anew with it included."""
    summary = messages.text(option.summary)
    if option.kind == "rebuild":
        return summary
    again = (f"{way.package} {rebuilt(messages, plan.environment, way)}" for way in compiled(option))
    return messages.ui("and-then").join((summary, *again))


def _with_driver(env: Environment, release: DriverRelease | None) -> Environment:
    """The same with the driver that was installed first, where the one at hand is only pretended."""
    if release and isinstance(env.driver, Known) and env.driver.value.source.startswith("--driver"):
        driver = replace(env.driver.value, release=release, source=f"--driver {release}")
        return replace(env, driver=Known(driver, env.driver.source))
    return env


def verdict_of(messages: Messages, verdict: Verdict, note: str) -> str:
    """A verdict in words, with what decided it: numbers of containers, or names of libraries."""
    if verdict is Verdict.NO_GPU_CODE:
        return messages.page("no-gpu-code")
    said = messages.page("verdict", verdict=verdict.value, means=messages.ui(f"scan-{verdict.value}"))
    if not note:
        return said
    counted = note.rpartition(" ")[2].isdigit()
    return messages.page("verdict-counted" if counted else "verdict-decided", said=said, note=note)


def needs_of(messages: Messages, option: Option) -> str:
    """What an option needs, in one line; empty if nothing is known."""
    needs = option.requires
    said = [
        messages.ui("requires-driver", driver=needs.driver) if needs.driver else "",
        messages.ui("requires-python", python=needs.python) if needs.python else "",
        messages.ui("requires-download", size=size(needs.download_bytes)) if needs.download_bytes else "",
        messages.ui("requires-disk", size=size(needs.disk_bytes)) if needs.disk_bytes else "",
    ]
    return messages.ui("separator").join(filter(None, said))
