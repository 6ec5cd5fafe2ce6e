"""``archfit history`` and ``archfit clean`` in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from archfit.model import History, StateRecord
from archfit.report.screen import Screen, size


def show_history(screen: Screen, history: History, kept: Mapping[int, int] | None = None) -> None:
    """The states of an environment, and when each came back; `kept` is what each takes on the disk for itself, in bytes."""
    messages = screen.messages
    if not history.states:
        screen.say(messages.ui("history-none", target=history.root))
        return
    screen.out.print(messages.ui("history-title", target=history.root), style="bold", soft_wrap=True)
    columns = ("column-state", "column-when", "column-what", "column-why", "column-verified", "column-where")
    table = screen.table(*columns)
    for state in history.states:
        cells = (str(state.id), local_time(state.time), _move(screen, state), state.why or "-", state.verified or "-")
        table.add_row(*cells, _where(screen, state, kept or {}), style="green" if state.live else "")
    screen.out.print(table)
    for entry in history.rollbacks:
        told = {"time": local_time(entry["time"]), "before": entry["from"], "after": entry["id"]}
        screen.say(messages.ui("history-rollback", **told))


def show_removal(screen: Screen, states: Sequence[StateRecord], kept: Mapping[int, int], freed: int) -> None:
    """The states that are about to be given up, and what that frees, in bytes."""
    table = screen.table("column-state", "column-when", "column-what", "column-size")
    for state in states:
        table.add_row(str(state.id), local_time(state.time), _move(screen, state), size(kept.get(state.id)))
    screen.out.print(table)
    screen.say(screen.messages.ui("clean-frees", count=len(states), size=size(freed)))


def _move(screen: Screen, state: StateRecord) -> str:
    arrow = "→" if screen.unicode else "->"
    return f"{state.origin} {arrow} {state.label}" if state.origin else state.label


def _where(screen: Screen, state: StateRecord, kept: Mapping[int, int]) -> str:
    if state.live:
        return screen.messages.ui("history-live")
    if state.path is None:
        return screen.messages.ui("history-gone")
    told = screen.messages.labelled("history-kept", state.path.name)
    return f"{told} ({size(kept[state.id])})" if state.id in kept else told


def local_time(time: str) -> str:
    """A time of the journal (UTC) on the reader's clock, to the minute."""
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M")
