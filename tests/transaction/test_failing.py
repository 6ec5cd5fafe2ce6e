"""Every step fails in turn, in every way: the environment is as it was, nothing is left over, the exit code is right."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from archfit.errors import ApplyError, ArchfitError, ExitCode, Interrupted, RestoreError
from archfit.transaction import Journal, apply, read_history, recover, roll_back, unfinished
from laboratory import (
    APPLY,
    EXCHANGE,
    NEW,
    OLD,
    RELOCATE,
    STATES,
    TREE,
    UPGRADE,
    At,
    around,
    assert_settled,
    modules,
    quiet,
    snapshot,
)

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")
WAYS = {
    "full": (FULL, ApplyError, "apply-os-error", ExitCode.APPLY_REVERTED),
    "ctrl-c": (KeyboardInterrupt(), Interrupted, "interrupted", ExitCode.INTERRUPTED),
    "refused": (ApplyError("install-failed", cause="uv"), ApplyError, "install-failed", ExitCode.APPLY_REVERTED),
}

INSTALL = At(RELOCATE.relocatable, "__exit__")  # the end of installing
BEFORE_THE_EXCHANGE = [
    At(APPLY, "clone_tree"),
    At(TREE, "_link", 1),
    At(TREE, "_link", 3),
    At(TREE, "_link", 5),
    At(APPLY, "clone_tree", after=True),
    At(APPLY, "fingerprint", 1),
    At(APPLY, "relocatable"),
    At(RELOCATE.relocatable, "_replace", 1),
    At(RELOCATE.relocatable, "_replace", 1, after=True),
    At(RELOCATE.relocatable, "_replace", 2),
    INSTALL,
    At(APPLY, "name_by"),
    At(APPLY, "fingerprint", 2),
    At(APPLY, "inode_of", 2),
    At(Journal, "append", 3),
    At(Journal, "append", 3, after=True),
    At(STATES, "exchange"),
    At(EXCHANGE, "rename_exchange"),
]
OF_THE_JOURNAL = [At(Journal, "append", 1), At(Journal, "append", 2)]
AFTER_THE_EXCHANGE = [
    At(EXCHANGE, "rename_exchange", after=True),
    At(EXCHANGE, "sync_folder"),
    At(STATES, "exchange", after=True),
    At(Journal, "append", 4),
    At(Journal, "append", 4, after=True),
    At(STATES, "settle_names"),
    At(Path, "rename", 1),
    At(Journal, "append", 5),
]


def raising(error: BaseException) -> Callable[[], None]:
    def event() -> None:
        raise error

    return event


def failing(root: Path, place: At, error: BaseException, action: Callable[[], object]) -> BaseException:
    """The error that leaves `action` when `error` happens at a place of the code."""
    with pytest.MonkeyPatch.context() as patch:
        place.arm(raising(error), patch.setattr)
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - which one is what the tests are about
            action()
    return caught.value


def upgrade(root: Path) -> Callable[[], object]:
    return lambda: apply(root, UPGRADE, quiet)


# --- before the exchange: as it was ----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", BEFORE_THE_EXCHANGE, ids=repr)
def test_before_the_exchange_everything_is_put_back(plain: Path, place: At, way: str) -> None:
    error, kind, key, code = WAYS[way]
    before = snapshot(plain)
    caught = failing(plain, place, error, upgrade(plain))
    assert (type(caught), getattr(caught, "key", None), getattr(caught, "exit_code", None)) == (kind, key, code)
    assert snapshot(plain) == before
    assert_settled(plain)
    assert [(s.id, s.live) for s in read_history(plain).states] == [(1, True)]


@pytest.mark.parametrize("place", OF_THE_JOURNAL, ids=repr)
def test_a_journal_that_cannot_be_begun_refuses_the_change(plain: Path, place: At) -> None:
    before = snapshot(plain)
    caught = failing(plain, place, FULL, upgrade(plain))
    assert (type(caught), caught.exit_code) == (ApplyError, ExitCode.APPLY_REVERTED)
    assert snapshot(plain) == before
    assert around(plain) == {"", ".archfit"}


def test_a_journal_that_cannot_be_made_refuses_the_change(plain: Path) -> None:
    before = snapshot(plain)
    plain.with_name("live.archfit").write_text("a file where the journal would be", "utf-8")
    with pytest.raises(ApplyError) as caught:
        apply(plain, UPGRADE, quiet)
    assert caught.value.exit_code == ExitCode.APPLY_REVERTED
    assert snapshot(plain) == before


@pytest.mark.parametrize("place", [*OF_THE_JOURNAL, *BEFORE_THE_EXCHANGE], ids=repr)
def test_after_a_failure_the_same_change_goes_through(plain: Path, place: At) -> None:
    old = snapshot(plain)
    failing(plain, place, FULL, upgrade(plain))
    apply(plain, UPGRADE, quiet)
    assert modules(plain) == NEW
    assert [s.label for s in read_history(plain).states] == ["demo 1", "demo 2"]
    assert_settled(plain)
    roll_back(plain, None)
    assert snapshot(plain) == old
    assert_settled(plain)


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_rename_of_the_three_that_fails_is_undone(plain: Path, call: int) -> None:
    before = snapshot(plain)
    caught = failing(plain, At(Path, "rename", call), FULL, upgrade(plain))
    assert (type(caught), caught.exit_code) == (ApplyError, ExitCode.APPLY_REVERTED)
    assert snapshot(plain) == before
    assert_settled(plain)


def test_the_cause_is_named(plain: Path) -> None:
    caught = failing(plain, At(APPLY, "clone_tree"), FULL, upgrade(plain))
    assert caught.values == {"cause": "No space left on device: somewhere"}
    assert caught.__cause__ is FULL
    assert read_history(plain).entries[-1]["cause"] == "OSError"


def test_an_error_of_ours_is_put_back_too(plain: Path) -> None:
    before = snapshot(plain)
    caught = failing(plain, At(APPLY, "name_by"), ZeroDivisionError(), upgrade(plain))
    assert type(caught) is ZeroDivisionError
    assert snapshot(plain) == before
    assert_settled(plain)


# --- after the exchange: it stands -----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", AFTER_THE_EXCHANGE, ids=repr)
def test_after_the_exchange_the_change_stands_and_is_settled_later(plain: Path, place: At) -> None:
    old = snapshot(plain)
    caught = failing(plain, place, FULL, upgrade(plain))
    assert (type(caught), caught.exit_code) == (RestoreError, ExitCode.APPLY_INCOMPLETE)
    assert modules(plain) == NEW
    recover(plain)
    assert [(s.id, s.live) for s in read_history(plain).states] == [(1, False), (2, True)]
    assert_settled(plain)
    roll_back(plain, None)
    assert snapshot(plain) == old


def test_ctrl_c_during_the_exchange_comes_when_it_is_settled(plain: Path) -> None:
    place = At(STATES, "exchange")
    with pytest.MonkeyPatch.context() as patch:
        place.arm(lambda: os.kill(os.getpid(), signal.SIGINT), patch.setattr)
        with pytest.raises(KeyboardInterrupt):
            apply(plain, UPGRADE, quiet)
    assert modules(plain) == NEW
    assert_settled(plain)


# --- putting back fails ----------------------------------------------------------------------------------------------


def fail_twice(plain: Path, second: At) -> BaseException:
    """An install that fails, and then a step of putting back."""
    with pytest.MonkeyPatch.context() as patch:
        INSTALL.arm(raising(ApplyError("install-failed", cause="uv")), patch.setattr)
        second.arm(raising(FULL), patch.setattr)
        with pytest.raises(ArchfitError) as caught:
            apply(plain, UPGRADE, quiet)
    return caught.value


@pytest.mark.parametrize("second", [At(APPLY, "remove_tree"), At(Journal, "append", 3)], ids=repr)
def test_where_putting_back_fails_it_is_said_and_settled_later(plain: Path, second: At) -> None:
    before = snapshot(plain)
    caught = fail_twice(plain, second)
    assert (type(caught), caught.exit_code) == (RestoreError, ExitCode.APPLY_INCOMPLETE)
    assert snapshot(plain) == before
    assert unfinished(plain).id == 2
    assert recover(plain) is True
    assert snapshot(plain) == before
    assert_settled(plain)


def test_a_clone_that_cannot_be_removed_is_named_and_kept(plain: Path) -> None:
    caught = fail_twice(plain, At(APPLY, "remove_tree"))
    clone = plain.with_name("live.archfit-2")
    assert (caught.key, caught.values) == ("clone-stays", {"path": clone, "cause": "No space left on device"})
    assert caught.__cause__.key == "install-failed"
    assert modules(clone) == NEW


# --- rollback --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", [At(STATES, "exchange"), At(EXCHANGE, "rename_exchange"), At(Journal, "append", 1)], ids=repr
)
def test_a_rollback_that_fails_before_the_exchange_changes_nothing(plain: Path, place: At) -> None:
    apply(plain, UPGRADE, quiet)
    before = snapshot(plain)
    caught = failing(plain, place, FULL, lambda: roll_back(plain, None))
    assert (type(caught), caught.exit_code) == (ApplyError, ExitCode.APPLY_REVERTED)
    assert snapshot(plain) == before
    recover(plain)
    assert_settled(plain)
    assert modules_after_rollback(plain) == OLD


@pytest.mark.parametrize(
    "place",
    [At(EXCHANGE, "sync_folder"), At(Journal, "append", 2), At(STATES, "settle_names"), At(Journal, "append", 3)],
    ids=repr,
)
def test_a_rollback_that_fails_after_the_exchange_stands(plain: Path, place: At) -> None:
    old = snapshot(plain)
    apply(plain, UPGRADE, quiet)
    caught = failing(plain, place, FULL, lambda: roll_back(plain, None))
    assert (type(caught), caught.exit_code) == (RestoreError, ExitCode.APPLY_INCOMPLETE)
    assert snapshot(plain) == old
    recover(plain)
    assert snapshot(plain) == old
    assert_settled(plain)


def modules_after_rollback(root: Path) -> dict[str, str]:
    roll_back(root, None)
    assert_settled(root)
    return modules(root)
