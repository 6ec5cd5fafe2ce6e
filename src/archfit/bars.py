"""Bars for work that takes longer than a second: how much of how much, how fast, how much longer."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
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


def make_progress(console: Console, *, unicode: bool, in_bytes: bool = False) -> Progress:
    """One bar for work whose parts are counted, in bytes or in things; silent where nobody watches."""
    amount = [DownloadColumn(), TransferSpeedColumn()] if in_bytes else [MofNCompleteColumn()]
    beside = [*amount, TimeRemainingColumn()] if console.width >= _WIDE_COLUMNS else amount[:1]
    spinner = SpinnerColumn("dots" if unicode else "line")
    columns = (spinner, TextColumn("{task.description}"), _OnceKnown(BarColumn(bar_width=20)), *map(_OnceKnown, beside))
    return Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal)


def make_reading(console: Console) -> Progress:
    """Bars for what is read side by side."""
    known: list[ProgressColumn] = [_AmountColumn()]
    if console.width >= _WIDE_COLUMNS:
        known += [_SpeedColumn(), TimeRemainingColumn()]
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), *map(_OnceKnown, known))
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class Bars:
    """Several bars, one for each thing that is read."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def add(self, name: str, *, files: bool) -> Bar:
        """A bar that runs to and fro until it is known how much there is to read: bytes, or `files`."""
        width = self._progress.console.width
        room = max(8, min(_LABEL_COLUMNS, width - (_BESIDE_WIDE if width >= _WIDE_COLUMNS else _BESIDE_NARROW)))
        label = name if len(name) <= room else "…" + name[1 - room :]
        return Bar(self._progress, self._progress.add_task(escape(label), total=None, files=files))


class Bar:
    """One bar; all numbers in bytes or files."""

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
        if task.fields["files"]:
            return Styled(f"{task.completed:.0f}/{task.total or 0:.0f}", style="progress.download")
        return super().render(task)


class _SpeedColumn(TransferSpeedColumn):
    def render(self, task: Task) -> Styled:
        return Styled("") if task.fields["files"] else super().render(task)


_LABEL_COLUMNS, _WIDE_COLUMNS = 32, 80
_BESIDE_NARROW, _BESIDE_WIDE = 40, 60
"""What stands beside the label: a bar, ``123.4/567.8 MB`` and, where there is room, speed and time left."""
