"""Many machines as Markdown, for an issue or a wiki."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from archfit.model import Fleet, FleetChoice, FleetDiff, FleetImage, SharedCause
from archfit.report.fleet_names import fold_names, short_names
from archfit.report.fleet_rows import cohorts_of, counted, move_text, window_text
from archfit.report.messages import Messages

_COLUMNS = ("nodes", "gpus", "driver", "python", "torch", "causes")
_LONG = 400


def render_fleet(messages: Messages, fleet: Fleet) -> str:
    """The picture and the plan."""
    ui = messages.ui
    lines = [f"# {ui('fleet-title')}", "", counted(fleet.nodes, messages), ""]
    lines += _table([ui(f"fleet-column-{name}") for name in _COLUMNS], _rows(messages, fleet))
    lines += _causes(messages, "fleet-causes", fleet.causes)
    if fleet.shared:
        lines += ["", f"## {ui('fleet-shared')}", ""]
    for place in fleet.shared:
        key = "fleet-place-proven" if place.proven else "fleet-place-alike"
        name = ui(f"fleet-place-{place.kind}")
        lines.append(f"- {_cell(ui(key, name=name, path=place.path, filesystem=place.filesystem or '?'))}: ")
        lines[-1] += f"{_cell(messages.text(place.why))} ({_cell(_nodes(messages, place.nodes))})"
        lines += _code(place.commands, indent="  ")
    if fleet.drifts:
        lines += ["", f"## {ui('fleet-drift')}", ""]
    for drift in fleet.drifts:
        what, _, package = drift.what.partition(" ")
        values = ui("separator").join(
            ui("fleet-value", value=value or "-", count=len(nodes), nodes=short_names(nodes))
            for value, nodes in drift.values
        )
        name = ui(f"fleet-what-{what}", name=package)
        lines.append(f"- {_cell(ui('fleet-drift-row', what=name, group=drift.group, values=values))}")
    if fleet.plan.choices:
        lines += ["", f"## {ui('fleet-plan')}", ""]
    for choice in fleet.plan.choices:
        lines += _choice(messages, choice)
    if fleet.plan.unserved:
        lines += ["", f"## {ui('fleet-unserved')}", ""]
    for row in fleet.plan.unserved:
        helped = f" {messages.text(row.help)}" if row.help else ""
        lines.append(f"- {_cell(messages.text(row.why))}{_cell(helped)} ({_cell(_nodes(messages, row.nodes))})")
    for image in fleet.plan.images:
        lines += _image(messages, image)
    return "\n".join([*lines, ""])


def render_diff(messages: Messages, diff: FleetDiff) -> str:
    """Two runs."""
    ui = messages.ui
    lines = [f"# {ui('fleet-diff-title')}", ""]
    for key, names in (("fleet-came", diff.came), ("fleet-went", diff.went)):
        if names:
            lines.append(f"- {_cell(ui(key, count=len(names), nodes=short_names(names, _LONG)))}")
    lines += _causes(messages, "fleet-began", diff.began) + _causes(messages, "fleet-ended", diff.ended)
    if diff.changes:
        rows = [
            (ui(f"fleet-what-{c.what}"), c.old or "-", c.new or "-", _nodes(messages, c.nodes)) for c in diff.changes
        ]
        lines += ["", f"## {ui('fleet-changes')}", ""]
        lines += _table(["", ui("column-from"), ui("column-to"), ui("fleet-column-nodes")], rows)
    return "\n".join([*lines, "", ui("fleet-unchanged", count=diff.same), ""])


def _rows(messages: Messages, fleet: Fleet) -> list[tuple[str, ...]]:
    return [
        (
            short_names(row.names, _LONG),
            row.hardware or "-",
            row.driver or "-",
            row.python or "-",
            row.torch or "-",
            "; ".join(filter(None, (" ".join(map(str, row.causes)), row.said))),
        )
        for row in cohorts_of(fleet, messages)
    ]


def _causes(messages: Messages, title: str, causes: Sequence[SharedCause]) -> list[str]:
    if not causes:
        return []
    rows = [
        f"{number}. **{cause.severity.value}** `{cause.id}` {_cell(cause.title)} ({_cell(_nodes(messages, cause.nodes))})"
        for number, cause in enumerate(causes, 1)
    ]
    return ["", f"## {messages.ui(title)}", "", *rows]


def _choice(messages: Messages, choice: FleetChoice) -> list[str]:
    ui = messages.ui
    lines = [f"### {ui(f'fleet-kind-{choice.kind}', count=len(choice.assignments))}", ""]
    for assignment in choice.assignments:
        build = ui("fleet-build", build=str(assignment.build), index=assignment.build.index)
        lines.append(f"- **{build}**: {_cell(_nodes(messages, assignment.nodes))}")
        lines += [
            f"  - {_cell(move_text(move, messages))}: {_cell(short_names(move.nodes, _LONG))}"
            for move in assignment.moves
        ]
    lines.append(f"- {window_text(choice.window, messages)}")
    lines += [f"- {messages.labelled('fleet-gives-up', messages.text(text))}" for text in choice.gives_up]
    return [*lines, ""]


def _image(messages: Messages, image: FleetImage) -> list[str]:
    host = messages.ui("fleet-image-host", window=window_text(image.window, messages))
    heading = ["", f"## {messages.ui('fleet-image')}", ""]
    return [*heading, f"{_cell(_nodes(messages, image.nodes))}. {host}", *_code(image.recipe.splitlines())]


def _nodes(messages: Messages, names: Iterable[str]) -> str:
    names = list(names)
    folded = fold_names(names)
    return messages.ui(
        "fleet-nodes", count=len(names), nodes=folded if len(folded) <= _LONG else short_names(names, _LONG)
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *([_cell(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _code(lines: Iterable[str], indent: str = "") -> list[str]:
    lines = list(lines)
    return ["", *(f"{indent}{line}" for line in ("```", *lines, "```")), ""] if lines else []


def _cell(text: str) -> str:
    """What a report says must not become markup."""
    for mark in "\\|<>[]*_`":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")
