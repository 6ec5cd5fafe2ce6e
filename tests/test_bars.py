"""Bars say what is done, how fast and how much longer, in the width there is; and nothing where nobody watches."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress

from archfit import api
from archfit.bars import Bars, make_progress


def terminal(width: int, *, watched: bool = True) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=watched, color_system=None, _environ={})


def shown(console: Console, progress: Progress) -> str:
    with console.capture() as captured:
        console.print(progress.get_renderable())
    return captured.get()


def half_read(width: int, label: str = "reading libraries") -> str:
    """What a bar shows after five seconds and half of 1.2 GB."""
    console, clock = terminal(width), [0.0]
    progress = make_progress(console, unicode=True)
    progress.get_time = lambda: clock[0]  # type: ignore[method-assign]
    task = progress.add_task(label, total=1_200_000_000, in_bytes=True)
    for _ in range(5):
        clock[0] += 1
        progress.advance(task, 120_000_000)
    return shown(console, progress)


@pytest.mark.parametrize(
    ("width", "said"),
    [(60, ["0.6/1.2 GB", "0:00:05"]), (80, ["0.6/1.2 GB", "120.0 MB/s", "0:00:05"]), (200, ["120.0 MB/s", "0:00:05"])],
)
@pytest.mark.parametrize("label", ["reading libraries", "正在读取动态库"])
def test_bytes_are_told_with_speed_and_time_left_where_there_is_room(width: int, said: list[str], label: str) -> None:
    text = half_read(width, label)
    assert [word for word in (label, *said) if word not in text] == []
    assert (len(text.splitlines()), max(map(cell_len, text.splitlines())) <= width) == (1, True)


def test_things_are_counted_without_a_speed() -> None:
    console = terminal(100)
    progress = make_progress(console, unicode=True)
    progress.add_task("checking", total=100, completed=37)
    text = shown(console, progress)
    assert ("37/100" in text, "/s" in text) == (True, False)


def test_until_the_whole_is_known_only_time_is_told() -> None:
    console = terminal(100)
    progress = make_progress(console, unicode=False)
    progress.add_task("asking", total=None)
    text = shown(console, progress)
    assert ("asking" in text, "/" in text.split("asking")[1], text.isascii()) == (True, False, True)


@pytest.mark.parametrize(("width", "said"), [(60, "0.5/1.0 kB"), (80, "0.5/1.0 kB")])
def test_bars_side_by_side_keep_their_ends_visible(width: int, said: str) -> None:
    console = terminal(width)
    progress = make_progress(console, unicode=True)
    bar = Bars(progress).add("a-very-long-name-of-a-wheel-0.1-cp311-cp311-manylinux1_x86_64.whl")
    bar.begin(1000)
    bar.advance(500)
    text = shown(console, progress)
    assert ("x86_64.whl" in text, said in text, len(text.splitlines())) == (True, True, 1)


def test_nobody_watches_so_nothing_is_drawn() -> None:
    console = terminal(80, watched=False)
    with make_progress(console, unicode=True) as progress:
        progress.add_task("reading", total=2, completed=1)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_who_watches_the_doctor_sees_the_bytes_of_the_libraries(old_env: Path) -> None:
    seen = watched(["doctor", str(old_env)])
    assert f"/{bytes_in(old_env) / 1000:.1f} kB" in seen


def test_a_scan_of_an_environment_counts_bytes(old_env: Path) -> None:
    counts: list[int] = []
    totals: list[int] = []
    api.scan(api.ScanWish(str(old_env)), counts.append, totals.append)
    assert (sum(counts), totals) == (bytes_in(old_env), [bytes_in(old_env)])


def bytes_in(env: Path) -> int:
    """The size of all libraries of an environment."""
    return sum(path.stat().st_size for path in env.rglob("*.so*"))


def watched(words: list[str]) -> str:
    """What archfit draws on stderr where that is a terminal of 100 columns, signs of control left out."""
    ours, theirs = pty.openpty()
    environ = os.environ | {"COLUMNS": "100", "TERM": "xterm", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "archfit", *words, "--lang", "en"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environ)
    os.close(theirs)
    pieces = []
    while piece := _read(ours):
        pieces.append(piece)
    process.wait()
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(pieces).decode())


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux's way to say that nobody writes any more
        return b""
