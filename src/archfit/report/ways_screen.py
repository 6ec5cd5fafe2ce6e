"""What becomes of extensions with the best way out: in the terminal, as Markdown and as JSON."""

from __future__ import annotations

from typing import Any

from rich.text import Text as Styled

from archfit.model import Option, Plan, Way
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


def show_ways(screen: Screen, plan: Plan) -> None:
    """Package by package: what becomes of it, why, and the commands."""
    option = option_with_ways(plan)
    if option is None:
        return
    screen.out.print()
    screen.say(_heading(screen.messages, option), "bold")
    for way in option.extensions:
        screen.hanging(screen.mark(MARKS[way.kind]), Styled(way_title(screen.messages, way)))
        for text in way.why:
            screen.hanging(Styled(" "), Styled(screen.messages.text(text), style="dim"), indent=4)
        for command in way.pip:  # the documents have uv's, too
            screen.command(command)


def way_lines(messages: Messages, plan: Plan) -> list[str]:
    """The same as Markdown."""
    option = option_with_ways(plan)
    if option is None:
        return []
    lines = ["", f"## {_heading(messages, option)}"]
    for way in option.extensions:
        lines += ["", f"### {way_title(messages, way)}", "", *(f"- {messages.text(text)}" for text in way.why)]
        if way.acts:
            lines += ["", "```", *dict.fromkeys([*way.pip, *way.uv]), "```"]
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


def way_title(messages: Messages, way: Way) -> str:
    """``mmcv 2.2.0 -> mmcv 2.2.0: compiled again``."""
    kind = messages.ui(f"way-kind-{way.kind}")
    moved = f"{way.package} {way.current}"
    if way.acts:
        moved += f" -> {way.name} {way.wanted or messages.ui('newest')}"
    return messages.ui("labelled", label=moved, text=kind)
