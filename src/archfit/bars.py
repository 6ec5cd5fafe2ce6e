"""Bars for work that takes longer than a second: how much of how much, how fast, how much longer."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text as Styled


def make_progress(console: Console, *, unicode: bool) -> Progress:
    """Bars for work whose parts are counted, gone when they stop; silent where nobody watches.

    A task with the field ``in_bytes`` counts bytes, and its speed is told, too; all others count things.
    """
    wide = console.width >= _WIDE_COLUMNS
    columns = (
        SpinnerColumn("dots" if unicode else "line"),
        TextColumn("{task.description}"),
        _OnceKnown(BarColumn(bar_width=20 if wide else 10)),
        _OnceKnown(_AmountColumn()),
        *([_OnceKnown(_SpeedColumn())] if wide else []),
        _TimeColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class Bars:
    """Several bars, one for each thing that is read."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def add(self, name: str) -> Bar:
        """A bar that tells the time until it is known how many bytes there are to read."""
        width = self._progress.console.width
        room = max(8, min(_LABEL_COLUMNS, width - (_BESIDE_WIDE if width >= _WIDE_COLUMNS else _BESIDE_NARROW)))
        label = name if len(name) <= room else "…" + name[1 - room :]
        return Bar(self._progress, self._progress.add_task(escape(label), total=None, in_bytes=True))


class Bar:
    """One bar; all numbers in bytes."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def begin(self, total: int) -> None:
        """So much there is to read."""
        self._progress.update(self._task, total=total)

    def advance(self, count: int) -> None:
        """So much more was read."""
        self._progress.advance(self._task, count)

    def end(self) -> None:
        """Everything was read; the bar goes."""
        self._progress.update(self._task, visible=False)


class _OnceKnown(ProgressColumn):
    """A column that stays empty until it is known how much there is to read."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        return self._column(task) if task.total is not None else ""


class _AmountColumn(DownloadColumn):
    def render(self, task: Task) -> Styled:
        if task.fields.get("in_bytes"):
            return super().render(task)
        return Styled(f"{task.completed:.0f}/{task.total or 0:.0f}", style="progress.download")


class _SpeedColumn(TransferSpeedColumn):
    def render(self, task: Task) -> Styled:
        return super().render(task) if task.fields.get("in_bytes") else Styled("")


class _TimeColumn(ProgressColumn):
    """How much longer; where nobody can tell, how long already."""

    max_refresh = 0.5

    def __init__(self) -> None:
        super().__init__()
        self._left, self._spent = TimeRemainingColumn(), TimeElapsedColumn()

    def render(self, task: Task) -> Styled:
        return (self._spent if task.total is None else self._left).render(task)


_LABEL_COLUMNS, _WIDE_COLUMNS = 32, 80
_BESIDE_NARROW, _BESIDE_WIDE = 38, 60
"""What stands beside the label: a spinner, a bar, ``123.4/567.8 MB``, speed where there is room, and time left."""
