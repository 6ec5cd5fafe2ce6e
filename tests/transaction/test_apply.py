"""Apply, roll back, history: what is in place, what it is called, what comes back; and what is refused."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections import namedtuple
from pathlib import Path
from time import sleep

import pytest

from archfit.errors import ApplyError, ArchfitError, ExitCode
from archfit.model import Evidence, Proof, Verification
from archfit.transaction import apply, read_history, roll_back, unfinished
from laboratory import (
    APPLY,
    NEW,
    OLD,
    SITE,
    UPGRADE,
    around,
    assert_settled,
    change_to,
    make_plain,
    modules,
    quiet,
    snapshot,
)

NEWER = {"demo.py": "version = 3\n"}


# --- forth and back --------------------------------------------------------------------------------------------------


def test_an_upgrade_puts_the_new_in_place_and_keeps_the_old(plain: Path) -> None:
    old = snapshot(plain)
    apply(plain, UPGRADE, quiet)
    assert modules(plain) == NEW
    assert snapshot(plain.with_name("live.archfit-1")) == old
    assert_settled(plain)


def test_what_is_not_changed_is_shared(plain: Path) -> None:
    library = plain / SITE / "lib/libdemo.so"
    inode = library.stat().st_ino
    apply(plain, UPGRADE, quiet)
    assert library.stat().st_ino == inode


def test_after_an_upgrade_pyvenv_cfg_is_as_it_was(plain: Path) -> None:
    before = snapshot(plain)["pyvenv.cfg"]
    apply(plain, UPGRADE, quiet)
    assert snapshot(plain)["pyvenv.cfg"] == before


def test_while_installing_new_scripts_are_relocatable_and_the_live_one_is_not_touched(plain: Path) -> None:
    seen: list[str] = []

    def look(clone: Path) -> None:
        seen.extend((folder / "pyvenv.cfg").read_text("utf-8") for folder in (clone, plain))

    apply(plain, APPLY.Change("demo 1", "demo 2", "", look, UPGRADE.verify), quiet)
    original = "home = /usr/bin\nversion_info = 3.11\n"
    assert seen == [original + "relocatable = true\n", original]


def test_a_rollback_brings_the_old_back_bit_for_bit(plain: Path) -> None:
    old = snapshot(plain)
    apply(plain, UPGRADE, quiet)
    new = snapshot(plain)
    roll_back(plain, None)
    assert snapshot(plain) == old
    assert snapshot(plain.with_name("live.archfit-2")) == new
    assert_settled(plain)


def test_forth_again_is_a_rollback_too(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    new = snapshot(plain)
    roll_back(plain, None)
    roll_back(plain, None)
    assert snapshot(plain) == new
    assert_settled(plain)


@pytest.mark.usefixtures("no_exchange")
def test_all_of_it_without_the_system_call(plain: Path) -> None:
    old = snapshot(plain)
    apply(plain, UPGRADE, quiet)
    assert modules(plain) == NEW
    roll_back(plain, None)
    assert snapshot(plain) == old
    assert_settled(plain)


def test_rollback_to_any_number(plain: Path) -> None:
    seen = {1: snapshot(plain)}
    for number in (2, 3, 4):
        apply(plain, change_to({"demo.py": f"version = {number}\n"}), quiet)
        seen[number] = snapshot(plain)
    for number in (1, 3, 2, 4, 1):
        roll_back(plain, number)
        assert snapshot(plain) == seen[number]
        assert_settled(plain)


def test_an_upgrade_after_a_rollback_gets_a_number_of_its_own(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    roll_back(plain, 1)
    apply(plain, change_to(NEWER, after="demo 3"), quiet)
    assert [(s.id, s.label, s.live) for s in read_history(plain).states] == [
        (1, "demo 1", False),
        (2, "demo 2", False),
        (3, "demo 3", True),
    ]
    assert read_history(plain).previous().id == 1
    assert_settled(plain)


def test_a_link_to_the_environment_leads_to_it(plain: Path, tmp_path: Path) -> None:
    (alias := tmp_path / "alias").symlink_to(plain)
    apply(alias, UPGRADE, quiet)
    assert modules(plain) == NEW
    assert around(plain) == {"", ".archfit", ".archfit-1"}
    assert roll_back(alias, None).root == plain
    assert modules(plain) == OLD


@pytest.mark.parametrize("name", ["with space", "環境", "a[b]*?", "-v", "live.archfit", "dot.env"])
def test_any_name_of_an_environment_will_do(tmp_path: Path, name: str) -> None:
    root = make_plain(tmp_path / name)
    apply(root, UPGRADE, quiet)
    assert_settled(root)
    roll_back(root, None)
    assert modules(root) == OLD
    assert_settled(root)


def test_neighbours_with_similar_names_are_left_alone(plain: Path) -> None:
    neighbour = make_plain(plain.with_name("live2"))
    apply(neighbour, UPGRADE, quiet)
    before = snapshot(neighbour)
    apply(plain, UPGRADE, quiet)
    roll_back(plain, None)
    assert snapshot(neighbour) == before
    assert around(plain) == {"", ".archfit", ".archfit-2", "2", "2.archfit", "2.archfit-1"}


def test_the_steps_are_told_in_order(plain: Path) -> None:
    told: list[str] = []
    apply(plain, UPGRADE, told.append)
    assert told == ["clone", "install", "verify", "exchange"]


# --- history ---------------------------------------------------------------------------------------------------------


def test_an_environment_that_was_never_changed_has_no_history(plain: Path) -> None:
    story = read_history(plain)
    assert (story.states, story.entries, story.live, story.previous()) == ((), (), None, None)


def test_history_after_an_upgrade(plain: Path) -> None:
    story, proof = apply(plain, UPGRADE, quiet)
    first, second = story.states
    assert (first.id, first.label, first.why, first.live, first.verified) == (1, "demo 1", "", False, "")
    assert (second.id, second.label, second.why, second.live) == (2, "demo 2", "a reason", True)
    assert (first.path, second.path) == (plain.with_name("live.archfit-1"), plain)
    assert (second.verified, proof.level) == ("static", "static")
    assert (story.live, story.previous()) == (second, first)
    assert story == read_history(plain)


def test_the_journal_tells_every_step_in_order(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    story = roll_back(plain, None)
    assert [(e["event"], e["id"]) for e in story.entries] == [
        ("state", 1),
        ("begin", 2),
        ("state", 2),
        ("live", 2),
        ("done", 2),
        ("begin", 1),
        ("live", 1),
        ("done", 1),
    ]


def test_previous_is_what_was_in_place_before(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    apply(plain, change_to(NEWER, after="demo 3"), quiet)
    assert roll_back(plain, 1).previous().id == 3
    assert roll_back(plain, None).previous().id == 1
    assert read_history(plain).live.id == 3


def test_previous_passes_over_a_state_that_was_deleted(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    apply(plain, change_to(NEWER), quiet)
    shutil.rmtree(plain.with_name("live.archfit-2"))
    assert read_history(plain).previous().id == 1


def test_the_record_of_a_change_is_found(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    record = plain.with_name("live.archfit") / "record-2.md"
    record.write_text("# Upgrade", "utf-8")
    assert [s.record for s in read_history(plain).states] == [None, record]


def test_version_control_ignores_the_journal(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    assert (plain.with_name("live.archfit") / ".gitignore").read_text("utf-8") == "*\n"


# --- environments that are moved, replaced, deleted -----------------------------------------------------------------


@pytest.fixture
def replaced(plain: Path) -> Path:
    """The upgraded environment was moved away by its owner and another made in its place."""
    apply(plain, UPGRADE, quiet)
    plain.rename(plain.with_name("away"))
    return make_plain(plain)


def test_another_environment_in_its_place_is_a_new_state(replaced: Path) -> None:
    old = snapshot(replaced)
    apply(replaced, change_to(NEWER, before="another", after="demo 3"), quiet)
    story = read_history(replaced)
    assert [(s.id, s.label, s.live) for s in story.states] == [
        (1, "demo 1", False),
        (2, "demo 2", False),
        (3, "another", False),
        (4, "demo 3", True),
    ]
    assert story.states[1].path is None
    roll_back(replaced, None)
    assert snapshot(replaced) == old


def test_an_environment_that_was_deleted_and_made_anew_is_a_new_state(plain: Path) -> None:
    """On ext4 the new folder has the inode of the old one."""
    apply(plain, UPGRADE, quiet)
    shutil.rmtree(plain)
    sleep(0.02)  # clocks of file systems may tick in 4 ms
    make_plain(plain)
    assert read_history(plain).live is None
    story, _ = apply(plain, change_to(NEWER, before="anew", after="demo 3"), quiet)
    assert [(s.id, s.label, s.path is None) for s in story.states] == [
        (1, "demo 1", False),
        (2, "demo 2", True),
        (3, "anew", False),
        (4, "demo 3", False),
    ]


def test_a_rollback_keeps_another_environment_that_stood_in_its_place(replaced: Path) -> None:
    another = snapshot(replaced)
    roll_back(replaced, 1)
    assert modules(replaced) == OLD
    roll_back(replaced, None)
    assert snapshot(replaced) == another


def test_a_state_whose_folder_is_gone_is_refused(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    shutil.rmtree(plain.with_name("live.archfit-1"))
    before = snapshot(plain)
    with pytest.raises(ApplyError) as caught:
        roll_back(plain, 1)
    assert (caught.value.key, caught.value.values["id"]) == ("state-gone", 1)
    assert snapshot(plain) == before


def test_a_moved_environment_takes_up_its_number_when_it_is_back(plain: Path) -> None:
    apply(plain, UPGRADE, quiet)
    plain.rename(plain.with_name("away"))
    plain.with_name("away").rename(plain)
    assert read_history(plain).live.id == 2
    assert roll_back(plain, None).live.id == 1


# --- refused, and nothing was done -----------------------------------------------------------------------------------


def refused(root: Path, key: str, change: object = UPGRADE) -> ApplyError:
    """Apply, expecting a refusal with this key that leaves everything as it was, beside the environment too."""
    before, beside = snapshot(root), around(root)
    with pytest.raises(ApplyError) as caught:
        apply(root, change, quiet)
    assert (caught.value.key, caught.value.exit_code) == (key, ExitCode.APPLY_REVERTED)
    assert (snapshot(root), around(root)) == (before, beside)
    return caught.value


def test_a_folder_that_is_no_environment_is_refused(plain: Path) -> None:
    (plain / "pyvenv.cfg").unlink()
    assert refused(plain, "refuse-not-venv").values == {"target": plain}


def test_a_base_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/python3").symlink_to("/usr/bin/true")
    refused(tmp_path / "usr", "refuse-not-venv")


@pytest.mark.parametrize("part", ["envs", "pkgs", "condabin"])
def test_the_base_of_conda_is_refused(plain: Path, part: str) -> None:
    (plain / "pyvenv.cfg").unlink()
    (plain / "conda-meta").mkdir()
    (plain / part).mkdir()
    refused(plain, "refuse-conda-base")


@pytest.mark.parametrize("which", ["live", ""])
def test_what_may_not_be_written_is_refused(plain: Path, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    # By its answer, not by its mode: the tests may run as root, who may write everywhere.
    forbidden = plain.parent / which
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != forbidden)
    assert refused(plain, "refuse-read-only").values == {"path": forbidden, "target": plain}


def test_a_mount_point_is_refused(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == plain)
    refused(plain, "refuse-mount")


def test_a_disk_that_is_too_full_is_refused(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10, 10, 4_900_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    error = refused(plain, "disk-full", change_to(NEW, needs_bytes=5_000_000_000))
    assert error.values == {"needed": "5.0 GB", "free": "4.9 GB", "path": plain.parent}


def test_a_disk_with_just_enough_room_will_do(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10, 10, 5_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    apply(plain, change_to(NEW, needs_bytes=5_000_000_000), quiet)
    assert modules(plain) == NEW


UNPROVEN = {
    "failed": (Verification("static", (Evidence("import:demo", Proof.FAILED),)), "import:demo"),
    "mixed": (Verification("static", (Evidence("a", Proof.PASSED), Evidence("b", Proof.FAILED))), "b"),
    "skipped": (Verification("static", (Evidence("a", Proof.SKIPPED),)), "nothing could be proven"),
    "empty": (Verification("static", ()), "nothing could be proven"),
}


@pytest.mark.parametrize("case", UNPROVEN)
def test_what_is_not_proven_does_not_go_live(plain: Path, case: str) -> None:
    proof, failed = UNPROVEN[case]
    before = snapshot(plain)
    with pytest.raises(ApplyError) as caught:
        apply(plain, change_to(NEW, proof=proof), quiet)
    broken = case == "failed"
    told = {"failed": failed, **({"options": "--allow-broken demo"} if broken else {})}
    assert (caught.value.key, caught.value.values) == (f"not-verified{'-packages' if broken else ''}", told)
    assert caught.value.proof == proof
    assert snapshot(plain) == before
    assert_settled(plain)


def write_in_place(root: Path) -> None:
    with (root / SITE / "demo.py").open("a") as file:
        file.write("# written meanwhile\n")


def replace_file(root: Path) -> None:
    (root / SITE / "demo.py").unlink()
    (root / SITE / "demo.py").write_text("version = 9\n", "utf-8")


@pytest.mark.parametrize("meanwhile", [write_in_place, replace_file], ids=lambda f: f.__name__)
@pytest.mark.parametrize("step", ["clone", "install", "verify"])
def test_an_environment_that_changes_meanwhile_is_left_with_its_change(
    plain: Path, meanwhile: object, step: str
) -> None:
    """The other one's work is neither lost nor mixed with ours, whenever it was done."""
    seen: list[object] = []

    def intrude() -> None:
        meanwhile(plain)
        seen.append(snapshot(plain))

    parts = {"install": UPGRADE.install, "verify": UPGRADE.verify}

    def after(name: str) -> object:
        def run(clone: Path) -> object:
            result = parts[name](clone)
            if name == step:
                intrude()
            return result

        return run

    change = APPLY.Change("demo 1", "demo 2", "", after("install"), after("verify"))
    with pytest.MonkeyPatch.context() as patch:
        clone_tree = APPLY.clone_tree
        if step == "clone":
            patch.setattr(APPLY, "clone_tree", lambda *a: (clone_tree(*a), intrude()))
        with pytest.raises(ApplyError) as caught:
            apply(plain, change, quiet)
    assert caught.value.key == "changed-meanwhile"
    assert [snapshot(plain)] == seen
    assert_settled(plain)


