"""Two folders trade names: at once where the system can, else in three renames that fail as if nothing had been done."""

from __future__ import annotations

import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from archfit.transaction.exchange import aside_name, exchange, repair, uninterrupted
from laboratory import EXCHANGE


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").write_text(name, "utf-8")
    return tmp_path / "one", tmp_path / "two"


def names(folder: Path) -> dict[str, str]:
    return {path.name: (path / "content").read_text("utf-8") for path in folder.iterdir()}


def test_two_folders_trade_names(pair: tuple[Path, Path], tmp_path: Path) -> None:
    exchange(*pair)
    assert names(tmp_path) == {"one": "two", "two": "one"}


def test_twice_is_back(pair: tuple[Path, Path], tmp_path: Path) -> None:
    exchange(*pair)
    exchange(*pair)
    assert names(tmp_path) == {"one": "one", "two": "two"}


@pytest.mark.usefixtures("no_exchange")
def test_without_the_system_call_three_renames_do_the_same(pair: tuple[Path, Path], tmp_path: Path) -> None:
    exchange(*pair)
    assert names(tmp_path) == {"one": "two", "two": "one"}


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_folder_is_an_error_and_nothing_is_renamed(
    pair: tuple[Path, Path], tmp_path: Path, missing: int
) -> None:
    (pair[missing] / "content").unlink()
    pair[missing].rmdir()
    kept = names(tmp_path)
    with pytest.raises(FileNotFoundError):
        exchange(*pair)
    assert names(tmp_path) == kept


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_rename_that_fails_undoes_the_ones_before(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    rename, calls = Path.rename, []

    def failing(self: Path, target: Path) -> Path:
        calls.append(self)
        if len(calls) == call:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="Input/output error"):
        exchange(*pair)
    assert names(tmp_path) == {"one": "one", "two": "two"}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EBUSY, errno.EROFS])
def test_a_refusal_is_no_reason_to_rename_thrice(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(EXCHANGE, "rename_exchange", refuse)
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at
        exchange(*pair)
    assert caught.value.errno == number
    assert names(tmp_path) == {"one": "one", "two": "two"}


@pytest.mark.parametrize(
    ("done", "repaired"),
    [
        (0, {"one": "one", "two": "two"}),
        (1, {"one": "one", "two": "two"}),
        (2, {"one": "two", "two": "one"}),
        (3, {"one": "two", "two": "one"}),
    ],
)
def test_a_cut_between_renames_is_repaired(
    pair: tuple[Path, Path], tmp_path: Path, done: int, repaired: dict[str, str]
) -> None:
    one, two = pair
    for source, target in ((one, aside_name(two)), (two, one), (aside_name(two), two))[:done]:
        source.rename(target)
    repair(one, two)
    repair(one, two)
    assert names(tmp_path) == repaired


# --- nothing comes between -------------------------------------------------------------------------------------------


def send_and_note(seen: list[str]) -> None:
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        seen.append("went on")
    signal.pthread_sigmask(signal.SIG_BLOCK, ())  # a call in which Python looks for signals


def test_ctrl_c_is_held_back_and_then_heard() -> None:
    seen: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        send_and_note(seen)
    assert seen == ["went on"]


def test_ctrl_c_is_held_back_while_a_progress_bar_runs_in_a_thread() -> None:
    seen: list[str] = []
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            send_and_note(seen)
    finally:
        stop.set()
        thread.join()
    assert seen == ["went on"]


def test_afterwards_signals_do_what_they_did() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    with uninterrupted():
        pass
    after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    assert after == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} == set()


def test_it_holds_in_a_thread_too() -> None:
    seen: list[str] = []

    def work() -> None:
        with uninterrupted():
            seen.append("inside")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["inside"]
