"""Reading a log of any size in one pass: short ones whole, of long ones the blocks that rows may hold in.

A block is looked at without decoding it; kept are the beginning and the end of the log, and for every row the first and the
last blocks in which a fixed piece of it stands, with a little around them. So memory does not grow with the log.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from archfit.catalog.signatures import Signatures, load_signatures
from archfit.explainer.lines import Line, clean, decode, encoding_of

BLOCK_BYTES = 1 << 16
WHOLE_BYTES = 1 << 18  # up to here a log is read whole
_EDGE_BYTES = 1 << 13  # of the neighbours of a kept block
_ACROSS_BYTES = 512  # no text of a row is longer
_FIRST, _LAST = 2, 2  # blocks kept per row, from either end
_WHITE = b" \t\r\n\x0b\x0c"
_ANSI = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]")
_CONTEXT = (
    b"CUDAcapabilit",
    b"cudacapability",
    b"computecapability",
    b"PyTorchversion",
    b"torch==",
    b"GeForce",
    b"Traceback(most",
    b"arch_list",
    b"NVIDIA",
)

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class _Block:
    """A piece of the log: the number of its first line, where it begins in bytes, and its bytes."""

    number: int
    offset: int
    data: bytes
    uses: int = 0


@dataclass(slots=True)
class _Seen:
    """The blocks that are kept for one row."""

    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)


def read_log(stream: BinaryIO, on_read: Progress | None = None, total: int = 0) -> tuple[list[Line], int]:
    """The clean lines that matter, and how many lines the log has.

    Args:
        stream: the log as bytes; read once, from where it stands.
        on_read: told how many bytes are read, and `total`.
        total: the size in bytes if it is known.
    """
    head = _read_exactly(stream, WHOLE_BYTES + 1)
    if len(head) <= WHOLE_BYTES:
        lines = list(clean(decode(head)))
        return lines, lines[-1].number if lines else 0
    encoding = encoding_of(head)
    scan = _Scan(load_signatures())
    for done, number, data in _blocks(_chunks(head, stream, encoding)):
        scan.look(number, data)
        if on_read:
            on_read(done, total)
    return scan.lines("utf-8" if encoding.startswith("utf-16") else encoding), scan.last_line


class _Scan:
    """What is kept while blocks go by."""

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._seen: dict[int, _Seen] = {}
        self._kept: dict[int, _Block] = {}
        self._index = -1
        self._offset = 0
        self._previous = b""
        self._edge_wanted = False
        self._tail: list[int] = []
        self.last_line = 0

    def look(self, number: int, data: bytes) -> None:
        """Judge one block; `number` is that of its first line."""
        self._index += 1
        self.last_line = number + data.count(b"\n") - data.endswith(b"\n")
        wanted = self._wanted(data)
        for row in wanted:
            self._keep_for(row)
        edge = self._previous[-_EDGE_BYTES:] if wanted else b""
        kept = _Block(
            number - edge.count(b"\n"), self._offset - len(edge), edge + data, len(wanted) + (self._index == 0)
        )
        if not kept.uses and self._edge_wanted:
            kept = _Block(number, self._offset, data, 1)  # what follows a hit explains it
        kept.uses += 1  # the last blocks are kept whatever they hold: there a program says what it died of
        self._kept[self._index] = kept
        self._tail.append(self._index)
        if len(self._tail) > _LAST:
            self._release(self._tail.pop(0))
        self._edge_wanted = bool(wanted)
        self._previous = data
        self._offset += len(data)

    def _wanted(self, data: bytes) -> list[int]:
        """The rows, and words of the machine, that stand in this block or across its beginning."""
        squeezed = (_ANSI.sub(b"", data) if b"\x1b" in data else data).translate(None, _WHITE)
        rows = self._signatures.likely(self._previous[-_ACROSS_BYTES:].translate(None, _WHITE) + squeezed)
        return rows + [-1 - number for number, word in enumerate(_CONTEXT) if word in squeezed]

    def _keep_for(self, row: int) -> None:
        """Keep this block for `row`; the oldest of its last blocks is let go."""
        seen = self._seen.setdefault(row, _Seen())
        if len(seen.first) < _FIRST:
            seen.first.append(self._index)
            return
        seen.last.append(self._index)
        if len(seen.last) > _LAST:
            self._release(seen.last.pop(0))

    def _release(self, index: int) -> None:
        block = self._kept[index]
        block.uses -= 1
        if block.uses <= 0:
            del self._kept[index]

    def lines(self, encoding: str) -> list[Line]:
        """The kept lines in order, each once; blocks that touch are one text."""
        found: list[Line] = []
        number, text, end = 1, b"", 0
        for index in sorted(self._kept):
            block = self._kept[index]
            if block.offset > end and text:
                found += clean(text.decode(encoding, "replace"), number)
                text = b""
            if not text:
                number, end = block.number, block.offset
            text += block.data[max(0, end - block.offset) :]
            end = max(end, block.offset + len(block.data))
        return found + list(clean(text.decode(encoding, "replace"), number))


def _blocks(chunks: Iterable[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Bytes read so far, number of the first line, and a block that ends at a line's end where there is one near."""
    number, done, rest = 1, 0, b""
    for chunk in chunks:
        done += len(chunk)
        rest += chunk
        while len(rest) > BLOCK_BYTES:
            cut = rest.rfind(b"\n", 0, BLOCK_BYTES) + 1 or BLOCK_BYTES
            yield done, number, rest[:cut]
            number += rest.count(b"\n", 0, cut)
            rest = rest[cut:]
    if rest:
        yield done, number, rest


def _chunks(head: bytes, stream: BinaryIO, encoding: str) -> Iterator[bytes]:
    """The log in pieces, as bytes in which ASCII is ASCII: UTF-16 is turned into UTF-8."""
    decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding.startswith("utf-16") else None
    chunk = head
    while chunk:
        yield decoder.decode(chunk).encode("utf-8", "replace") if decoder else chunk
        chunk = stream.read(BLOCK_BYTES * 4)


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    """As many bytes as there are, up to `size`; a pipe gives them in pieces."""
    pieces, left = [], size
    while left > 0 and (piece := stream.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
