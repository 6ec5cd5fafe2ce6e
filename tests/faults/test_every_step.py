"""Every call that changes the disk fails in turn, with each kind of failure: the environment is the old one or the new one.

Nothing here knows the steps of the code: the k-th call fails, for k = 1, 2, 3, … until a run ends before its k-th.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from archfit.errors import ArchfitError, ExitCode
from archfit.transaction import apply, recover, remove_states, roll_back, unfinished
from laboratory import FITNESS, NEW, OLD, UPGRADE, around, assert_settled, die, make_plain, modules, quiet, snapshot

CALLS = ("mkdir", "link", "symlink", "rename", "unlink", "rmdir", "fsync", "chmod", "utime")
LEAST = 4
"""So many calls make any of these at the least: less would mean that the tests no longer see them."""

Action = Callable[[Path], object]
Failure = Callable[[], None]


def upgrade(root: Path) -> None:
    apply(root, UPGRADE, quiet)


def back(root: Path) -> None:
    roll_back(root, None)


def prepared(root: Path, action: Action) -> Path:
    """An environment on which `action` has something to do."""
    make_plain(root)
    if action is not upgrade:
        upgrade(root)
    return root


def failing_at(number: int, failure: Failure, patch: pytest.MonkeyPatch) -> list[str]:
    """Let the call of this number fail; returns what was called, in order."""
    called: list[str] = []

    def watched(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            called.append(name)
            if len(called) == number:
                failure()
            return original(*arguments, **named)

        return call

    for name in CALLS:
        patch.setattr(os, name, watched(name, getattr(os, name)))
    return called


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


def ctrl_c() -> None:
    raise KeyboardInterrupt


def settle_by_recovering(root: Path) -> None:
    recover(root)


def settle_by_upgrading(root: Path) -> None:
    if unfinished(root):
        apply(root, UPGRADE, quiet)


SETTLE = (settle_by_recovering, settle_by_upgrading)


def places(folder: Path, action: Action) -> Iterator[tuple[int, Path]]:
    """A number and a fresh environment, without an end: who asks stops when a run was through before its call."""
    for number in count(1):
        (folder / str(number)).mkdir()
        yield number, prepared(folder / str(number) / "live", action)


def ends_by_kill(root: Path, number: int, action: Action) -> bool:
    """Run `action` in a child that is killed at its call of this number; False if it came to its end."""
    child = os.fork()
    if child == 0:
        failing_at(number, die, pytest.MonkeyPatch())
        action(root)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0
    return os.WIFSIGNALED(status)


@pytest.fixture(autouse=True)
def nobody_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """To look at every process of this machine a hundred times takes long, and writes nothing."""
    monkeypatch.setattr(FITNESS, "users_of", lambda _: ())


@pytest.mark.parametrize("action", [upgrade, back], ids=lambda f: f.__name__)
@pytest.mark.parametrize("failure", [full, ctrl_c], ids=lambda f: f.__name__)
def test_an_error_at_every_call(tmp_path: Path, failure: Failure, action: Action) -> None:
    for number, root in places(tmp_path, action):
        before = snapshot(root)
        error: BaseException | None = None
        with pytest.MonkeyPatch.context() as patch:
            called = failing_at(number, failure, patch)
            try:
                action(root)
            except (ArchfitError, KeyboardInterrupt) as caught:
                error = caught
        if len(called) < number:
            break
        told = f"call {number}, {called[number - 1]}: {error!r}"
        assert modules(root) in (OLD, NEW), told
        if isinstance(error, ArchfitError) and error.exit_code is ExitCode.APPLY_REVERTED:
            assert snapshot(root) == before, told
        SETTLE[number % 2](root)
        assert modules(root) in (OLD, NEW), told
        assert around(root) == {""} or assert_settled(root) is None
    assert number > LEAST


@pytest.mark.parametrize("action", [upgrade, back], ids=lambda f: f.__name__)
def test_a_kill_at_every_call(tmp_path: Path, action: Action) -> None:
    for number, root in places(tmp_path, action):
        if not ends_by_kill(root, number, action):
            break
        assert modules(root) in (OLD, NEW), f"call {number}"
        SETTLE[number % 2](root)
        assert modules(root) in (OLD, NEW), f"call {number}"
        assert around(root) == {""} or assert_settled(root) is None
    assert number > LEAST


def test_a_kill_at_every_call_of_giving_up_a_state(tmp_path: Path) -> None:
    """The one in place is untouched; the other is whole, or on no list any more and gone at the next removal."""

    def give_up(root: Path) -> None:
        remove_states(root, [1])

    for number, root in places(tmp_path, give_up):
        if not ends_by_kill(root, number, give_up):
            break
        assert modules(root) == NEW
        story = remove_states(root, [1])
        assert [s.id for s in story.states if s.path] == [2]
        assert sorted(p.name for p in root.parent.iterdir()) == ["live", "live.archfit"]
    assert number > LEAST
