"""``archfit plan`` and what ``archfit upgrade`` says before it changes anything."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text as Styled

from archfit.model import LockedPackage, Option, Plan
from archfit.report.alternatives import alternatives_of
from archfit.report.prose import Prose
from archfit.report.screen import Screen, size
from archfit.report.source_screen import show_source
from archfit.report.ways_screen import compiled, for_whom, reasons, rebuilt, show_ways, unsolved_of, wanted_of


def show_plan(screen: Screen, plan: Plan) -> None:
    """The ways out, what none of them solves, what does not help."""
    title = "plan-none" if plan.options[0].kind == "none" else "plan-title"
    screen.out.print(screen.messages.ui(title, target=plan.environment.root), style="bold", soft_wrap=True)
    if plan.environment.devices:
        screen.say(for_whom(screen.messages, plan.environment), "dim")
    for notice in plan.notices:
        screen.hanging(screen.mark("warn"), screen.messages.text(notice))
    for number, option in enumerate(plan.options, 1):
        _option(screen, number, option, plan)
    show_ways(screen, plan)
    show_source(screen, plan)
    if unsolved := unsolved_of(plan):
        screen.section("unsolved")
        screen.left_over(unsolved)
    if plan.rejected:
        screen.section("rejected")
    for rejected in plan.rejected:
        screen.hanging(screen.mark("bad"), screen.messages.rejected(rejected))


def show_changes(screen: Screen, changes: Sequence[LockedPackage]) -> None:
    """The packages that a resolved upgrade replaces."""
    table = screen.table("column-package", "column-from", "column-to", "column-size")
    for change in changes:
        table.add_row(change.name, change.current or "-", wanted_of(screen.messages, change), size(change.wheel_bytes))
    screen.out.print(table)


def show_needs(screen: Screen, option: Option) -> None:
    """What an option needs, and what to mind."""
    messages = screen.messages
    screen.say(messages.labelled("requires", messages.ui("separator").join(_needs(screen, option))))
    for risk in option.risks:
        screen.say(messages.labelled("risks", messages.text(risk)), "yellow")


def show_commands(screen: Screen, option: Option, plan: Plan | None = None) -> None:
    """Every way to carry out an option; by hand alone without a plan."""
    screen.alternatives(alternatives_of(screen.messages, option, plan))


def _option(screen: Screen, number: int, option: Option, plan: Plan) -> None:
    messages = screen.messages
    screen.out.print()
    head = Styled.assemble((option.kind, "cyan"), "  ", messages.text(option.summary))
    screen.hanging(Styled(f"{number}.", style="bold"), head, indent=0)
    lines: list[RenderableType] = [
        Styled(f"{s.package}: {_move(screen, s.current, s.wanted)}") for s in option.steps if s.action == "install"
    ]
    lines += [Styled(f"{way.package}: {rebuilt(messages, plan.environment, way)}") for way in compiled(option)]
    lines += [Prose(text, style="dim") for text in reasons(messages, option)]
    if needs := _needs(screen, option):
        lines.append(Prose(messages.labelled("requires", messages.ui("separator").join(needs)), style="dim"))
    lines += [Prose(messages.labelled("risks", messages.text(risk)), style="yellow") for risk in option.risks]
    screen.out.print(Padding(Group(*lines), (0, 0, 0, 3)))
    show_commands(screen, option, plan)


def _move(screen: Screen, current: str | None, wanted: str | None) -> str:
    arrow = "→" if screen.unicode else "->"
    return f"{current or screen.messages.ui('nothing-installed')} {arrow} {wanted or screen.messages.ui('newest')}"


def _needs(screen: Screen, option: Option) -> list[str]:
    ui, needs = screen.messages.ui, option.requires
    return [
        *([ui("requires-driver", driver=needs.driver)] if needs.driver else []),
        *([ui("requires-python", python=needs.python)] if needs.python else []),
        *([ui("requires-download", size=size(needs.download_bytes))] if needs.download_bytes else []),
        *([ui("requires-disk", size=size(needs.disk_bytes))] if needs.disk_bytes else []),
    ]
