"""A file that can only be read once, front to back, such as the member of a wheel while it is inflated."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from archfit.binary import ar, elf, pe
from archfit.binary.fatbin import Place
from archfit.binary.library import Part, Reading, is_foreign, offset_of, parse_library, sections_of
from archfit.binary.source import Read, Section, reader_of
from archfit.binary.walk import OVERLAP, first_code, skip_zeros, walk_packed, walk_scattered
from archfit.errors import FormatError
from archfit.model import FileFormat, Library

Reopen = Callable[[], Iterable[bytes]]
"""Starts the file from its beginning again: pieces of bytes, in order."""

# A file up to this size is held in memory and read like one on disk; of a larger one only headers are kept.
WHOLE_BYTES = 16 << 20
_HEAD_BYTES, _NAMES_BYTES = 1 << 16, 1 << 20
_LARGEST_SEGMENTS_BYTES = 16 << 20
_LARGEST_WHOLE_BYTES = 256 << 20


def read_stream(reopen: Reopen, name: str, size_bytes: int) -> Library:
    """The same answer as `read_library` with everything searched, for a file that cannot be read at offsets.

    What the library asks the loader for (`needed`) is left out for files over WHOLE_BYTES. Memory stays under 40 MB, or what
    the largest member of a static archive takes; other large files, such as PTX texts, are held whole up to 256 MB.

    Raises:
        FormatError: as `read_library`; or the pieces are not `size_bytes` in all.
    """
    if size_bytes <= WHOLE_BYTES:
        return parse_library(reader_of(_whole(reopen, size_bytes)), name, size_bytes)
    stream = Stream(reopen(), size_bytes)
    start = stream.read(64, 0)
    if is_foreign(stream.read(_HEAD_BYTES, 0)):
        return Library(name, size_bytes, (), (), "script")
    if start.startswith(pe.MAGIC):
        return _image(stream, reopen, name, "pe")
    if start.startswith(elf.MAGIC) and elf.machine_of(start) != elf.MACHINE_CUDA:
        return _image(stream, reopen, name, "elf")
    if start.startswith(ar.MAGIC):
        library = Reading(name, size_bytes).archive(stream.read, forward=True)
        stream.drain()
        return library
    if size_bytes > _LARGEST_WHOLE_BYTES:
        raise FormatError("stream-too-large", offset=0, size=size_bytes, limit=_LARGEST_WHOLE_BYTES)
    return parse_library(reader_of(_whole(reopen, size_bytes)), name, size_bytes)


class Stream:
    """Reads at offsets that never go back by more than the piece at hand, and keeps what it is told to keep.

    Attributes:
        size_bytes: of the whole file, as its directory says.
        start: what lies before this offset is gone.
        dull: parts that hold no code for a GPU and are passed over by `find_code`.
    """

    def __init__(self, pieces: Iterable[bytes], size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._pieces = iter(pieces)
        self._data = b""
        self.start = 0
        self._kept: list[tuple[int, int, bytearray]] = []
        self.dull: list[Section] = []

    def keep(self, start: int, size: int) -> None:
        """Hold on to these bytes when they come by; they must not be gone yet."""
        start, end = max(start, self.start), min(start + size, self.size_bytes)
        if start < end:
            held = self._data[start - self.start : end - self.start]
            self._kept.append((start, end, bytearray(held)))

    def kept(self, size: int, offset: int) -> bytes:
        """Read what was kept.

        Raises:
            LookupError: it was not; carries offset and size.
        """
        size = max(0, min(size, self.size_bytes - offset))
        if size == 0:
            return b""
        for start, _, data in self._kept:
            if start <= offset and offset + size <= start + len(data):
                return bytes(data[offset - start : offset - start + size])
        raise LookupError(offset, size)

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`, which is not before `start`."""
        size = max(0, min(size, self.size_bytes - offset))
        while offset + size > self.start + len(self._data):
            if not self._advance(offset):
                break
        begin = offset - self.start
        return self._data[begin : begin + size] if begin >= 0 else b""

    def find_code(self, position: int, end: int) -> tuple[int, bool]:
        """The next container or cubin at or behind `position`, or `end`. Where that is gone already, the search begins later.

        Pieces are searched where they lie; only what is left of one joins the start of the next.
        """
        while (position := self._behind_dull(max(position, self.start))) < end:
            if position >= self.start + len(self._data) and not self._advance(position):
                break
            place, is_cubin = first_code(self._data, max(0, position - self.start))
            if place >= 0:
                return self.start + place, is_cubin
            position = max(position, self.start + len(self._data) - OVERLAP)
            if not self._advance(position):
                break
            place, is_cubin = first_code(self._data[: 2 * OVERLAP])
            if place >= 0:
                return self.start + place, is_cubin
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
        while self._advance(self.start + len(self._data)):
            pass
        end = self.start + len(self._data)
        if end != self.size_bytes:
            raise FormatError("file-cut", what="stream", offset=end, expected=self.size_bytes, found=end)

    def _advance(self, wanted: int) -> bool:
        """Take the next piece; what lies before `wanted` is let go. False at the end."""
        piece = next(self._pieces, b"")
        if not piece:
            return False
        end = self.start + len(self._data)
        if end + len(piece) > self.size_bytes:
            raise FormatError("stream-longer", offset=self.size_bytes, expected=self.size_bytes)
        for start, stop, data in self._kept:
            if start <= end + len(piece) and stop > end:
                data += piece[max(0, start - end) : stop - end]
        rest = self._data[max(0, wanted - self.start) :] if wanted < end else b""
        self._data, self.start = rest + piece if rest else piece, end - len(rest)
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
    again = _SecondLook(reopen, stream.size_bytes)

    def read(size: int, offset: int) -> bytes:
        """From what was kept, else by reading the file once more."""
        try:
            return stream.kept(size, offset)
        except LookupError:
            return again.read(size, offset)

    sections = sections_of(read, kind)
    return reading.library(_assign(reading, read, sections, places), kind)


