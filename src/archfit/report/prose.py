"""Prose for the terminal: text that breaks between Chinese characters, too, not only at spaces.

rich breaks at spaces alone, so a Chinese sentence with an English word in it would leave half of each line empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from rich.cells import cell_len, get_character_cell_size
from rich.console import Console, JustifyMethod, OverflowMethod
from rich.containers import Lines
from rich.text import Text

_NEVER_FIRST = frozenset("，。、；：！？）】》」』”’…％%,.;:!?)]}")
_NEVER_LAST = frozenset("（【《「『“‘([{")


class Prose(Text):
    """A text of rich with line breaks as both languages want them."""

    def wrap(
        self,
        console: Console,
        width: int,
        *,
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        tab_size: int = 8,
        no_wrap: bool | None = None,
    ) -> Lines:
        """The lines of at most `width` columns."""
        if no_wrap or self.no_wrap:
            return super().wrap(console, width, justify=justify, overflow=overflow, tab_size=tab_size, no_wrap=no_wrap)
        lines = Lines()
        for paragraph in self.split(allow_blank=True):
            for line in paragraph.divide(breaks(paragraph.plain, width)):
                line.rstrip()
                lines.append(line)
        return lines


def breaks(text: str, width: int) -> list[int]:
    """Where the lines after the first begin, so that none is wider than `width` columns if it can be helped."""
    found: list[int] = []
    used = 0
    for start, end in _pieces(text):
        piece = text[start:end]
        cells = cell_len(piece.rstrip(" "))
        if used and used + cells > width:
            found.append(start)
            used = 0
        if cells > width:  # a word that no line can hold
            *cuts, used = _cut(piece, width)
            found += [start + cut for cut in cuts]
        else:
            used += cell_len(piece)
    return found


def _cut(word: str, width: int) -> Iterator[int]:
    """Where to cut a word into full lines; last the width of what remains."""
    used = 0
    for place, character in enumerate(word):
        cells = get_character_cell_size(character)
        if used and used + cells > width:
            yield place
            used = 0
        used += cells
    yield used


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """The parts that stay together, with the blanks behind them: words, Chinese characters with their punctuation."""
    places = [0, *(n for n in range(1, len(text)) if _may_break(text[n - 1], text[n])), len(text)]
    return pairwise(dict.fromkeys(places))


def _may_break(before: str, after: str) -> bool:
    if before == " ":
        return after != " "
    if after == " " or after in _NEVER_FIRST or before in _NEVER_LAST:
        return False
    return bool(_CHINESE.match(before) or _CHINESE.match(after))


_CHINESE = re.compile("[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")
