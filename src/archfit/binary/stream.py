"""A file that can only be read once, front to back, such as the member of a wheel while it is inflated."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator

from archfit.binary import elf, pe
from archfit.binary.fatbin import Place
from archfit.binary.library import Part, Reading, parse_library, sections_of
from archfit.binary.source import Read, Section, reader_of
from archfit.binary.walk import OVERLAP, first_code, walk_scattered
from archfit.errors import FormatError
from archfit.model import FileFormat, Library

Reopen = Callable[[], Iterable[bytes]]
"""Starts the file from its beginning again: pieces of bytes, in order."""

# A file up to this size is held in memory and read like one on disk; of a larger one only headers are kept.
WHOLE_BYTES = 16 << 20
_HEAD_BYTES, _NAMES_BYTES = 1 << 16, 1 << 20
_LARGEST_SEGMENT_BYTES = 8 << 20
_LARGEST_WHOLE_BYTES = 256 << 20


def read_stream(reopen: Reopen, name: str, size_bytes: int) -> Library:
    """The same answer as `read_library` with everything searched, for a file that cannot be read at offsets.

    What the library asks the loader for (`needed`) is left out for files over WHOLE_BYTES. Memory stays under 40 MB, but for
    static archives and PTX texts, which are held whole up to 256 MB.

    Raises:
        FormatError: as `read_library`; or the pieces are not `size_bytes` in all.
    """
    if size_bytes <= WHOLE_BYTES:
        return parse_library(reader_of(_whole(reopen, size_bytes)), name, size_bytes)
    stream = Stream(reopen(), size_bytes)
    start = stream.read(64, 0)
    if start.startswith(pe.MAGIC):
        return _image(stream, reopen, name, "pe")
    if start.startswith(elf.MAGIC) and elf.machine_of(start) != elf.MACHINE_CUDA:
        return _image(stream, reopen, name, "elf")
    if size_bytes > _LARGEST_WHOLE_BYTES:
        raise FormatError("stream-too-large", offset=0, size=size_bytes, limit=_LARGEST_WHOLE_BYTES)
    return parse_library(reader_of(_whole(reopen, size_bytes)), name, size_bytes)


class Stream:
    """Reads at offsets that never go back by more than the piece at hand, and keeps what it is told to keep.

    Attributes:
        size_bytes: of the whole file, as its directory says.
        dull: parts that hold no code for a GPU and are passed over by `find_code`.
    """

    def __init__(self, pieces: Iterable[bytes], size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._pieces = iter(pieces)
        self._data = b""
        self._start = 0
        self._kept: list[tuple[int, int, bytearray]] = []
        self.dull: list[Section] = []

    def keep(self, start: int, size: int) -> None:
        """Hold on to these bytes when they come by; they must not be gone yet."""
        start, end = max(start, self._start), min(start + size, self.size_bytes)
        if start < end:
            held = self._data[start - self._start : end - self._start]
            self._kept.append((start, end, bytearray(held)))

    def kept(self, size: int, offset: int) -> bytes:
        """Read what was kept.

        Raises:
            LookupError: it was not; carries offset and size.
        """
        size = max(0, min(size, self.size_bytes - offset))
        for start, _, data in self._kept:
            if start <= offset and offset + size <= start + len(data):
                return bytes(data[offset - start : offset - start + size])
        raise LookupError(offset, size)

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`, which is not before `gone`."""
        size = max(0, min(size, self.size_bytes - offset))
        while offset + size > self._start + len(self._data):
            if not self._advance(offset):
                break
        begin = offset - self._start
        return self._data[begin : begin + size] if begin >= 0 else b""

    def find_code(self, position: int, end: int) -> tuple[int, bool]:
        """The next container or cubin at or behind `position`, or `end`. Where that is gone already, the search begins later.

        Pieces are searched where they lie; only what is left of one joins the start of the next.
        """
        while (position := self._behind_dull(max(position, self._start))) < end:
            if position >= self._start + len(self._data) and not self._advance(position):
                break
            place, is_cubin = first_code(self._data, max(0, position - self._start))
            if place >= 0:
                return self._start + place, is_cubin
            position = max(position, self._start + len(self._data) - OVERLAP)
            if not self._advance(position):
                break
            place, is_cubin = first_code(self._data[: 2 * OVERLAP])
            if place >= 0:
                return self._start + place, is_cubin
        return end, False

    def _behind_dull(self, position: int) -> int:
        for part in self.dull:
            if part.offset <= position < part.end:
                return part.end
        return position

    def drain(self) -> None:
        """Read to the end, for what is still to be kept.

        Raises:
            FormatError: the file ends elsewhere than its directory says.
        """
        while self._advance(self._start + len(self._data)):
            pass
        end = self._start + len(self._data)
        if end != self.size_bytes:
            raise FormatError("file-cut", what="stream", offset=end, expected=self.size_bytes, found=end)

    def _advance(self, wanted: int) -> bool:
        """Take the next piece; what lies before `wanted` is let go. False at the end."""
        piece = next(self._pieces, b"")
        if not piece:
            return False
        end = self._start + len(self._data)
        if end + len(piece) > self.size_bytes:
            raise FormatError("stream-longer", offset=self.size_bytes, expected=self.size_bytes)
        for start, stop, data in self._kept:
            if start <= end + len(piece) and stop > end:
                data += piece[max(0, start - end) : stop - end]
        rest = self._data[max(0, wanted - self._start) :] if wanted < end else b""
        self._data, self._start = rest + piece if rest else piece, end - len(rest)
        return True


