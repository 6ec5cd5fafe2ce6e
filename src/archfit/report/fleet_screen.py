"""``archfit fleet`` in the terminal: rows of nodes that look alike, causes, shared folders, drift, one plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.text import Text as Styled

from archfit.model import (
    Drift,
    Fleet,
    FleetChoice,
    FleetDiff,
    FleetImage,
    FleetPlan,
    Severity,
    SharedCause,
    SharedPlace,
)
from archfit.report.fleet_names import short_names
from archfit.report.fleet_rows import Cohort, causes_shown, cohorts_of, counted, move_text, window_text
from archfit.report.screen import Screen

_MARKS = {Severity.ERROR: "bad", Severity.WARNING: "warn", Severity.INFO: "none"}
_MOST_ROWS = 24
_NAME_COLUMNS = 16
_MOST_DRIFTS = 16


def show_fleet(screen: Screen, fleet: Fleet, *, verbose: bool = False) -> None:
    """The whole picture."""
    screen.say(counted(fleet.nodes, screen.messages), "bold")
    _rows(screen, cohorts_of(fleet, screen.messages), verbose=verbose)
    numbered = causes_shown(fleet.causes)
    _causes(screen, "fleet-causes", fleet.causes if verbose else numbered, numbered=len(numbered))
    _shared(screen, fleet.shared)
    _drifts(screen, fleet.drifts, verbose=verbose)
    _plan(screen, fleet.plan)


def show_diff(screen: Screen, diff: FleetDiff) -> None:
    """What changed between two runs."""
    messages = screen.messages
    for key, names in (("fleet-came", diff.came), ("fleet-went", diff.went)):
        if names:
            screen.hanging(screen.mark("warn"), messages.ui(key, count=len(names), nodes=short_names(names)), indent=0)
    _causes(screen, "fleet-began", diff.began)
    _causes(screen, "fleet-ended", diff.ended)
    if diff.changes:
        screen.section("fleet-changes")
        for change in diff.changes:
            text = messages.ui(
                "fleet-change",
                what=messages.ui(f"fleet-what-{change.what}"),
                old=change.old or "-",
                new=change.new or "-",
                count=len(change.nodes),
                nodes=short_names(change.nodes),
            )
            screen.hanging(screen.mark("none"), text)
    screen.out.print()
    screen.say(messages.ui("fleet-unchanged", count=diff.same))


# --- nodes -----------------------------------------------------------------------------------------------------------


def _rows(screen: Screen, cohorts: Sequence[Cohort], *, verbose: bool) -> None:
    answered = [row for row in cohorts if row.state == "reported"]
    shown = answered if verbose else answered[:_MOST_ROWS]
    if shown:
        table = screen.table(
            *(f"fleet-column-{name}" for name in ("nodes", "gpus", "driver", "python", "torch", "causes"))
        )
        table.columns[0].min_width = _NAME_COLUMNS
        for row in shown:
            names = Styled.assemble(screen.mark(row.kind), " ", short_names(row.names, 2 * _NAME_COLUMNS))
            causes = "\n".join(filter(None, (" ".join(map(str, row.causes)), row.said)))
            table.add_row(names, row.hardware or "-", row.driver or "-", row.python or "-", row.torch or "-", causes)
        screen.out.print(table)
    if len(answered) > len(shown):
        screen.say(screen.messages.ui("fleet-more-rows", count=len(answered) - len(shown)), "dim")
    for row in cohorts:
        if row.state != "reported":
            said = screen.messages.ui("labelled", label=short_names(row.names), text=row.said)
            screen.hanging(screen.mark(row.kind), said, indent=0)


def _causes(screen: Screen, title: str, causes: Sequence[SharedCause], *, numbered: int = 0) -> None:
    if not causes:
        return
    screen.section(title)
    for number, cause in enumerate(causes, 1):
        mark = screen.mark(_MARKS[cause.severity])
        mark = Styled.assemble(mark, f" {number}.") if number <= numbered else mark
        screen.hanging(mark, cause.title or cause.id)
        screen.say(_nodes(screen, cause.nodes), "dim", indent=7 if number <= numbered else 4)


def _nodes(screen: Screen, names: Iterable[str]) -> str:
    names = list(names)
    return screen.messages.ui("fleet-nodes", count=len(names), nodes=short_names(names))


def _shared(screen: Screen, places: Sequence[SharedPlace]) -> None:
    if not places:
        return
    messages = screen.messages
    screen.section("fleet-shared")
    for place in places:
        key = "fleet-place-proven" if place.proven else "fleet-place-alike"
        name = messages.ui(f"fleet-place-{place.kind}")
        head = messages.ui(key, name=name, path=place.path, filesystem=place.filesystem or "?")
        screen.hanging(screen.mark(_MARKS[place.severity]), head)
        screen.say(messages.text(place.why), "dim", indent=4)
        screen.say(_nodes(screen, place.nodes), "dim", indent=4)
        for command in place.commands:
            screen.command(command)


def _drifts(screen: Screen, drifts: Sequence[Drift], *, verbose: bool) -> None:
    if not drifts:
        return
    messages = screen.messages
    screen.section("fleet-drift")
    shown = drifts if verbose else drifts[:_MOST_DRIFTS]
    for drift in shown:
        what, _, package = drift.what.partition(" ")
        name = messages.ui(f"fleet-what-{what}", name=package)
        values = messages.ui("separator").join(
            messages.ui("fleet-value", value=value or "-", count=len(nodes), nodes=short_names(nodes, 30))
            for value, nodes in drift.values[:4]
        )
        screen.hanging(screen.mark("none"), messages.ui("fleet-drift-row", what=name, group=drift.group, values=values))
    if len(drifts) > len(shown):
        screen.say(messages.ui("fleet-more-drift", count=len(drifts) - len(shown)), "dim", indent=2)


# --- the plan --------------------------------------------------------------------------------------------------------


def _plan(screen: Screen, plan: FleetPlan) -> None:
    messages = screen.messages
    if plan.choices:
        screen.section("fleet-plan")
    for number, choice in enumerate(plan.choices, 1):
        _choice(screen, number, choice)
    if plan.unserved:
        screen.section("fleet-unserved")
    for row in plan.unserved:
        screen.hanging(screen.mark("bad"), messages.text(row.why))
        screen.say(_nodes(screen, row.nodes), "dim", indent=4)
        if row.help:
            screen.say(messages.text(row.help), "dim", indent=4)
    for number, image in enumerate(plan.images, 1):
        screen.section("fleet-image")
        if len(plan.images) > 1:
            screen.say(messages.ui("fleet-image-number", number=number, total=len(plan.images)), indent=3)
        _image(screen, image)


def _choice(screen: Screen, number: int, choice: FleetChoice) -> None:
    messages = screen.messages
    head = messages.ui(f"fleet-kind-{choice.kind}", count=len(choice.assignments))
    screen.hanging(Styled(f"{number}.", style="bold"), Styled(head, style="cyan"), indent=0)
    for assignment in choice.assignments:
        build = messages.ui("fleet-build", build=str(assignment.build), index=assignment.build.index)
        screen.say(messages.ui("labelled", label=build, text=_nodes(screen, assignment.nodes)), indent=3)
        for move in assignment.moves:
            screen.hanging(screen.mark("warn"), move_text(move, messages), indent=5)
    screen.say(window_text(choice.window, messages), "dim", indent=3)
    if choice.window.open_only and choice.window.closed_only:
        screen.say(messages.ui("fleet-modules"), "yellow", indent=3)
    for text in choice.gives_up:
        screen.say(messages.labelled("fleet-gives-up", messages.text(text)), "yellow", indent=3)


def _image(screen: Screen, image: FleetImage) -> None:
    messages = screen.messages
    screen.say(_nodes(screen, image.nodes), "dim", indent=3)
    screen.say(messages.ui("fleet-image-host", window=window_text(image.window, messages)), indent=3)
    for move in image.moves:
        screen.hanging(screen.mark("warn"), move_text(move, messages), indent=5)
    screen.out.print()
    for line in image.recipe.splitlines():
        screen.out.print(f"   {line}", soft_wrap=True)
