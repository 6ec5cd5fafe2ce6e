"""Laws of a folder as a whole: a clone shares every file, a fingerprint tells every change, a removal is complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from archfit.transaction.relocate import name_by
from archfit.transaction.tree import clone_tree, fingerprint, identity, remove_tree
from laboratory import SITE, Snapshot, snapshot


@pytest.fixture
def clone(plain: Path) -> Path:
    target = plain.with_name("clone")
    clone_tree(plain, target)
    return target


def without_link_times(seen: Snapshot) -> Snapshot:
    """The time of a symbolic link itself is not kept; nothing reads it."""
    return {path: (row[0], *row[2:]) if row[0] == "link" else row for path, row in seen.items()}


def inodes(root: Path) -> dict[str, int]:
    files = (p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    return {str(p.relative_to(root)): p.stat().st_ino for p in files}


# --- clone -----------------------------------------------------------------------------------------------------------


def test_a_clone_has_the_same_bytes_modes_times_and_links(plain: Path, clone: Path) -> None:
    assert without_link_times(snapshot(clone)) == without_link_times(snapshot(plain))
    assert clone.stat().st_mtime_ns == plain.stat().st_mtime_ns


def test_a_clone_shares_every_file_but_those_that_are_written_in_place(plain: Path, clone: Path) -> None:
    apart = {name for name, inode in inodes(plain).items() if inodes(clone)[name] != inode}
    assert inodes(clone).keys() == inodes(plain).keys()
    assert {Path(name).suffix for name in apart} == {".cfg"}


def test_what_is_written_into_a_path_file_stays_in_its_own_state(plain: Path, tmp_path: Path) -> None:
    """Old installers append to easy-install.pth; through a hard link that would change the kept state, too."""
    (plain / SITE / "easy-install.pth").write_text("before\n", "utf-8")
    clone_tree(plain, tmp_path / "copy")
    with (tmp_path / "copy" / SITE / "easy-install.pth").open("a") as file:
        file.write("after\n")
    assert (plain / SITE / "easy-install.pth").read_text("utf-8") == "before\n"


def test_folders_are_the_clones_own(plain: Path, clone: Path) -> None:
    (clone / SITE / "new.py").write_text("", "utf-8")
    assert not (plain / SITE / "new.py").exists()


@pytest.mark.parametrize("text", ["python3", "../away", "/nowhere/at/all", "lib"])
def test_the_text_of_a_link_is_kept(plain: Path, text: str) -> None:
    (plain / "a link").symlink_to(text)
    clone_tree(plain, plain.with_name("clone"))
    assert str((plain.with_name("clone") / "a link").readlink()) == text


def test_a_mode_of_its_own_is_kept(plain: Path) -> None:
    (plain / SITE).chmod(0o750)
    clone_tree(plain, plain.with_name("clone"))
    assert (plain.with_name("clone") / SITE).stat().st_mode & 0o7777 == 0o750


def test_the_lock_of_the_environment_stays_with_it(plain: Path) -> None:
    (plain / ".lock").touch()
    clone_tree(plain, plain.with_name("clone"))
    assert not (plain.with_name("clone") / ".lock").exists()


def test_a_file_of_a_package_that_is_called_lock_is_cloned(plain: Path) -> None:
    (plain / SITE / ".lock").write_text("part of a package", "utf-8")
    clone_tree(plain, plain.with_name("clone"))
    assert (plain.with_name("clone") / SITE / ".lock").read_text("utf-8") == "part of a package"


def test_nothing_is_cloned_over_what_is_there(plain: Path, clone: Path) -> None:
    with pytest.raises(FileExistsError):
        clone_tree(plain, clone)


@pytest.mark.parametrize("number", [errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP])
def test_where_links_are_refused_files_are_copied(plain: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    clone_tree(plain, clone := plain.with_name("clone"))
    assert without_link_times(snapshot(clone)) == without_link_times(snapshot(plain))
    assert not set(inodes(clone).values()) & set(inodes(plain).values())


def test_a_full_disk_is_no_reason_to_copy(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="No space left"):
        clone_tree(plain, plain.with_name("clone"))


# --- fingerprint -----------------------------------------------------------------------------------------------------


def replace(root: Path) -> None:
    (root / SITE / "new").write_text("version = 1\n", "utf-8")
    (root / SITE / "new").rename(root / SITE / "demo.py")


def write(root: Path) -> None:
    (root / SITE / "demo.py").write_text("version = 3\n", "utf-8")


def append(root: Path) -> None:
    with (root / "pyvenv.cfg").open("a") as file:
        file.write("more = 1\n")


def chmod(root: Path) -> None:
    (root / "bin/tool").chmod(0o700)


def chmod_folder(root: Path) -> None:
    (root / SITE).chmod(0o700)


def add(root: Path) -> None:
    (root / SITE / "added").touch()


def add_folder(root: Path) -> None:
    (root / SITE / "added").mkdir()


def remove(root: Path) -> None:
    (root / SITE / "only_old.py").unlink()


def rename(root: Path) -> None:
    (root / SITE / "only_old.py").rename(root / SITE / "renamed.py")


def relink(root: Path) -> None:
    (root / "bin/python").unlink()
    (root / "bin/python").symlink_to("/bin/true")


def link_becomes_file(root: Path) -> None:
    (root / "bin/python").unlink()
    (root / "bin/python").touch()


CHANGES = (
    replace,
    write,
    append,
    chmod,
    chmod_folder,
    add,
    add_folder,
    remove,
    rename,
    relink,
    link_becomes_file,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_every_change_is_told(plain: Path, change: Callable[[Path], None]) -> None:
    before = fingerprint(plain)
    change(plain)
    assert fingerprint(plain) != before


def test_looking_and_cloning_tell_nothing(plain: Path) -> None:
    before = fingerprint(plain)
    (plain / SITE / "demo.py").read_text("utf-8")
    clone_tree(plain, plain.with_name("clone"))
    assert fingerprint(plain) == before
    assert fingerprint(plain.with_name("clone")) == before


def test_what_happens_in_the_clone_is_not_told(plain: Path, clone: Path) -> None:
    before = fingerprint(plain)
    replace(clone)
    add(clone)
    remove(clone)
    assert fingerprint(plain) == before


def test_a_write_through_the_clone_is_told(plain: Path, clone: Path) -> None:
    before = fingerprint(plain)
    write(clone)
    assert fingerprint(plain) != before


def test_the_lock_of_the_environment_and_its_time_are_told_by_nothing(plain: Path) -> None:
    before = fingerprint(plain)
    (plain / ".lock").write_text("held", "utf-8")
    os.utime(plain, (0, 0))
    assert fingerprint(plain) == before


def test_the_name_of_the_environment_does_not_count(plain: Path) -> None:
    before = fingerprint(plain)
    assert fingerprint(plain.rename(plain.with_name("moved"))) == before


# --- identity and removal --------------------------------------------------------------------------------------------


def test_an_identity_survives_renaming(plain: Path) -> None:
    before = identity(plain)
    assert identity(plain.rename(plain.with_name("moved"))) == before


def test_a_clone_has_an_identity_of_its_own(plain: Path, clone: Path) -> None:
    assert identity(plain) != identity(clone)


def test_nothing_has_no_identity(plain: Path) -> None:
    assert identity(plain / "missing") is None


def test_removing_a_clone_leaves_the_original(plain: Path, clone: Path) -> None:
    before = snapshot(plain)
    remove_tree(clone)
    assert not os.path.lexists(clone)
    assert snapshot(plain) == before


def test_removing_what_is_gone_is_fine(plain: Path) -> None:
    remove_tree(plain / "missing")


def test_a_link_inside_is_removed_and_not_followed(plain: Path, tmp_path: Path) -> None:
    (outside := tmp_path / "outside").mkdir()
    (plain / "way out").symlink_to(outside)
    remove_tree(plain)
    assert outside.is_dir()


def test_folders_that_may_not_be_written_are_removed_too(plain: Path) -> None:
    """As a user who is not root, for root may do everything."""
    (plain / SITE / "lib").chmod(0o555)
    (plain / SITE).chmod(0o555)
    if os.geteuid() == 0:
        for path in (plain.parent, plain, *plain.rglob("*")):
            os.chown(path, 65534, 65534, follow_symlinks=False)
    child = os.fork()
    if child == 0:
        try:
            os.chdir(plain.parent)  # the folders above belong to whoever runs the tests
            os.setuid(65534 if os.geteuid() == 0 else os.geteuid())
            remove_tree(Path(plain.name))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert not os.path.lexists(plain)


# --- names of the clone ----------------------------------------------------------------------------------------------


def test_scripts_and_path_files_are_made_to_name_the_environment(plain: Path, clone: Path) -> None:
    (clone / "bin/new").write_text(f"#!{clone}/bin/python\n", "utf-8")
    (clone / SITE / "new.pth").write_text(f"{clone}/src\n", "utf-8")
    (clone / SITE / "note.txt").write_text(f"{clone}\n", "utf-8")
    name_by(clone, plain)
    assert (clone / "bin/new").read_text("utf-8") == f"#!{plain}/bin/python\n"
    assert (clone / SITE / "new.pth").read_text("utf-8") == f"{plain}/src\n"
    assert (clone / SITE / "note.txt").read_text("utf-8") == f"{clone}\n"


def test_where_nothing_names_the_clone_nothing_is_written(plain: Path, clone: Path) -> None:
    (clone / "bin/old").write_text(f"#!{plain}/bin/python\n", "utf-8")
    before = inodes(clone), snapshot(clone)
    name_by(clone, plain)
    assert (inodes(clone), snapshot(clone)) == before


def test_compiled_code_that_an_import_leaves_is_no_change(plain: Path) -> None:
    before = fingerprint(plain)
    (plain / "__pycache__").mkdir(exist_ok=True)
    (plain / "__pycache__" / "new.cpython-311.pyc").write_bytes(b"x")
    assert fingerprint(plain) == before
