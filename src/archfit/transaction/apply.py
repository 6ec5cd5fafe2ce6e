"""The transaction: clone, change, verify, exchange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from archfit.errors import ApplyError, ArchfitError, Interrupted, RestoreError
from archfit.model import History, Verification
from archfit.transaction.exchange import uninterrupted
from archfit.transaction.fitness import locate, refuse_busy, refuse_full_disk, refuse_unfit
from archfit.transaction.journal import Journal, read_history
from archfit.transaction.relocate import name_by, relocatable
from archfit.transaction.rollback import refuse_half
from archfit.transaction.states import (
    free_number,
    inode_of,
    known_live,
    live_state,
    recover,
    switch,
    system_errors,
)
from archfit.transaction.tree import clone_tree, fingerprint, flushing, remove_tree

OnStep = Callable[[str], None]
"""Told the key of each step as it begins, for the person who waits."""


@dataclass(frozen=True, slots=True)
class Change:
    """What to do to an environment.

    `install` changes the clone it is given, `verify` judges it; `before` and `after` name the two states, `why` says the
    reason, in words. `needs_bytes` is the room that the change takes on the disk, None if not known. `force` goes on
    though processes run from the environment.
    """

    before: str
    after: str
    why: str
    install: Callable[[Path], None]
    verify: Callable[[Path], Verification]
    needs_bytes: int | None = None
    force: bool = False


def apply(root: Path, change: Change, on_step: OnStep) -> tuple[History, Verification]:
    """Change the environment at `root`, or leave it exactly as it is.

    Returns the new history and the verification that let the change go live.

    Raises:
        ApplyError: refused, failed or not verified; the environment is as it was.
        Interrupted: Ctrl-C; the environment is as it was.
        RestoreError: putting back failed; copies are kept.
    """
    root = locate(root)
    journal = Journal(root)
    with system_errors():
        if journal.unfinished():
            with journal.locked():
                recover(root)  # first: a cut between three renames leaves nothing at `root` to judge
        refuse_unfit(root)
        _refuse_busy(root, change)
        refuse_full_disk(root.parent, change.needs_bytes)
    with system_errors(), journal.locked():
        recover(root)
        previous = known_live(journal, change.before)
        number = free_number(journal)
        clone = journal.state_path(number)
        told = {"before": change.before, "after": change.after, "why": change.why, "from": previous}
        journal.append("begin", id=number, kind="upgrade", inode=inode_of(root), **told)
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
    on_step("install")
    with relocatable(clone):
        change.install(clone)
    name_by(clone, root)
    with flushing(clone):
        on_step("verify")
        proof = change.verify(clone)
    if not proof.passed:
        raise VerificationRefused(proof)
    on_step("exchange")
    if fingerprint(root) != print_before:
        raise ApplyError("changed-meanwhile", target=root)
    _refuse_busy(root, change)
    previous = live_state(journal)
    with uninterrupted():
        journal.append(
            "state", id=number, label=change.after, why=change.why, inode=inode_of(clone), verified=proof.level
        )
        switch(journal, previous, number, clone)
    return read_history(root), proof


def _refuse_busy(root: Path, change: Change) -> None:
    if not change.force:
        refuse_busy(root)


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


def _put_back(journal: Journal, number: int, clone: Path, error: BaseException) -> None:
    """Remove the clone of a failed change; the live folder was never touched."""
    if live_state(journal) == number:
        refuse_half(journal, number, error)
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