def _keep_headers(stream: Stream, kind: FileFormat) -> None:
    """Where section headers, their names and the wrappers mostly are; the rest is worth a second look."""
    stream.read(_HEAD_BYTES, 0)
    stream.keep(0, _HEAD_BYTES)
    try:
        if kind == "elf":
            table, size = elf.section_table(stream.kept)  # the names of the sections mostly stand right before it
            stream.keep(table - _NAMES_BYTES, _NAMES_BYTES + size)
        parts = pe.parse_sections(stream.kept) if kind == "pe" else elf.parse_segments(stream.kept)
    except (LookupError, FormatError):
        return  # they stand further behind, or are damaged: that is told when the file has passed
    stream.dull = [part for part in parts if part.executable]
    room = _LARGEST_SEGMENTS_BYTES
    for part in parts:
        wanted = part.name.startswith(".nvFatBi") if kind == "pe" else part.writable
        if wanted and part.size <= room:
            stream.keep(part.offset, part.size)
            room -= part.size


class _SecondLook:
    """Reads at any offset of a file that passes by once more; it starts over where that goes back."""

    def __init__(self, reopen: Reopen, size_bytes: int) -> None:
        self._reopen = reopen
        self._stream = Stream((), size_bytes)
        self._stream.start = size_bytes

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        if offset < self._stream.start:
            self._stream = Stream(self._reopen(), self._stream.size_bytes)
        return self._stream.read(size, offset)


def _assign(reading: Reading, read: Read, sections: tuple[Section, ...], places: list[Place]) -> list[Part]:
    """Give each container to the section that holds it, as if the sections had been walked one by one.

    Where something is damaged they are: with `read`, which costs another pass.
    """
    offsets = [place[0] for place in places]
    damaged, reading.damaged = [offset_of(error) for error in reading.damaged], []

    def packed(section: Section) -> Iterator[Place]:
        position = section.offset
        for place in places[bisect_left(offsets, section.offset) : bisect_left(offsets, section.end)]:
            if place[1] > section.end or skip_zeros(read, position, place[0]) < place[0]:
                break
            yield place
            position = place[1]
        yield from walk_packed(read, position, section.end, reading.codes)

    def scattered(section: Section, start: int) -> Iterable[Place]:
        first, last = bisect_left(offsets, start), bisect_left(offsets, section.end)
        reached_into = first > 0 and places[first - 1][1] > start
        passed = last > first and places[last - 1][1] > section.end
        if reached_into or passed or any(start <= offset < section.end for offset in damaged):
            return walk_scattered(read, start, section.end, reading.codes, reading.damaged)
        return places[first:last]

    return [
        (name, registered, list(found)) for name, registered, found in reading.parts(read, sections, packed, scattered)
    ]