def test_scripts_that_name_the_clone_are_made_to_name_the_environment(plain: Path) -> None:
    """What installers write into a conda prefix, which has no pyvenv.cfg to make scripts relocatable."""
    info = plain / SITE / "new-1.dist-info"
    row = "../../../bin/new,sha256=AAAA,9"

    def install(clone: Path) -> None:
        (clone / "bin/new").write_text(f"#!{clone}/bin/python\n", "utf-8")
        (clone / "bin/new").chmod(0o755)
        (clone / SITE / "new-1.dist-info").mkdir()
        (clone / SITE / "new-1.dist-info/RECORD").write_text(f"new.py,,\n{row}\nnew-1.dist-info/RECORD,,\n", "utf-8")

    apply(plain, APPLY.Change("demo 1", "demo 2", "", install, UPGRADE.verify), quiet)
    text = f"#!{plain}/bin/python\n".encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).decode().rstrip("=")
    assert (plain / "bin/new").read_bytes() == text
    assert (plain / "bin/new").stat().st_mode & 0o777 == 0o755
    assert (info / "RECORD").read_text("utf-8").splitlines() == [
        "new.py,,",
        f"../../../bin/new,sha256={digest},{len(text)}",
        "new-1.dist-info/RECORD,,",
    ]
    assert_settled(plain)


