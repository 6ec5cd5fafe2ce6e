"""Python tracebacks in a stream: where they begin, which exception they end in, and which belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from archfit.explainer.lines import Line

_HEADER = re.compile(r"Traceback \(most recent|Traceback \(innermost|^\s*-+ Traceback")
_CHAIN = re.compile(
    r"was the direct cause of the following|During handling of the above exception|The above exception was"
)
_FRAME = re.compile(r'^\s*File "|^\s*\S+\.py:\d+ in |^\s*[\d\u276f>]*\s*\d* [\u2502|]')
_EXCEPTION = re.compile(
    r"^\s{0,16}(?P<type>(?:\w+\.){0,8}[A-Z]\w*(?:Error|Exception|Exit|Interrupt|Failure|Failed|Abort|Timeout|Fault|Iteration|OOM|Mismatch|Warning)\w*)"
    r"(?:\(|:|\s|$)\s?(?P<message>.*)"
)
_MAX_LINES = 400
_MESSAGE_LINES = 14


@dataclass(frozen=True, slots=True)
class Traceback:
    """One traceback: positions of its first line, of its exception line, and behind its message.

    `chain` numbers what belongs together: exceptions that were raised while another was handled.
    """

    begin: int
    exception: int
    end: int
    type: str
    message: str
    chain: int

    def holds(self, index: int) -> bool:
        """Is this line part of it?"""
        return self.begin <= index < self.end


def find_tracebacks(lines: Sequence[Line]) -> list[Traceback]:
    """All tracebacks of one stream, in order; a cut one, without its first line, counts from its first frame."""
    heads = _heads(lines)
    found: list[Traceback] = []
    for number, begin in enumerate(heads):
        limit = min(heads[number + 1] if number + 1 < len(heads) else len(lines), begin + _MAX_LINES)
        at = _exception_line(lines, begin, limit)
        match = _EXCEPTION.match(lines[at].text) if at < limit else None
        chained = bool(found) and _chained(lines, found[-1].exception, begin)
        chain = found[-1].chain if chained else number
        end = min(limit, at + _MESSAGE_LINES)
        found.append(
            Traceback(begin, at, end, match["type"] if match else "", match["message"] if match else "", chain)
        )
    return found


def _heads(lines: Sequence[Line]) -> list[int]:
    heads = [index for index, line in enumerate(lines) if "raceback" in line.text and _HEADER.search(line.text)]
    first = heads[0] if heads else len(lines)
    cut = next((i for i, line in enumerate(lines[:first]) if 'File "' in line.text and _FRAME.match(line.text)), None)
    return [cut, *heads] if cut is not None else heads


def _exception_line(lines: Sequence[Line], begin: int, limit: int) -> int:
    """The first line behind the frames that names an exception."""
    for index in range(begin + 1, limit):
        text = lines[index].text
        if text and text[0] not in " \t" and _EXCEPTION.match(text):
            return index
    return next((i for i in range(begin + 1, limit) if _EXCEPTION.match(lines[i].text)), limit)


def _chained(lines: Sequence[Line], previous: int, begin: int) -> bool:
    return any(_CHAIN.search(line.text) for line in lines[previous:begin][-_MESSAGE_LINES * 3 :])
