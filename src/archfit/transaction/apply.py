"""The transaction: clone, change, verify, exchange; and the way back."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archfit.errors import ApplyError, ArchfitError, Interrupted, ObserveError, RestoreError, UsageError
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
    journal = Journal(root)
    with _system_errors():
        if journal.unfinished():
            with journal.locked():
                recover(root)  # first: a cut between three renames leaves nothing at `root` to judge
        refuse_unfit(root)
        _refuse_full_disk(root, change)
    with _system_errors(), journal.locked():
        recover(root)
        previous = _known_live(journal, change.before)
        number = _free_number(journal)
        clone = journal.state_path(number)
        told = {"before": change.before, "after": change.after, "why": change.why, "from": previous}
        journal.append("begin", id=number, kind="upgrade", **told)
        try:
            return _go(journal, number, clone, change, on_step)
        except BaseException as error:
            _put_back(journal, number, clone, error)
            raise


def _go(journal: Journal, number: int, clone: Path, change: Change, on_step: OnStep) -> tuple[History, Verification]:
    root = journal.root
    on_step("clone")
    print_before = fingerprint(root)  # before cloning, so that a change during it is seen
    clone_tree(root, clone)
    with _relocatable(clone):
        on_step("install")
        change.install(clone)
    if leaks := shared_path_leaks(clone):
        raise ApplyError("path-leak", files=", ".join(leaks))
    on_step("verify")
    proof = change.verify(clone)
    if not proof.passed:
        raise VerificationRefused(proof)
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

    def __init__(self, proof: Verification) -> None:
        failed = [e for e in proof.evidence if e.status == "failed"]
        probes = [e.probe for e in failed]
        broken = dict.fromkeys(name for e in failed if (name := e.package or _package_of(e.probe)))
        values = {"failed": ", ".join(probes) or "nothing could be proven"}
        if broken:
            values["options"] = " ".join(f"--allow-broken {name}" for name in broken)
        super().__init__("not-verified-packages" if broken else "not-verified", **values)
        self.proof = proof


def _package_of(probe: str) -> str:
    """Demo of import:demo; empty where a probe is not about a package."""
    kind, _, name = probe.partition(":")
    return name if kind in ("import", "load") else ""


def roll_back(root: Path, state: int | None) -> History:
    """Bring an earlier state back, or the one before this one; the state that was live is kept and can come back too.

    Raises:
        ApplyError: there is no such state, or it is live already, or its folder is gone; nothing was changed.
    """
    root = root.resolve()
    journal = Journal(root)
    if not journal.path.exists():
        raise ApplyError("no-history", target=root)
    with _system_errors(), journal.locked():
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
        previous = _known_live(journal, "-")
        try:
            with uninterrupted():
                told = {"before": previous, "after": wanted.id, "from": previous}
                journal.append("begin", id=wanted.id, kind="rollback", **told)
                _switch(journal, previous, wanted.id, wanted.path)
        except OSError as error:
            _refuse_half(journal, wanted.id, error)
            raise
        return read_history(root)


def unfinished(root: Path) -> str | None:
    """The number of a change that was cut off half-way, for the doctor; None if all is settled."""
    journal = Journal(root.resolve())
    try:
        opened = journal.unfinished()
        return str(opened["id"]) if opened and not journal.held() else None
    except OSError as error:
        raise ObserveError("journal-unreadable", path=journal.path, cause=_cause(error)) from error


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
        journal.append("done", id=number, **{"from": opened["from"]})
        return False
    if opened["kind"] == "upgrade" and _number_of(journal, slot) in (0, number):
        remove_tree(slot)
    _settle_names(journal, number)
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
    folder = journal.state_path(live)
    owner = _number_of(journal, folder)
    if owner not in (0, live) and not os.path.lexists(journal.state_path(owner)):
        folder.rename(journal.state_path(owner))


def _put_back(journal: Journal, number: int, clone: Path, error: BaseException) -> None:
    """Remove the clone of a failed change; the live folder was never touched."""
    if _live_state(journal) == number:
        _refuse_half(journal, number, error)
        return  # the exchange had happened: the change stands, `recover` writes the last line
    try:
        with uninterrupted(forget=isinstance(error, KeyboardInterrupt)):
            remove_tree(clone)
            cause = error.key if isinstance(error, ArchfitError) else type(error).__name__
            journal.append("aborted", id=number, cause=cause)
    except OSError as failure:
        raise RestoreError("clone-stays", path=clone, cause=failure.strerror) from error
    if isinstance(error, KeyboardInterrupt):
        raise Interrupted("interrupted", target=journal.root) from error


def _refuse_half(journal: Journal, number: int, error: BaseException) -> None:
    """Say so if the exchange had happened and the system refused what comes after it."""
    if isinstance(error, OSError) and _live_state(journal) == number:
        raise RestoreError("not-settled", target=journal.root, cause=_cause(error)) from error


@contextmanager
def _system_errors() -> Iterator[None]:
    """What the system refuses is an error that speaks."""
    try:
        yield
    except OSError as error:
        raise ApplyError("apply-os-error", cause=_cause(error)) from error


def _cause(error: OSError) -> str:
    place = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{place}"


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


def _known_live(journal: Journal, label: str) -> int:
    """The number of the state in place; an environment that archfit did not make gets one."""
    if number := _live_state(journal):
        return number
    number = _free_number(journal)
    journal.append("state", id=number, label=label, inode=_inode(journal.root), why="", verified="")
    return number


def _free_number(journal: Journal) -> int:
    """The next number, whose folder is not there: nothing that this change did not make is ever removed by it."""
    given = [int(e["id"]) for e in journal.entries() if e["event"] in ("state", "begin")]
    number = max(given, default=0) + 1
    while os.path.lexists(journal.state_path(number)):
        number += 1
    return number


def _live_state(journal: Journal) -> int:
    return _number_of(journal, journal.root)


def _number_of(journal: Journal, folder: Path) -> int:
    state = journal.states().get(identity(folder) or "")
    return int(state["id"]) if state else 0


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


def _inode(folder: Path) -> str:
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
