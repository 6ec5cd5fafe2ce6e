"""What is kept takes only what changed, and is given up after asking."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archfit.cli import run
from archfit.transaction import apply, freed_bytes, kept_bytes, read_history, remove_states, roll_back
from laboratory import NEW, SITE, UPGRADE, assert_settled, change_to, modules, quiet, snapshot

SHARED = f"{SITE}/lib/big.bin"


@pytest.fixture
def three(plain: Path) -> Path:
    """An environment with two old states; a big file is shared by all, a middle one by the first two."""
    (plain / SHARED).write_bytes(b"x" * 1_000_000)
    (plain / SITE / "only_old.py").write_bytes(b"#" * 200_000)
    apply(plain, change_to(NEW), quiet)
    apply(plain, change_to({"demo.py": "version = 3\n"}, after="demo 3"), quiet)
    return plain


def test_a_state_takes_what_it_shares_with_no_other(three: Path) -> None:
    kept = kept_bytes(read_history(three))
    assert sorted(kept) == [1, 2]
    assert 200_000 <= kept[1] < 300_000
    assert kept[2] < 100_000


def test_giving_up_all_frees_what_only_they_have(three: Path) -> None:
    folders = [s.path for s in read_history(three).states if not s.live]
    assert 200_000 <= freed_bytes(folders) < 400_000


def test_what_is_given_up_is_gone_and_the_rest_is_whole(three: Path) -> None:
    live, second = snapshot(three), snapshot(three.with_name("live.archfit-2"))
    story = remove_states(three, [1])
    assert [(s.id, s.path is None) for s in story.states] == [(1, True), (2, False), (3, False)]
    assert (snapshot(three), snapshot(three.with_name("live.archfit-2"))) == (live, second)
    assert story.previous().id == 2
    roll_back(three, None)
    assert modules(three) == NEW


def test_the_one_in_place_is_never_given_up(three: Path) -> None:
    live = snapshot(three)
    remove_states(three, [1, 2, 3])
    assert snapshot(three) == live
    assert read_history(three).live.id == 3
    apply(three, UPGRADE, quiet)
    assert modules(three) == NEW


def test_cleaning_asks_and_says_what_it_frees(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(three.with_name("live.archfit-1"))
    assert run(["clean", str(three), "--lang", "en"]) == 2  # nobody is there to be asked
    assert snapshot(three.with_name("live.archfit-1")) == before
    assert run(["clean", str(three), "--yes", "--lang", "en"]) == 0
    out = capsys.readouterr().out
    assert "Giving up 2 state(s) frees" in out
    assert "The old states" in out or "the old states" in out
    assert [s.id for s in read_history(three).states if s.path] == [3]


def test_cleaning_keeps_the_newest(three: Path) -> None:
    assert run(["clean", str(three), "--keep", "1", "--yes"]) == 0
    assert [s.id for s in read_history(three).states if s.path] == [2, 3]
    assert run(["clean", str(three), "--keep", "-1", "--yes"]) == 2
    assert run(["clean", str(three), "--keep", "5", "--yes"]) == 0
    assert_settled_but_for(three, 1)


def assert_settled_but_for(root: Path, gone: int) -> None:
    story = read_history(root)
    assert [s.id for s in story.states if s.path is None] == [gone]
    assert sorted(p.name for p in root.parent.glob("live*")) == ["live", "live.archfit", "live.archfit-2"]


def test_history_tells_from_what_to_what_and_the_way_back(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roll_back(three, 1)
    assert run(["history", str(three), "--lang", "en"]) == 0
    assert "back from state 3 to state 1" in capsys.readouterr().out
    assert run(["history", str(three), "--json"]) == 0
    states = json.loads(capsys.readouterr().out)["states"]
    assert [(s["from"], s["label"], s["why"]) for s in states] == [
        (None, "demo 1", ""),
        ("demo 1", "demo 2", "a reason"),
        ("demo 1", "demo 3", "a reason"),
    ]
    assert [s["bytes_kept"] is None for s in states] == [True, False, False]
    assert_settled(three)
