"""SIGKILL at every step: the environment is the old one or the new one, the doctor knows, and the next command settles it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from archfit import api
from archfit.errors import ApplyError, ArchfitError
from archfit.report.messages import Messages
from archfit.transaction import Journal, apply, read_history, recover, roll_back, unfinished
from archfit.transaction.tree import identity
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
    assert_settled,
    change_to,
    die,
    killed,
    make_plain,
    modules,
    quiet,
    snapshot,
    without_exchange,
)

NEWER = change_to({"demo.py": "version = 3\n"}, before="as found", after="demo 3")

BEGUN = [
    At(Journal, "append", 2, after=True),
    At(APPLY, "clone_tree"),
    At(TREE, "_link", 3),
    At(APPLY, "clone_tree", after=True),
    At(RELOCATE.relocatable, "_replace", 1),
    At(RELOCATE.relocatable, "_replace", 1, after=True),
    At(RELOCATE.relocatable, "_replace", 2),
    At(APPLY, "name_by"),
    At(APPLY, "fingerprint", 2),
    At(Journal, "append", 3),
    At(Journal, "append", 3, after=True),
    At(EXCHANGE, "rename_exchange"),
]
EXCHANGED = [
    At(EXCHANGE, "rename_exchange", after=True),
    At(STATES, "exchange", after=True),
    At(Journal, "append", 4),
    At(Journal, "append", 4, after=True),
    At(STATES, "settle_names", after=True),
    At(Journal, "append", 5),
]


def kill_upgrade(root: Path, place: At, prepare: Callable[[], object] = lambda: None) -> None:
    def arm() -> None:
        prepare()
        place.arm(die)

    killed(arm, lambda: apply(root, UPGRADE, quiet))


def kill_rollback(root: Path, place: At, prepare: Callable[[], object] = lambda: None) -> None:
    def arm() -> None:
        prepare()
        place.arm(die)

    killed(arm, lambda: roll_back(root, None))


# --- an upgrade that is cut off --------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [At(Journal, "append", 1), At(Journal, "append", 2)], ids=repr)
def test_before_it_began_there_is_nothing_to_settle(plain: Path, place: At) -> None:
    before = snapshot(plain)
    kill_upgrade(plain, place)
    assert snapshot(plain) == before
    assert_settled(plain)


@pytest.mark.parametrize("place", BEGUN, ids=repr)
def test_cut_before_the_exchange_the_old_one_is_untouched_and_the_change_is_undone(plain: Path, place: At) -> None:
    before = snapshot(plain)
    kill_upgrade(plain, place)
    assert snapshot(plain) == before
    assert unfinished(plain).id == 2
    assert recover(plain) is True
    assert snapshot(plain) == before
    assert_settled(plain)


@pytest.mark.parametrize("place", EXCHANGED, ids=repr)
def test_cut_after_the_exchange_the_new_one_is_whole_and_the_change_is_finished(plain: Path, place: At) -> None:
    old = snapshot(plain)
    kill_upgrade(plain, place)
    assert modules(plain) == NEW
    assert unfinished(plain).id == 2
    assert recover(plain) is False
    assert snapshot(plain.with_name("live.archfit-1")) == old
    assert read_history(plain).previous().id == 1
    assert_settled(plain)


@pytest.mark.parametrize("place", [*BEGUN, *EXCHANGED], ids=repr)
def test_a_rollback_after_a_cut_leads_to_the_old_one(plain: Path, place: At) -> None:
    before = snapshot(plain)
    kill_upgrade(plain, place)
    assert roll_back(plain, None).live.id == 1
    assert snapshot(plain) == before
    assert_settled(plain)


@pytest.mark.parametrize("place", [*BEGUN, *EXCHANGED], ids=repr)
def test_an_upgrade_after_a_cut_goes_through(plain: Path, place: At) -> None:
    kill_upgrade(plain, place)
    story, _ = apply(plain, NEWER, quiet)
    assert modules(plain) == {"demo.py": "version = 3\n"}
    assert (story.live.id, story.live.label) == (3, "demo 3")
    assert_settled(plain)
    assert modules_of_previous(plain) == (OLD if place in BEGUN else NEW)


def modules_of_previous(root: Path) -> dict[str, str]:
    previous = read_history(root).previous()
    return modules(previous.path)


@pytest.mark.parametrize("place", [*BEGUN, *EXCHANGED], ids=repr)
def test_settling_can_be_cut_off_too(plain: Path, place: At) -> None:
    kill_upgrade(plain, place)
    killed(lambda: At(Journal, "append", 1).arm(die), lambda: recover(plain))
    recover(plain)
    assert modules(plain) == (OLD if place in BEGUN else NEW)
    assert_settled(plain)


def test_cut_while_a_failed_change_is_put_back(plain: Path) -> None:
    before = snapshot(plain)

    def arm() -> None:
        At(APPLY, "name_by").arm(fail)
        At(os, "unlink", 8).arm(die)

    def fail() -> None:
        raise ApplyError("install-failed", cause="uv")

    killed(arm, lambda: apply(plain, UPGRADE, quiet))
    assert snapshot(plain) == before
    assert recover(plain) is True
    assert snapshot(plain) == before
    assert_settled(plain)


def test_nothing_to_settle_is_left_alone(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    journal = Journal(plain).path.read_bytes()
    assert recover(plain) is False
    assert Journal(plain).path.read_bytes() == journal


# --- a journal line that is cut --------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
def test_cut_in_the_middle_of_a_journal_line(plain: Path, call: int) -> None:
    old = snapshot(plain)
    kill_upgrade(plain, At(Journal, "append", call, after=True))
    journal = Journal(plain).path
    journal.write_bytes(journal.read_bytes()[:-9])
    recover(plain)
    assert modules(plain) == (OLD if call <= 3 else NEW)
    assert_settled(plain)
    roll_back(plain, 1) if call > 3 else apply(plain, UPGRADE, quiet)
    assert_settled(plain)
    assert modules(plain) == (OLD if call > 3 else NEW)
    assert snapshot(plain if call > 3 else plain.with_name("live.archfit-1")) == old


# --- without the system call: a name is missing for a moment ---------------------------------------------------------

CUT_RENAMES = {1: OLD, 2: OLD, 3: NEW}
"""Killed before this rename of the three: what is there when it is settled."""


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("call", CUT_RENAMES)
def test_cut_between_three_renames_it_is_settled(plain: Path, call: int) -> None:
    kill_upgrade(plain, At(Path, "rename", call), without_exchange)
    assert unfinished(plain).id == 2
    recover(plain)
    assert modules(plain) == CUT_RENAMES[call]
    assert_settled(plain)


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("call", CUT_RENAMES)
def test_cut_between_three_renames_a_rollback_leads_to_the_old_one(plain: Path, call: int) -> None:
    before = snapshot(plain)
    kill_upgrade(plain, At(Path, "rename", call), without_exchange)
    roll_back(plain, None)
    assert snapshot(plain) == before
    assert_settled(plain)


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("call", CUT_RENAMES)
def test_cut_between_three_renames_an_upgrade_goes_through(plain: Path, call: int) -> None:
    kill_upgrade(plain, At(Path, "rename", call), without_exchange)
    apply(plain, NEWER, quiet)
    assert modules(plain) == {"demo.py": "version = 3\n"}
    assert modules_of_previous(plain) == CUT_RENAMES[call]
    assert_settled(plain)


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("call", CUT_RENAMES)
def test_cut_between_three_renames_the_commands_find_the_environment(plain: Path, call: int) -> None:
    kill_upgrade(plain, At(Path, "rename", call), without_exchange)
    assert api.environment_root(str(plain)) == plain
    assert api.history(str(plain)).root == plain
    assert api.rollback(str(plain)).live.id == 1
    assert modules(plain) == OLD


@pytest.mark.usefixtures("no_exchange")
def test_cut_between_three_renames_the_doctor_says_what_to_do(plain: Path) -> None:
    kill_upgrade(plain, At(Path, "rename", 2), without_exchange)
    with pytest.raises(ArchfitError) as caught:
        api.doctor(api.Wish(str(plain)))
    assert Messages("en").hint(caught.value) == f"archfit rollback {plain}"


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_rollback_cut_between_three_renames(plain: Path, call: int) -> None:
    old = snapshot(plain)
    apply(plain, UPGRADE, quiet)
    kill_rollback(plain, At(Path, "rename", call), without_exchange)
    recover(plain)
    assert modules(plain) == (OLD if call == 3 else NEW)
    assert_settled(plain)
    roll_back(plain, 1) if call != 3 else None
    assert snapshot(plain) == old


# --- a rollback that is cut off --------------------------------------------------------------------------------------

ROLLBACK_BEGUN = [At(Journal, "append", 1, after=True), At(EXCHANGE, "rename_exchange")]
ROLLBACK_EXCHANGED = [
    At(EXCHANGE, "rename_exchange", after=True),
    At(Journal, "append", 2),
    At(Journal, "append", 2, after=True),
    At(STATES, "settle_names", after=True),
    At(Journal, "append", 3),
]


@pytest.mark.parametrize("place", [*ROLLBACK_BEGUN, *ROLLBACK_EXCHANGED], ids=repr)
def test_a_rollback_that_is_cut_off_is_settled(plain: Path, place: At) -> None:
    apply(plain, UPGRADE, quiet)
    kill_rollback(plain, place)
    assert unfinished(plain).id == 1
    assert recover(plain) is (place in ROLLBACK_BEGUN)
    assert modules(plain) == (NEW if place in ROLLBACK_BEGUN else OLD)
    assert read_history(plain).previous().id == (1 if place in ROLLBACK_BEGUN else 2)
    assert_settled(plain)


@pytest.mark.parametrize("place", [*ROLLBACK_BEGUN, *ROLLBACK_EXCHANGED], ids=repr)
def test_a_rollback_that_is_cut_off_and_said_again_leads_where_it_should(plain: Path, place: At) -> None:
    old = snapshot(plain)
    apply(plain, UPGRADE, quiet)
    kill_rollback(plain, place)
    assert roll_back(plain, None).live.id == 1
    assert snapshot(plain) == old
    assert_settled(plain)


@pytest.mark.parametrize("place", [*ROLLBACK_BEGUN, *ROLLBACK_EXCHANGED], ids=repr)
def test_an_upgrade_after_a_rollback_that_was_cut_off(plain: Path, place: At) -> None:
    apply(plain, UPGRADE, quiet)
    kill_rollback(plain, place)
    story, _ = apply(plain, NEWER, quiet)
    assert (story.live.id, [s.id for s in story.states]) == (3, [1, 2, 3])
    assert modules_of_previous(plain) == (NEW if place in ROLLBACK_BEGUN else OLD)
    assert_settled(plain)


# --- numbers of folders come round again -----------------------------------------------------------------------------


def test_the_old_one_survives_when_a_new_folder_gets_the_number_of_one_that_is_gone(plain: Path) -> None:
    """File systems give the inode of a removed folder to the next one; the journal still knows the removed one by it."""
    old = snapshot(plain)
    kill_upgrade(plain, At(EXCHANGE, "rename_exchange"))
    recover(plain)
    clone_tree = APPLY.clone_tree

    def clone_with_that_number(source: Path, target: Path) -> None:
        clone_tree(source, target)
        journal = Journal(source)
        gone = next(e["inode"] for e in journal.entries() if e["event"] == "state" and e["id"] == 2)
        was, now = json.dumps({"inode": gone})[1:-1], json.dumps({"inode": identity(target)})[1:-1]
        journal.path.write_text(journal.path.read_text("utf-8").replace(was, now), "utf-8")

    def arm() -> None:
        APPLY.clone_tree = clone_with_that_number
        At(Journal, "append", 3).arm(die)

    killed(arm, lambda: apply(plain, NEWER, quiet))
    recover(plain)
    assert [(s.id, s.live) for s in read_history(plain).states] == [(1, False), (3, True)]
    assert snapshot(plain.with_name("live.archfit-1")) == old
    assert_settled(plain)


def test_the_way_back_is_known_when_another_environment_stood_in_its_place(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    plain.rename(plain.with_name("away"))
    found = snapshot(make_plain(plain))
    killed(lambda: At(Journal, "append", 4).arm(die), lambda: apply(plain, NEWER, quiet))
    recover(plain)
    assert read_history(plain).previous().id == 3
    roll_back(plain, None)
    assert snapshot(plain) == found
    assert_settled_but_for_moved(plain, moved=2)


@pytest.mark.parametrize("place", EXCHANGED[:4], ids=repr)
def test_the_old_one_survives_when_the_new_one_was_moved_away_before_it_was_settled(plain: Path, place: At) -> None:
    old = snapshot(plain)
    kill_upgrade(plain, place)
    plain.rename(plain.with_name("away"))
    make_plain(plain)
    recover(plain)
    assert snapshot(plain.with_name("live.archfit-1")) == old
    assert unfinished(plain) is None


def assert_settled_but_for_moved(root: Path, moved: int) -> None:
    states = {s.id: s.path for s in read_history(root).states}
    assert states.pop(moved) is None
    assert states == {1: root.with_name("live.archfit-1"), 3: root, 4: root.with_name("live.archfit-4")}
    assert unfinished(root) is None
