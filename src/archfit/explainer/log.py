"""A log as the rules see it: streams of squeezed text with a way back to the lines.

One stream per process, rank or service that can be told apart, so that interleaved tracebacks come together again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from archfit.catalog.signatures import squeeze
from archfit.explainer.lines import Line

_MAX_STREAMS = 64  # what looks like more sources than that is no list of sources


@dataclass(frozen=True)
class Stream:
    """The lines of one source in order; offsets count bytes of `text`."""

    source: str
    lines: tuple[Line, ...]

    @cached_property
    def _pieces(self) -> list[bytes]:
        return [squeeze(line.text) for line in self.lines]

    @cached_property
    def text(self) -> bytes:
        """All lines without white space, one behind the other."""
        return b"".join(self._pieces)

    @cached_property
    def _starts(self) -> list[int]:
        starts, at = [], 0
        for piece in self._pieces:
            starts.append(at)
            at += len(piece)
        return starts

    def index_at(self, offset: int) -> int:
        """The position in `lines` of the line that holds this byte."""
        return max(0, bisect_right(self._starts, offset) - 1)

    def start_of(self, index: int) -> int:
        """Where a line begins; the end of the text for one behind the last."""
        return self._starts[index] if index < len(self._starts) else len(self.text)

    def around(self, begin: int, end: int, before: int, after: int) -> bytes:
        """The text of the lines around a span: `before` and `after` count lines."""
        first = max(0, self.index_at(begin) - before)
        return self.text[self.start_of(first) : self.start_of(self.index_at(max(begin, end - 1)) + after + 1)]


@dataclass(frozen=True)
class Log:
    """All streams; the one with most lines first is not special, order is that of first appearance."""

    streams: tuple[Stream, ...]
    lines_total: int

    @cached_property
    def whole(self) -> bytes:
        """The text of all streams."""
        return b"\n".join(stream.text for stream in self.streams)


def separate(lines: Iterable[Line], lines_total: int | None = None) -> Log:
    """Give each source its own stream; lines without a source are a stream of their own."""
    kept = list(lines)
    edge = max((line.width for line in kept), default=0)
    by_source: dict[str, list[Line]] = {}
    before = Line(0, "")
    for line in kept:
        wrapped = not line.source and before.width == edge  # broken at the edge of a terminal: still the same message
        source = before.source if wrapped else line.source
        by_source.setdefault(source, []).append(line)
        before = Line(line.number, "", source, line.width)
    if len(by_source) > _MAX_STREAMS:
        by_source = {"": kept}
    streams = [Stream(source, tuple(found)) for source, found in by_source.items()]
    return Log(tuple(streams), lines_total if lines_total is not None else _last_number(kept))


def together(lines: Iterable[Line], lines_total: int) -> Log:
    """All lines as one stream, whoever printed them."""
    return Log((Stream("", tuple(lines)),), lines_total)


def _last_number(lines: Sequence[Line]) -> int:
    return lines[-1].number if lines else 0
