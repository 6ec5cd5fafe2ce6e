"""A disk that is full, really; and a power cut, as a copy of what a disk holds at a moment. Both need mounts, so root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from archfit.errors import ApplyError, ExitCode
from archfit.transaction import Change, Journal, apply, recover, roll_back, unfinished
from archfit.transaction.installer import Lock, create_environment, install
from laboratory import (
    APPLY,
    EXCHANGE,
    NEW,
    OLD,
    PASSED,
    UPGRADE,
    At,
    assert_settled,
    change_to,
    make_plain,
    modules,
    output_of,
    quiet,
    sha256,
    snapshot,
)

MEGABYTE = 1_000_000


def _mount(*words: str | Path) -> bool:
    return subprocess.run(["mount", *map(str, words)], capture_output=True, check=False).returncode == 0


@contextmanager
def mounted(place: Path, *words: str | Path) -> Iterator[Path]:
    """A file system of its own for the time of a test."""
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None or not _mount(*words, place):
        pytest.skip("may not mount here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB, in memory."""
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=12m", "tmpfs") as place:
        yield place


def fill(folder: Path, leave: int) -> Path:
    """Leave so many bytes free, to a page."""
    path = folder / "ballast"
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(folder).free - leave))
    return path


def failure_of(action: Callable[[], object]) -> ApplyError | None:
    """How it was refused; None if it went through."""
    try:
        action()
    except ApplyError as error:
        return error
    return None


@pytest.mark.parametrize("leave", [0, 4096, 8192, 12288, 16384, 32768, 65536])
def test_a_disk_that_is_full_at_some_moment(small: Path, leave: int) -> None:
    root = make_plain(small / "live")
    before = snapshot(root)
    ballast = fill(small, leave)
    error = failure_of(lambda: apply(root, change_to(NEW | {"demo.py": "#" * 40_000}), quiet))
    if error is None:
        assert leave > 40_000
    else:
        assert error.exit_code == ExitCode.APPLY_REVERTED
        assert snapshot(root) == before
    ballast.unlink()
    recover(root)
    apply(root, change_to(NEW), quiet)
    assert modules(root) == NEW
    assert_settled(root)


def test_installing_for_real_onto_a_disk_that_gets_full(small: Path, offline: Path, wheels: Path) -> None:
    """On another file system than uv's cache, too: there are no links between the two."""
    root = small / "live"
    create_environment(root, sys.executable, ["demo==1"])
    before = snapshot(root)
    lock = Lock(f"demo==2 --hash=sha256:{sha256(wheels / 'demo-2-py3-none-any.whl')}\n", None, ())

    def install_on_a_full_disk(clone: Path) -> None:
        ballast = fill(small, 4096)
        try:
            install(clone / "bin/python", lock)
        finally:
            ballast.unlink()

    with pytest.raises(ApplyError) as caught:
        apply(root, Change("demo 1", "demo 2", "", install_on_a_full_disk, lambda _: PASSED), quiet)
    assert (caught.value.key, "No space left" in str(caught.value.values)) == ("install-failed", True)
    assert snapshot(root) == before
    assert_settled(root)
    apply(root, Change("demo 1", "demo 2", "", lambda c: install(c / "bin/python", lock), lambda _: PASSED), quiet)
    assert output_of(root / "bin/demo") == f"demo 2 {root}"


# --- power cuts ------------------------------------------------------------------------------------------------------


class Disk:
    """An ext4 file system in a file; the file holds what a disk would hold if the power went now."""

    def __init__(self, folder: Path) -> None:
        self.image, self.place, self.folder = folder / "disk", folder / "mounted", folder
        self.image.touch()
        os.truncate(self.image, 16 * MEGABYTE)
        made = subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], capture_output=True, check=False)
        if made.returncode != 0:
            pytest.skip("cannot make an ext4 file system here")

    def mounted(self) -> object:
        return mounted(self.place, "-o", "loop,commit=300", self.image)  # what is not synchronised stays in memory

    def cut(self, name: str) -> Path:
        copy = self.folder / name
        subprocess.run(["cp", "--sparse=always", self.image, copy], check=True)
        return copy


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("may not mount here")
    return Disk(tmp_path)


def test_the_disk_forgets_what_was_not_synchronised(disk: Disk) -> None:
    """Else the test below would prove nothing."""
    with disk.mounted() as place:  # type: ignore[attr-defined]
        (place / "unsynchronised").write_text("a", "utf-8")
        copy = disk.cut("copy")
    with mounted(disk.folder / "after", "-o", "loop", copy) as after:
        assert not (after / "unsynchronised").exists()


MOMENTS = {
    "cloned": (At(APPLY, "clone_tree", after=True), OLD),
    "installed": (At(APPLY, "name_by", after=True), OLD),
    "before the exchange": (At(EXCHANGE, "rename_exchange"), OLD),
    "exchanged": (At(EXCHANGE, "sync_folder", after=True), NEW),
    "said to be live": (At(Journal, "append", 4, after=True), NEW),
    "done": (At(Journal, "append", 5, after=True), NEW),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_power_cut(disk: Disk, moment: str) -> None:
    place, there = MOMENTS[moment]
    with disk.mounted() as mount:  # type: ignore[attr-defined]
        root = make_plain(mount / "live")
        os.sync()
        old = snapshot(root)
        with pytest.MonkeyPatch.context() as patch:
            place.arm(lambda: disk.cut("copy"), patch.setattr)
            apply(root, UPGRADE, quiet)
    with mounted(disk.folder / "after", "-o", "loop", disk.folder / "copy") as after:
        root = after / "live"
        assert modules(root) == there
        assert unfinished(root) is None if moment == "done" else unfinished(root) is not None
        recover(root)
        assert modules(root) == there
        assert_settled(root)
        roll_back(root, 1) if there == NEW else None
        assert snapshot(root) == old


def test_without_the_flush_a_power_cut_loses_the_new_files(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why everything is brought onto the disk before the exchange."""
    skip: Callable[[Path], None] = lambda _: None  # noqa: E731
    monkeypatch.setattr("archfit.transaction.tree._sync", skip)
    with disk.mounted() as mount:  # type: ignore[attr-defined]
        root = make_plain(mount / "live")
        os.sync()
        with pytest.MonkeyPatch.context() as patch:
            MOMENTS["done"][0].arm(lambda: disk.cut("copy"), patch.setattr)
            apply(root, UPGRADE, quiet)
    with mounted(disk.folder / "after", "-o", "loop", disk.folder / "copy") as after:
        assert modules(after / "live") != NEW