@pytest.mark.parametrize(
    ("state", "key", "values"),
    [(2, "state-live", {"id": 2}), (7, "no-state", {"id": 7, "known": "1, 2"})],
)
def test_a_rollback_to_no_other_state_is_refused(plain: Path, state: int, key: str, values: dict[str, object]) -> None:
    apply(plain, UPGRADE, quiet)
    before = snapshot(plain)
    with pytest.raises(ArchfitError) as caught:
        roll_back(plain, state)
    assert (caught.value.key, {name: caught.value.values[name] for name in values}) == (key, values)
    assert snapshot(plain) == before
    assert_settled(plain)


def test_a_rollback_of_what_was_never_changed_is_refused(plain: Path) -> None:
    with pytest.raises(ApplyError) as caught:
        roll_back(plain, None)
    assert caught.value.key == "no-history"
    assert around(plain) == {""}


def test_a_rollback_after_nothing_but_a_failed_upgrade_is_refused(plain: Path) -> None:
    with pytest.raises(ApplyError):
        apply(plain, change_to(NEW, proof=UNPROVEN["failed"][0]), quiet)
    with pytest.raises(ApplyError) as caught:
        roll_back(plain, None)
    assert caught.value.key == "no-previous"
    assert unfinished(plain) is None
    assert_settled(plain)