def _whole(reopen: Reopen, size_bytes: int) -> bytes:
    stream = Stream(reopen(), size_bytes)
    stream.keep(0, size_bytes)
    stream.drain()
    return stream.kept(size_bytes, 0)


def _image(stream: Stream, reopen: Reopen, name: str, kind: FileFormat) -> Library:
    """A large shared object: containers while it passes, then its sections from what was kept."""
    _keep_headers(stream, kind)
    reading = Reading(name, stream.size_bytes)
    found = walk_scattered(stream.read, 0, stream.size_bytes, reading.codes, reading.damaged, stream.find_code)
    places = list(found)
    stream.drain()

    def read(size: int, offset: int) -> bytes:
        """From what was kept, else by reading the file once more."""
        try:
            return stream.kept(size, offset)
        except LookupError:
            return _second_look(reopen, stream.size_bytes, size, offset)

    sections = sections_of(read, kind)
    return reading.library(_assign(reading, read, sections, places), kind)


def _keep_headers(stream: Stream, kind: FileFormat) -> None:
    """Where section headers, their names and the wrappers mostly are; the rest is worth a second look."""
    stream.read(_HEAD_BYTES, 0)
    stream.keep(0, _HEAD_BYTES)
    if kind == "elf":
        table, size = elf.section_table(stream.kept)  # the names of the sections mostly stand right before it
        stream.keep(table - _NAMES_BYTES, _NAMES_BYTES + size)
    parts = pe.parse_sections(stream.kept) if kind == "pe" else elf.parse_segments(stream.kept)
    # Only where it begins behind offset 0 does an executable segment hold nothing but instructions: older linkers make one
    # segment of instructions and constants.
    stream.dull = [part for part in parts if part.executable and part.offset]
    for part in parts:
        wanted = part.name.startswith(".nvFatBi") if kind == "pe" else part.writable
        if not wanted:
            continue
        if part.size <= _LARGEST_SEGMENT_BYTES:
            stream.keep(part.offset, part.size)


def _second_look(reopen: Reopen, size_bytes: int, size: int, offset: int) -> bytes:
    again = Stream(reopen(), size_bytes)
    return again.read(size, offset)


def _assign(reading: Reading, read: Read, sections: tuple[Section, ...], places: list[Place]) -> Iterator[Part]:
    """Give each container to the section that holds it, as if the sections had been walked one by one."""
    offsets = [place[0] for place in places]

    def inside(section: Section) -> list[Place]:
        first, last = bisect_right(offsets, section.offset - 1), bisect_right(offsets, section.end - 1)
        return places[first:last]

    def packed(section: Section) -> list[Place]:
        for error in reading.damaged:
            if section.offset <= int(str(error.values["offset"])) < section.end:
                raise error
        return inside(section)

    parts = list(reading.parts(read, sections, packed, lambda section, start: inside(section)))
    hidden = [s for s in sections if s.executable]
    reading.damaged = [
        e for e in reading.damaged if not any(s.offset <= int(str(e.values["offset"])) < s.end for s in hidden)
    ]
    yield from parts
