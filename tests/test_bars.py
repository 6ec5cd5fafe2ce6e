"""Bars say what is done, how fast and how much longer, in the width there is; and nothing where nobody watches."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from archfit.bars import Bars, make_progress, make_reading


def terminal(width: int, *, watched: bool = True) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=watched, color_system=None, _environ={})


def shown(console: Console, progress: object) -> str:
    with console.capture() as captured:
        console.print(progress.get_renderable())  # type: ignore[attr-defined]
    return captured.get()


@pytest.mark.parametrize(("width", "said"), [(60, ["50.0/100.0 MB"]), (100, ["50.0/100.0 MB", "MB/s", "0:00:"])])
def test_bytes_are_told_with_speed_and_time_left_where_there_is_room(width: int, said: list[str]) -> None:
    console, clock = terminal(width), [0.0]
    progress = make_progress(console, unicode=True, in_bytes=True)
    progress.get_time = lambda: clock[0]  # type: ignore[method-assign]
    task = progress.add_task("reading the log", total=100_000_000)
    for done in range(5):
        clock[0] += 1
        progress.update(task, completed=done * 10_000_000)
    progress.update(task, completed=50_000_000)
    text = shown(console, progress)
    assert [word for word in said if word not in text] == []
    assert max(map(cell_len, text.splitlines())) <= width


def test_things_are_counted() -> None:
    console = terminal(100)
    progress = make_progress(console, unicode=True)
    progress.add_task("reading libraries", total=100, completed=37)
    assert "37/100" in shown(console, progress)


def test_until_the_whole_is_known_only_time_is_told() -> None:
    console = terminal(100)
    progress = make_progress(console, unicode=False)
    progress.add_task("asking", total=None)
    text = shown(console, progress)
    assert ("asking" in text, "/" in text.split("asking")[1], text.isascii()) == (True, False, True)


def test_bars_side_by_side_keep_their_ends_visible() -> None:
    console = terminal(80)
    progress = make_reading(console)
    bar = Bars(progress).add("a-very-long-name-of-a-wheel-0.1-cp311-cp311-manylinux1_x86_64.whl", files=False)
    bar.begin(1000)
    bar.advance(500)
    text = shown(console, progress)
    assert ("x86_64.whl" in text, "0.5/1.0 kB" in text) == (True, True)


def test_nobody_watches_so_nothing_is_drawn() -> None:
    console = terminal(80, watched=False)
    with make_progress(console, unicode=True) as progress:
        progress.add_task("reading", total=2, completed=1)
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
