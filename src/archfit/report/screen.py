"""What all answers in the terminal are made of: marks, sentences that break well, commands that can be copied, tables."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text as Styled

from archfit.errors import ArchfitError
from archfit.model import Unsolved
from archfit.report.alternatives import Alternative
from archfit.report.messages import Messages, can_write
from archfit.report.prose import Prose

_MARKS = {
    "good": ("✓", "ok", "green"),
    "bad": ("✗", "x", "red"),
    "warn": ("!", "!", "yellow"),
    "none": ("·", "-", "dim"),
}
_SIGNS = "✓✗·●○→…╭─│╰"


class Screen:
    """A console and the sentences for it. Data goes to `out`, talk to `talk`."""

    def __init__(self, messages: Messages, out: Console, talk: Console) -> None:
        self.messages = messages
        self.out = out
        self.talk = talk
        self.unicode = can_write(_SIGNS, out.encoding)

    def mark(self, kind: str) -> Styled:
        """A mark of one character (of two where there is only ASCII): good, bad, warn or none."""
        pretty, plain, style = _MARKS[kind]
        return Styled(pretty if self.unicode else plain, style=style)

    def say(self, text: str | Styled, style: str = "", *, indent: int = 0) -> None:
        """A sentence, broken where its language breaks."""
        self.out.print(Padding(_prose(text, style), (0, 0, 0, indent)))

    def hanging(self, mark: Styled, text: str | Styled, indent: int = 2) -> None:
        """A mark and a text whose further lines begin below its first."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(mark, _prose(text))
        self.out.print(Padding(grid, (0, 0, 0, indent)))

    def section(self, title: str) -> None:
        """A heading with a line before it; `title` is a key of the texts."""
        self.out.print()
        self.say(self.messages.ui(title), "bold")

    def command(self, command: str) -> None:
        """A command, never broken, so that it can be copied."""
        self.out.print(Styled.assemble("   $ ", (self.messages.runnable(command), "cyan")), soft_wrap=True)

    def alternatives(self, alternatives: Sequence[Alternative]) -> None:
        """Commands under what makes them a choice, written as a comment: a block of them can be copied as it is."""
        for alternative in alternatives:
            if alternative.label:
                self.out.print(Styled(f"   # {alternative.label}", style="dim"), soft_wrap=True)
            for command in alternative.commands:
                self.command(command)

    def next(self, command: str) -> None:
        """The next command, never broken; the last line of an answer."""
        command = self.messages.runnable(command)
        line = Styled(self.messages.labelled("next", command), style="bold")
        line.highlight_words([command], "cyan")
        self.out.print(line, soft_wrap=True)

    def left_over(self, rows: Sequence[Unsolved]) -> None:
        """What remains to be done by hand, with the commands."""
        for row in rows:
            self.hanging(self.mark("warn"), self.messages.text(row.text))
            if row.command:
                self.command(row.command)

    def error(self, error: ArchfitError) -> None:
        """One sentence and what to try, on the talking side."""
        self.talk.print(
            self.messages.labelled("error", self.messages.error(error)), style="red", soft_wrap=True, markup=False
        )
        if hint := self.messages.hint(error):
            self.talk.print(self.messages.labelled("hint", hint), soft_wrap=True, markup=False)

    @property
    def frame(self) -> box.Box:
        """The frame of a box."""
        return box.ROUNDED if self.unicode else box.ASCII

    def table(self, *columns: str) -> Table:
        """A table whose columns have these headings, by key."""
        table = Table(box=box.SIMPLE if self.unicode else box.ASCII, pad_edge=False)
        for column in columns:
            table.add_column(self.messages.ui(column), overflow="fold")
        return table


_NEAREST_ASCII = str.maketrans({
    "…": "...", "→": "->", "·": "-", "—": "-", "–": "-", "×": "x", "“": '"', "”": '"', "‘": "'", "’": "'",
    "≥": ">=", "≤": "<=", "⠋": "-", "━": "-", "╸": "-", "╺": "-",
})  # fmt: skip


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """What a stream gets in place of characters that its encoding lacks: the nearest sign, else an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_NEAREST_ASCII)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


NEAREST = "archfit-nearest"
"""The name of the error handler of streams."""
codecs.register_error(NEAREST, _nearest)


def size(count: int | None) -> str:
    """Bytes as people say them: 3.9 GB; a question mark where they are not known."""
    if count is None:
        return "?"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


def _prose(text: str | Styled, style: str = "") -> Styled:
    return Prose(text, style=style) if isinstance(text, str) else Prose(style=style).append_text(text)
