"""What becomes of extensions with the best way out: in the terminal, as Markdown and as JSON."""

from __future__ import annotations

from typing import Any

from rich.text import Text as Styled

from archfit.model import Environment, Known, LockedPackage, Option, Plan, Unsolved, Way
from archfit.report.alternatives import as_shell, by_hand_of, is_done
from archfit.report.messages import Messages
from archfit.report.screen import Screen

MARKS = {"keep": "good", "wheel": "warn", "rebuild": "warn", "replace": "warn", "refused": "bad", "none": "bad"}
LEFT = ("needs-rebuild", "needs-replace", "needs-wheel", "stays-behind")
"""What stands in a plan's `unsolved` and is told here in full."""


ACTIONS = ("rebuild", "replace", "leave")
"""Steps whose reasons are told here in full."""


def reasons(messages: Messages, option: Option) -> list[str]:
    """Why an option's steps are what they are, each once; but for what is told package by package."""
    steps = [s for s in option.steps if not (option.extensions and s.action in ACTIONS)]
    return list(dict.fromkeys(messages.text(text) for step in steps for text in step.why))


def option_with_ways(plan: Plan) -> Option | None:
    """The option whose extensions are shown: the first that has any."""
    return next((option for option in plan.options if option.extensions), None)


def for_whom(messages: Messages, env: Environment) -> str:
    """The GPUs and the driver that the plan is for."""
    driver = [messages.ui("plan-driver", driver=env.driver.value.release)] if isinstance(env.driver, Known) else []
    gpus = [messages.text(gpu.called) for gpu in env.devices]
    return messages.ui("plan-for", machine=messages.ui("separator").join([*gpus, *driver]))


def compiled(option: Option) -> list[Way]:
    """The packages that are compiled anew with an option."""
    return [way for way in option.extensions if way.kind == "rebuild"]


def unsolved_of(plan: Plan) -> list[Unsolved]:
    """What stays unsolved: what is told package by package is no part of it."""
    told = LEFT if option_with_ways(plan) else ()
    return [row for row in plan.unsolved if row.text.key not in told]


def wanted_of(messages: Messages, change: LockedPackage) -> str:
    """The version that comes, and how, if it was compiled here."""
    return anew(messages, change.wanted, change.compiled_for) if change.compiled_for else change.wanted


def show_ways(screen: Screen, plan: Plan) -> None:
    """Package by package: what becomes of it, why, and the commands."""
    option = option_with_ways(plan)
    if option is None:
        return
    screen.out.print()
    screen.say(_heading(screen.messages, option), "bold")
    for way in option.extensions:
        screen.hanging(screen.mark(MARKS[way.kind]), Styled(way_title(screen.messages, plan, way)))
        for text in way.why:
            screen.hanging(Styled(" "), Styled(screen.messages.text(text), style="dim"), indent=4)
        screen.alternatives(by_hand_of(screen.messages, plan, way)[:1])  # the documents have uv's, too


def way_lines(messages: Messages, plan: Plan) -> list[str]:
    """The same as Markdown."""
    option = option_with_ways(plan)
    if option is None:
        return []
    lines = ["", f"## {_heading(messages, option)}"]
    for way in option.extensions:
        lines += ["", f"### {way_title(messages, plan, way)}", "", *(f"- {messages.text(text)}" for text in way.why)]
        if way.acts:
            lines += ["", "```", *as_shell(by_hand_of(messages, plan, way)), "```"]
    return lines


def way_document(messages: Messages, way: Way) -> dict[str, Any]:
    """One entry of ``extensions`` of an option."""
    return {
        "package": way.package,
        "from": way.current,
        "kind": way.kind,
        "name": way.name,
        "to": way.wanted,
        "index": way.index,
        "toolkit": way.toolkit,
        "minutes": way.minutes,
        "memory_bytes": way.memory_bytes,
        "why": [messages.text(text) for text in way.why],
        "commands": {"pip": list(way.pip), "uv": list(way.uv)},
    }


def _heading(messages: Messages, option: Option) -> str:
    return messages.ui("ways-heading", option=messages.text(option.summary))


def way_title(messages: Messages, plan: Plan, way: Way) -> str:
    """``mmcv 2.2.0, compiled anew for 12.0``; ``xformers 0.0.27 -> 0.0.32: another wheel``."""
    if way.kind == "rebuild":
        said = f"{way.package} {rebuilt(messages, plan.environment, way)}"
        return messages.ui("archfit-compiles", what=said) if is_done(plan, way) else said
    moved = f"{way.package} {way.current}"
    if way.acts:
        name = "" if way.name == way.package else f"{way.name} "
        moved += f" -> {name}{way.wanted or messages.ui('newest')}"
    return messages.ui("labelled", label=moved, text=messages.ui(f"way-kind-{way.kind}"))


def rebuilt(messages: Messages, env: Environment, way: Way) -> str:
    """``2.2.0, compiled anew for 12.0``; with both versions where it moves."""
    wanted = way.wanted or way.current
    version = wanted if wanted == way.current else f"{way.current} -> {wanted}"
    return anew(messages, version, ", ".join(str(gpu.capability) for gpu in env.devices))


def anew(messages: Messages, version: str, capabilities: str) -> str:
    """A version that was, or will be, compiled for these GPUs."""
    return messages.ui("compiled-anew", version=version, capabilities=capabilities)
