"""The journal: whole lines are read, damaged ones are passed over, one process at a time holds it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archfit.errors import ApplyError
from archfit.transaction import Journal, apply, read_history, roll_back, unfinished
from laboratory import NEW, UPGRADE, assert_settled, change_to, modules, quiet, snapshot


@pytest.fixture
def journal(plain: Path) -> Journal:
    """The journal of an upgraded environment."""
    apply(plain, UPGRADE, quiet)
    return Journal(plain)


def events(journal: Journal) -> list[tuple[str, int]]:
    return [(entry["event"], entry["id"]) for entry in journal.entries()]


WHOLE = [("state", 1), ("begin", 2), ("state", 2), ("live", 2), ("done", 2)]


# --- reading ---------------------------------------------------------------------------------------------------------


def test_every_line_says_what_and_when(journal: Journal) -> None:
    assert events(journal) == WHOLE
    assert all(entry["time"].endswith("+00:00") for entry in journal.entries())


def test_no_journal_has_no_entries(plain: Path) -> None:
    assert Journal(plain).entries() == ()
    assert unfinished(plain) is None


def test_an_empty_journal_is_as_good_as_none(plain: Path) -> None:
    Journal(plain).create()
    Journal(plain).path.touch()
    assert read_history(plain).states == ()
    assert unfinished(plain) is None
    apply(plain, UPGRADE, quiet)
    assert modules(plain) == NEW
    assert_settled(plain)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_cut_last_line_did_not_happen(journal: Journal, cut: int) -> None:
    journal.path.write_bytes(journal.path.read_bytes()[:-cut] if cut > 1 else journal.path.read_bytes()[:-2])
    assert events(journal) == WHOLE[:-1]
    assert unfinished(journal.root).id == 2


def test_a_line_without_its_newline_is_whole(journal: Journal) -> None:
    journal.path.write_bytes(journal.path.read_bytes()[:-1])
    assert events(journal) == WHOLE


def test_what_is_written_after_a_cut_line_is_a_line_of_its_own(journal: Journal) -> None:
    journal.path.write_bytes(journal.path.read_bytes()[:-9])
    journal.append("done", id=2, **{"from": 1})
    assert events(journal) == WHOLE
    assert len(journal.path.read_bytes().splitlines()) == len(WHOLE) + 1


GARBAGE = {
    "words": b"no json at all\n",
    "binary": b"\x00\xff\xfe\x80\n",
    "zeros": bytes(4096) + b"\n",
    "number": b"17\n",
    "list": b"[1, 2]\n",
    "no event": b'{"id": 2}\n',
    "empty line": b"\n\n",
    "half": b'{"event": "begin", "id": \n',
    "carriage return": b"\r\n",
}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("line", [0, 2, 5])
def test_garbage_between_lines_is_passed_over(journal: Journal, garbage: str, line: int) -> None:
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join([*lines[:line], GARBAGE[garbage], *lines[line:]]))
    assert events(journal) == WHOLE
    assert roll_back(journal.root, None).live.id == 1
    assert_settled(journal.root)


@pytest.mark.parametrize("text", ["升级", "a\u2028b", "a\x85b", 'quote " and \\', "two\nlines", "\x1c", ""])
def test_any_text_comes_back_as_it_was_written(plain: Path, text: str) -> None:
    apply(plain, change_to(NEW, before=text, after=text), quiet)
    assert [s.label for s in read_history(plain).states] == [text, text]


@pytest.mark.parametrize("state", [1, 2])
def test_a_lost_journal_is_a_fresh_start_and_no_copy_is_lost(journal: Journal, state: int) -> None:
    """Nothing is known of the old copy any more; it stays where it is, with its name, and the change goes through."""
    root = journal.root
    if state == 2:
        roll_back(root, 1)
    forgotten = root.with_name(f"live.archfit-{state}")
    kept, found = snapshot(forgotten), snapshot(root)
    journal.path.unlink()
    assert read_history(root).states == ()
    apply(root, change_to({"demo.py": "version = 3\n"}), quiet)
    assert snapshot(forgotten) == kept
    assert snapshot(read_history(root).previous().path) == found
    roll_back(root, None)
    assert (snapshot(root), snapshot(forgotten)) == (found, kept)


def test_a_folder_that_has_the_next_name_by_chance_is_left_alone(plain: Path) -> None:
    (stranger := plain.with_name("live.archfit-2")).mkdir()
    (stranger / "thesis.txt").write_text("mine", "utf-8")
    apply(plain, UPGRADE, quiet)
    assert modules(plain) == NEW
    assert (stranger / "thesis.txt").read_text("utf-8") == "mine"
    assert roll_back(plain, None).live.id == 1


# --- one at a time ---------------------------------------------------------------------------------------------------


@contextmanager
def held_by_another(root: Path) -> Iterator[int]:
    """Another process holds the environment; yields its id."""
    told, tell = os.pipe()
    wait, release = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(release)
            with Journal(root).locked():
                os.write(tell, b"held")
                os.read(wait, 1)
        finally:
            os._exit(0)
    try:
        assert os.read(told, 4) == b"held"
        yield child
    finally:
        os.close(release)
        os.waitpid(child, 0)
        for descriptor in (told, tell, wait):
            os.close(descriptor)


def test_a_second_process_is_told_who_is_at_work(plain: Path) -> None:
    before = snapshot(plain)
    with held_by_another(plain) as pid, pytest.raises(ApplyError) as caught:
        apply(plain, UPGRADE, quiet)
    assert caught.value.key == "locked"
    assert caught.value.values["target"] == plain
    assert str(caught.value.values["owner"]).startswith(f"pid {pid} on {socket.gethostname()}, since 20")
    assert snapshot(plain) == before


def test_a_rollback_waits_for_nobody_either(journal: Journal) -> None:
    with held_by_another(journal.root), pytest.raises(ApplyError) as caught:
        roll_back(journal.root, None)
    assert caught.value.key == "locked"
    assert modules(journal.root) == NEW


def test_when_the_other_is_done_it_goes_through(plain: Path) -> None:
    with held_by_another(plain):
        pass
    apply(plain, UPGRADE, quiet)
    assert modules(plain) == NEW


def test_a_lock_is_let_go_after_a_failure(plain: Path) -> None:
    with pytest.raises(ZeroDivisionError), Journal(plain).locked():
        raise ZeroDivisionError
    with Journal(plain).locked():
        pass


def test_a_change_at_work_is_no_interrupted_one(plain: Path) -> None:
    """The doctor may be asked while an upgrade runs; nothing is wrong then."""
    Journal(plain).create()
    Journal(plain).append("begin", id=2, kind="upgrade", before="", after="", why="", **{"from": 1})
    with held_by_another(plain):
        assert unfinished(plain) is None
    assert unfinished(plain).id == 2


def test_two_environments_do_not_wait_for_each_other(plain: Path) -> None:
    with held_by_another(plain.with_name("other")):
        apply(plain, UPGRADE, quiet)
    assert modules(plain) == NEW
