"""The way back, and making room by giving up old states."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

from archfit.errors import ApplyError, RestoreError, UsageError
from archfit.model import History, StateRecord
from archfit.transaction.exchange import uninterrupted
from archfit.transaction.fitness import locate, refuse_busy
from archfit.transaction.journal import Journal, read_history
from archfit.transaction.states import cause_of, known_live, live_state, recover, switch, system_errors
from archfit.transaction.tree import remove_tree


def roll_back(root: Path, state: int | None, *, force: bool = False) -> History:
    """Bring an earlier state back, or the one before this one; the state that was live is kept and can come back too.

    With `force` also while processes run from the environment.

    Raises:
        ApplyError: there is no such state, it is live already, its folder is gone, or it is in use; nothing was changed.
    """
    root = locate(root)
    journal = Journal(root)
    if not journal.path.exists():
        raise ApplyError("no-history", target=root)
    with system_errors(), journal.locked():
        opened = journal.unfinished()
        recover(root)
        history = read_history(root)
        if opened:
            state = _way_back(opened) if state is None else state
            if history.live and history.live.id == state:
                return history  # settling what was cut off was the way back
        wanted = _wanted(history, state)
        if wanted.path is None:
            raise ApplyError("state-gone", id=wanted.id, target=root)
        if not force:
            refuse_busy(root)
        previous = known_live(journal, "-")
        try:
            with uninterrupted():
                told = {"before": previous, "after": wanted.id, "from": previous}
                journal.append("begin", id=wanted.id, kind="rollback", **told)
                switch(journal, previous, wanted.id, wanted.path)
        except OSError as error:
            refuse_half(journal, wanted.id, error)
            raise
        return read_history(root)


def refuse_half(journal: Journal, number: int, error: BaseException) -> None:
    """Say so if the exchange had happened and the system refused what comes after it."""
    if isinstance(error, OSError) and live_state(journal) == number:
        raise RestoreError("not-settled", target=journal.root, cause=cause_of(error)) from error


def remove_states(root: Path, numbers: Collection[int]) -> History:
    """Give up states that are not live, for ever; each is forgotten before its first file goes.

    Raises:
        ApplyError: the system refused; the states that are left are whole.
    """
    root = locate(root)
    journal = Journal(root)
    with system_errors(), journal.locked():
        recover(root)
        for state in read_history(root).states:
            if state.id in numbers and state.path and not state.live:
                journal.append("removed", id=state.id)
                remove_tree(state.path)
        _sweep(journal)
        return read_history(root)


def _sweep(journal: Journal) -> None:
    """Finish removals that were cut off."""
    given_up = {int(e["id"]) for e in journal.entries() if e["event"] == "removed"}
    for number in given_up:
        path = journal.state_path(number)
        if os.path.lexists(path) and path in journal.strangers():
            remove_tree(path)


def _way_back(opened: dict[str, Any]) -> int:
    """Where a rollback leads after a change that was cut off: a rollback is finished, an upgrade undone."""
    return int(opened["id"] if opened["kind"] == "rollback" else opened["from"])


def _wanted(history: History, state: int | None) -> StateRecord:
    if state is None:
        if (previous := history.previous()) is None:
            raise ApplyError("no-previous", target=history.root)
        return previous
    found = next((s for s in history.states if s.id == state), None)
    if found is None:
        known = ", ".join(str(s.id) for s in history.states)
        raise UsageError("no-state", id=state, known=known, target=shlex.quote(str(history.root)))
    if found.live:
        raise ApplyError("state-live", id=state)
    return found
