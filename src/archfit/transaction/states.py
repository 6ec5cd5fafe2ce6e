"""The states of an environment on the disk: which folder is which, how they trade places, what a cut left to settle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from archfit.errors import ApplyError, ObserveError
from archfit.model import Interruption
from archfit.transaction.exchange import exchange, repair
from archfit.transaction.fitness import locate
from archfit.transaction.journal import Journal
from archfit.transaction.tree import identity, remove_tree


def switch(journal: Journal, previous: int, wanted: int, folder: Path) -> None:
    """Exchange the live folder with `folder`; afterwards the old one bears its own number."""
    exchange(journal.root, folder)
    journal.append("live", id=wanted)
    settle_names(journal, wanted)
    journal.append("done", id=wanted, **{"from": previous})


def settle_names(journal: Journal, live: int) -> None:
    """Give the state that was live before the folder with its own number."""
    folder = journal.state_path(live)
    owner = number_of(journal, folder)
    if owner not in (0, live) and not os.path.lexists(journal.state_path(owner)):
        folder.rename(journal.state_path(owner))


def unfinished(root: Path) -> Interruption | None:
    """A change that was cut off half-way, for the doctor; None if all is settled or somebody is still at work.

    Raises:
        ObserveError: the journal cannot be read.
    """
    journal = Journal(root.resolve())
    try:
        opened = journal.unfinished()
        if opened is None or journal.held():
            return None
        number = int(opened["id"])
        made = live_state(journal) == number or _has_moved(journal, opened)
    except OSError as error:
        raise ObserveError("journal-unreadable", path=journal.path, cause=cause_of(error)) from error
    before, after = (str(opened.get(key, "-")) for key in ("before", "after"))
    return Interruption(number, opened["kind"], opened["time"], before, after, made)


def recover(root: Path) -> bool:
    """Settle a change that was cut off: finish it if the exchange had happened, else undo it. True if it was undone.

    Which of the two is told by the folder that is in place, not by what the journal hoped.
    """
    root = locate(root)
    journal = Journal(root)
    opened = journal.unfinished()
    if opened is None:
        return False
    number = int(opened["id"])
    slot = journal.state_path(number)
    repair(root, slot)
    if live_state(journal) == 0 and opened["kind"] == "upgrade" and _has_moved(journal, opened):
        # The line of the new state was lost, with the end of the journal; the folders tell that it is in place.
        journal.append("state", id=number, label=opened.get("after", "-"), inode=identity(root), why="", verified="")
    if live_state(journal) == number:
        settle_names(journal, number)
        journal.append("done", id=number, **{"from": opened["from"]})
        return False
    if opened["kind"] == "upgrade" and _is_clone(journal, opened, slot):
        remove_tree(slot)
    settle_names(journal, number)
    journal.append("aborted", id=number, cause="interrupted")
    return True


def _has_moved(journal: Journal, opened: dict[str, Any]) -> bool:
    """Does the environment that was live when the change began stand where its clone was made?"""
    return "inode" in opened and identity(journal.state_path(int(opened["id"]))) == opened["inode"]


def _is_clone(journal: Journal, opened: dict[str, Any], slot: Path) -> bool:
    """Is this folder what the change made, which nobody has used? It is when the one it began with is still in place."""
    untouched = identity(journal.root) == opened.get("inode", identity(journal.root))
    return untouched and number_of(journal, slot) in (0, int(opened["id"]))


def known_live(journal: Journal, label: str) -> int:
    """The number of the state in place; an environment that archfit did not make gets one."""
    if number := live_state(journal):
        return number
    number = free_number(journal)
    journal.append("state", id=number, label=label, inode=inode_of(journal.root), why="", verified="")
    return number


def free_number(journal: Journal) -> int:
    """The next number, whose folder is not there: nothing that this change did not make is ever removed by it."""
    given = [int(e["id"]) for e in journal.entries() if e["event"] in ("state", "begin")]
    number = max(given, default=0) + 1
    while os.path.lexists(journal.state_path(number)):
        number += 1
    return number


def live_state(journal: Journal) -> int:
    """The number of the state in place; 0 for one that the journal does not know."""
    return number_of(journal, journal.root)


def number_of(journal: Journal, folder: Path) -> int:
    """The number of the state that stands in `folder`; 0 for none."""
    state = journal.states().get(identity(folder) or "")
    return int(state["id"]) if state else 0


def inode_of(folder: Path) -> str:
    """What tells this folder from all others.

    Raises:
        FileNotFoundError: it is not there.
    """
    found = identity(folder)
    if found is None:
        raise FileNotFoundError(folder)
    return found


def cause_of(error: OSError) -> str:
    """What the system said, and where."""
    place = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{place}"


@contextmanager
def system_errors() -> Iterator[None]:
    """What the system refuses is an error that speaks."""
    try:
        yield
    except OSError as error:
        raise ApplyError("apply-os-error", cause=cause_of(error)) from error
