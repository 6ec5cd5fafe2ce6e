"""The transaction: clone, change, verify, exchange; and the way back."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archfit.errors import ApplyError, ArchfitError, Interrupted, RestoreError
from archfit.model import History, StateRecord, Verification
from archfit.transaction.exchange import exchange, repair, uninterrupted
from archfit.transaction.journal import Journal, read_history
from archfit.transaction.tree import clone_tree, fingerprint, identity, remove_tree, shared_path_leaks

OnStep = Callable[[str], None]
"""Told the key of each step as it begins, for the person who waits."""


@dataclass(frozen=True, slots=True)
class Change:
    """What to do to an environment.

    `install` changes the clone it is given, `verify` judges it; `before` and `after` name the two states, `why` says the
    reason, in words. `needs_bytes` is the room that the change takes on the disk, None if not known.
    """

    before: str
    after: str
    why: str
    install: Callable[[Path], None]
    verify: Callable[[Path], Verification]
    needs_bytes: int | None = None


def apply(root: Path, change: Change, on_step: OnStep) -> tuple[History, Verification]:
    """Change the environment at `root`, or leave it exactly as it is.

    Returns the new history and the verification that let the change go live.

    Raises:
        ApplyError: refused, failed or not verified; the environment is as it was.
        Interrupted: Ctrl-C; the environment is as it was.
        RestoreError: putting back failed; copies are kept.

    """
    root = root.resolve()
    refuse_unfit(root)
    _refuse_full_disk(root, change)
    journal = Journal(root)
    with journal.locked():
        recover(root)
        number = _next_state(journal, change)
        clone = journal.state_path(number)
        journal.append("begin", id=number, kind="upgrade", before=change.before, after=change.after, why=change.why)
        try:
            return _go(journal, number, clone, change, on_step)
        except BaseException as error:
            _put_back(journal, number, clone, error)
            raise


def _go(journal: Journal, number: int, clone: Path, change: Change, on_step: OnStep) -> tuple[History, Verification]:
    root = journal.root
    on_step("clone")
    clone_tree(root, clone)
    print_before = fingerprint(root)
    with _relocatable(clone):
        on_step("install")
        change.install(clone)
    if leaks := shared_path_leaks(clone):
        raise ApplyError("path-leak", files=", ".join(leaks))
    on_step("verify")
    proof = change.verify(clone)
    if not proof.passed:
        raise VerificationRefused("not-verified", proof)
    on_step("exchange")
    if fingerprint(root) != print_before:
        raise ApplyError("changed-meanwhile", target=root)
    previous = _live_state(journal)
    with uninterrupted():
        journal.append(
            "state", id=number, label=change.after, why=change.why, inode=_inode(clone), verified=proof.level
        )
        _switch(journal, previous, number, clone)
    return read_history(root), proof


class VerificationRefused(ApplyError):
    """The changed clone did not pass; carries the evidence."""

    def __init__(self, key: str, proof: Verification) -> None:
        failed = ", ".join(e.probe for e in proof.evidence if e.status == "failed") or "nothing could be proven"
        super().__init__(key, failed=failed)
        self.proof = proof


def roll_back(root: Path, state: int | None) -> History:
    """Bring an earlier state back, or the one before this one; the state that was live is kept and can come back too.

    Raises:
        ApplyError: there is no such state, or it is live already, or its folder is gone; nothing was changed.

    """
    root = root.resolve()
    journal = Journal(root)
    if not journal.path.exists():
        raise ApplyError("no-history", target=root)
    with journal.locked():
        undone = recover(root)
        history = read_history(root)
        if state is None and undone:
            return history  # the interrupted change is undone: that was the way back
        wanted = _wanted(history, state)
        if wanted.path is None:
            raise ApplyError("state-gone", id=wanted.id, target=root)
        previous = _live_state(journal)
        with uninterrupted():
            journal.append("begin", id=wanted.id, kind="rollback", before=previous, after=wanted.id)
            _switch(journal, previous, wanted.id, wanted.path)
        return read_history(root)


def unfinished(root: Path) -> str | None:
    """The number of a change that was cut off half-way, for the doctor; None if all is settled."""
    opened = Journal(root.resolve()).unfinished()
    return str(opened["id"]) if opened else None


def recover(root: Path) -> bool:
    """Settle a change that was cut off: finish it if the exchange had happened, else undo it. True if it was undone.

    Which of the two is told by the inode of the folder that is in place, not by what the journal hoped.
    """
    journal = Journal(root)
    opened = journal.unfinished()
    if opened is None:
        return False
    number = int(opened["id"])
    slot = journal.state_path(number)
    repair(root, slot)
    live = _live_state(journal)
    if live == number:
        _settle_names(journal, live)
        journal.append("done", id=number, **{"from": _before(opened, journal)})
        return False
    if opened["kind"] == "upgrade":
        remove_tree(slot)
    journal.append("aborted", id=number, cause="interrupted")
    return True


def _switch(journal: Journal, previous: int, wanted: int, folder: Path) -> None:
    """Exchange the live folder with `folder`; afterwards the old one bears its own number."""
    exchange(journal.root, folder)
    journal.append("live", id=wanted)
    _settle_names(journal, wanted)
    journal.append("done", id=wanted, **{"from": previous})


def _settle_names(journal: Journal, live: int) -> None:
    """Give each state that is not live the folder with its own number."""
    by_inode = {e["inode"]: e["id"] for e in journal.entries() if e["event"] == "state"}
    folder = journal.state_path(live)
    owner = by_inode.get(identity(folder) or 0)
    if owner is not None and owner != live and not os.path.lexists(journal.state_path(owner)):
        folder.rename(journal.state_path(owner))


def _put_back(journal: Journal, number: int, clone: Path, error: BaseException) -> None:
    """Remove the clone of a failed change; the live folder was never touched."""
    if _live_state(journal) == number:
        return  # the exchange had happened: the change stands, `recover` writes the last line
    try:
        with uninterrupted():
            remove_tree(clone)
            cause = error.key if isinstance(error, ArchfitError) else type(error).__name__
            journal.append("aborted", id=number, cause=cause)
    except OSError as failure:
        raise RestoreError("clone-stays", path=clone, cause=failure.strerror) from error
    if isinstance(error, KeyboardInterrupt):
        raise Interrupted("interrupted", target=journal.root) from error
    if isinstance(error, OSError):
        raise ApplyError("apply-os-error", cause=f"{error.strerror}: {error.filename or clone}") from error


def refuse_unfit(root: Path) -> None:
    """Say no to what cannot be cloned and exchanged, before anything is begun.

    Raises:
        ApplyError: no virtual environment, not writable, or a mount point.

    """
    root = root.resolve()
    if not (root / "pyvenv.cfg").is_file():
        kind = "refuse-conda" if (root / "conda-meta").is_dir() else "refuse-not-venv"
        raise ApplyError(kind, target=root)
    for folder in (root, root.parent):
        if not os.access(folder, os.W_OK):
            raise ApplyError("refuse-read-only", path=folder)
    if os.path.ismount(root):
        raise ApplyError("refuse-mount", target=root)


def _refuse_full_disk(root: Path, change: Change) -> None:
    free = shutil.disk_usage(root.parent).free
    if change.needs_bytes is not None and free < change.needs_bytes:
        raise ApplyError("disk-full", needed=_gigabytes(change.needs_bytes), free=_gigabytes(free), path=root.parent)


def _next_state(journal: Journal, change: Change) -> int:
    """The number of the new state; the environment as it was found becomes state 1."""
    states = [e for e in journal.entries() if e["event"] == "state"]
    if not any(e["inode"] == identity(journal.root) for e in states):
        number = max((e["id"] for e in states), default=0) + 1
        journal.append("state", id=number, label=change.before, inode=_inode(journal.root), why="", verified="")
        states = [*states, {"id": number}]
    begun = [int(e["id"]) for e in journal.entries() if e["event"] == "begin"]
    return max([*begun, *(int(e["id"]) for e in states)]) + 1


def _live_state(journal: Journal) -> int:
    current = identity(journal.root)
    return next((int(e["id"]) for e in journal.entries() if e["event"] == "state" and e["inode"] == current), 0)


def _before(opened: dict[str, Any], journal: Journal) -> int:
    """The state that was live before a change: the last one that a finished change left."""
    if opened["kind"] == "rollback":
        return int(opened["before"])
    finished = [int(e["id"]) for e in journal.entries() if e["event"] == "done"]
    return finished[-1] if finished else 1


def _wanted(history: History, state: int | None) -> StateRecord:
    if state is None:
        if (previous := history.previous()) is None:
            raise ApplyError("no-previous", target=history.root)
        return previous
    found = next((s for s in history.states if s.id == state), None)
    if found is None:
        known = ", ".join(str(s.id) for s in history.states)
        raise ApplyError("no-state", id=state, known=known)
    if found.live:
        raise ApplyError("state-live", id=state)
    return found


def _inode(folder: Path) -> int:
    found = identity(folder)
    if found is None:
        raise FileNotFoundError(folder)
    return found


class _relocatable:
    """While it lasts, installers write console scripts that find their Python beside themselves.

    `pyvenv.cfg` is replaced, never written into: it is a hard link to the live one.
    """

    def __init__(self, clone: Path) -> None:
        self.path = clone / "pyvenv.cfg"
        self.original = self.path.read_bytes()
        self.status = self.path.stat()

    def __enter__(self) -> None:
        lines = [line for line in self.original.decode().splitlines() if not re.match(r"relocatable\s*=", line)]
        self._replace("\n".join([*lines, "relocatable = true", ""]).encode())

    def __exit__(self, *_: object) -> None:
        self._replace(self.original)
        os.utime(self.path, ns=(self.status.st_atime_ns, self.status.st_mtime_ns))

    def _replace(self, data: bytes) -> None:
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.path.write_bytes(data)
        self.path.chmod(self.status.st_mode & 0o7777)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
