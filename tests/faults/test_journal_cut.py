"""A journal that is cut anywhere, and a clock that goes back: the environment stays, and there is a way on and a way back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from archfit.errors import ArchfitError
from archfit.transaction import Journal, apply, read_history, recover, roll_back, unfinished
from laboratory import (
    EXCHANGE,
    JOURNAL,
    NEW,
    OLD,
    UPGRADE,
    At,
    change_to,
    die,
    killed,
    make_plain,
    modules,
    quiet,
    snapshot,
)

NEWER = {"demo.py": "version = 3\n"}
CUTS = {
    "settled": (None, NEW),
    "before the exchange": (At(EXCHANGE, "rename_exchange"), OLD),
    "after the exchange": (At(EXCHANGE, "rename_exchange", after=True), NEW),
}


def interrupted(root: Path, place: At | None) -> Path:
    """An environment whose change was killed there, or went through."""
    make_plain(root)
    if place is None:
        apply(root, UPGRADE, quiet)
    else:
        killed(lambda: place.arm(die), lambda: apply(root, UPGRADE, quiet))
    return root


@pytest.mark.parametrize("case", CUTS)
def test_a_journal_cut_at_every_byte_can_be_read(tmp_path: Path, case: str) -> None:
    root = interrupted(tmp_path / "live", CUTS[case][0])
    journal = Journal(root).path
    whole, before = journal.read_bytes(), snapshot(root)
    lines = Journal(root).entries()
    for cut in range(len(whole) + 1):
        journal.write_bytes(whole[:cut])
        assert Journal(root).entries() == lines[: len(Journal(root).entries())]
        read_history(root)
        unfinished(root)
    assert snapshot(root) == before


@pytest.mark.parametrize("inside", [0, 9], ids=["between lines", "inside a line"])
@pytest.mark.parametrize("lines", range(6))
@pytest.mark.parametrize("case", CUTS)
def test_a_cut_journal_leads_on_and_back(tmp_path: Path, case: str, lines: int, inside: int) -> None:
    place, there = CUTS[case]
    root = interrupted(tmp_path / "live", place)
    journal = Journal(root).path
    rows = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(rows[:lines]) + b"".join(rows[lines : lines + 1])[:inside])
    before = snapshot(root)
    recover(root)
    assert snapshot(root) == before
    assert modules(root) == there
    if there == NEW:  # the only copy of the old one: whatever was lost, it is never removed
        assert [modules(path) for path in root.parent.glob("live.archfit-*")] == [OLD]
    apply(root, change_to(NEWER, before="found", after="demo 3"), quiet)
    assert modules(root) == NEWER
    roll_back(root, None)
    assert snapshot(root) == before


def test_where_the_end_of_the_journal_is_lost_the_old_state_can_come_back(plain: Path) -> None:
    old = snapshot(plain)
    apply(plain, UPGRADE, quiet)
    journal = Journal(plain).path
    journal.write_text(journal.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    assert [(s.id, s.live) for s in read_history(plain).states] == [(1, False)]
    roll_back(plain, None)
    assert snapshot(plain) == old
    assert modules(read_history(plain).previous().path) == NEW


def test_a_clock_that_goes_back_confuses_nothing(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are told to people; what came first is told by the order of the lines."""
    now = datetime(2030, 1, 1, tzinfo=UTC)

    def earlier() -> str:
        nonlocal now
        now -= timedelta(days=30)
        return now.isoformat(timespec="seconds")

    monkeypatch.setattr(JOURNAL, "_now", earlier)
    old = snapshot(plain)
    apply(plain, UPGRADE, quiet)
    apply(plain, change_to(NEWER, after="demo 3"), quiet)
    assert [s.label for s in read_history(plain).states] == ["demo 1", "demo 2", "demo 3"]
    assert roll_back(plain, None).live.id == 2
    assert roll_back(plain, 1).live.id == 1
    assert snapshot(plain) == old


def test_a_journal_that_may_not_be_read_is_said(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    path = Journal(plain).path
    path.unlink()
    path.mkdir()
    with pytest.raises(ArchfitError, match="journal-unreadable"):
        unfinished(plain)
