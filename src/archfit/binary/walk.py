"""Find the code objects of a section: fatbin containers back to back, or scattered among other data."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import chain

from archfit.binary.cubin import CUBIN_START, cubin_size, parse_cubin
from archfit.binary.fatbin import CONTAINER_START, Codes, Place, parse_fatbin, walk_containers
from archfit.binary.search import find
from archfit.binary.source import LARGEST_READ_BYTES, Read, read_exactly, reader_of
from archfit.errors import FormatError

FindCode = Callable[[int, int], tuple[int, bool]]
"""``find_code(position, end)``: offset of the next container or cubin, or `end`; True for a cubin."""

_LARGEST_SEARCH_BYTES = 1 << 20
_MOST_DAMAGED = 16  # in honest files there is none; each one may cost a walk to the end of the file
_NEAR_BYTES = 256


def walk_packed(read: Read, start: int, end: int, codes: Codes) -> Iterator[Place]:
    """Containers of a section that holds nothing else (``.nv_fatbin``): back to back, 8-aligned, zeros between.

    Raises:
        FormatError: anything but zeros stands between two containers, or a container does not fit the format.
    """
    return chain.from_iterable(_walk_packed(read, start, end, codes))


def _walk_packed(read: Read, start: int, end: int, codes: Codes) -> Iterator[list[Place]]:
    position = start
    while position < end:
        stopped = yield from walk_containers(read, position, end, codes)
        position = skip_zeros(read, stopped, end)
        if position == stopped < end:
            parse_fatbin(read, position, end, codes)  # says what is wrong


def walk_scattered(
    read: Read,
    start: int,
    end: int,
    codes: Codes,
    damaged: list[FormatError],
    find_code: FindCode | None = None,
) -> Iterator[Place]:
    """Containers, and cubins that stand by themselves, among other data.

    What starts like one and is none goes to `damaged`, with the offset where it starts, and the search goes on behind it.
    `find_code` searches; the default reads with `read` for it.

    Raises:
        FormatError: the file ends before `end`, or too much starts like a container and is none.
    """
    return chain.from_iterable(
        _walk_scattered(read, start, end, codes, damaged, find_code or partial(_find_code, read))
    )


def _walk_scattered(
    read: Read, start: int, end: int, codes: Codes, damaged: list[FormatError], find_code: FindCode
) -> Iterator[list[Place]]:
    position = start
    while position < end:
        stopped = yield from walk_containers(read, position, end, codes, partial(_note, damaged))
        position, is_cubin = find_code(stopped, end)
        if is_cubin:
            position = yield from _walk_cubin(read, position, end, codes, damaged)


def _note(damaged: list[FormatError], error: FormatError, offset: int) -> None:
    """Remember what is wrong with the container or cubin at `offset`."""
    damaged.append(FormatError(error.key, **{**error.values, "offset": offset}))
    if len(damaged) > _MOST_DAMAGED:
        raise error


def _walk_cubin(
    read: Read, offset: int, end: int, codes: Codes, damaged: list[FormatError]
) -> Generator[list[Place], None, int]:
    """The cubin at `offset`, if there is one; returns where to go on."""
    size = cubin_size(read, offset)
    if not 0 < size <= min(end - offset, LARGEST_READ_BYTES):
        return offset + len(CUBIN_START)
    try:
        data = read_exactly(read, size, offset, "cubin")
        code = parse_cubin(reader_of(data)).code
    except FormatError as error:
        _note(damaged, error, offset)
        return offset + len(CUBIN_START)
    yield [(offset, offset + size, (codes.add(code),))]
    return offset + size


def skip_zeros(read: Read, position: int, end: int) -> int:
    """Offset of the first byte in front of `end` that is not zero, or `end`."""
    step = 64
    while position < end:
        chunk = read_exactly(read, min(step, end - position), position, "fatbin section")
        rest = chunk.lstrip(b"\0")
        if rest:
            return position + len(chunk) - len(rest)
        position += len(chunk)
        step = min(2 * step, _LARGEST_SEARCH_BYTES)
    return end


def _find_code(read: Read, position: int, end: int) -> tuple[int, bool]:
    """Offset of the next container or cubin, or `end`; True for a cubin. The search starts small: most are near."""
    size = 4096
    while position < end:
        chunk = read_exactly(read, min(size, end - position), position, "section")
        place, is_cubin = first_code(chunk)
        if place >= 0:
            return position + place, is_cubin
        if position + len(chunk) == end:
            return end, False
        position += len(chunk) - OVERLAP
        size = min(4 * size, _LARGEST_SEARCH_BYTES)
    return end, False


OVERLAP = len(CONTAINER_START) - 1
"""A start can lie across two pieces: so many bytes of the first belong to the search in the second."""


def first_code(data: bytes, start: int = 0) -> tuple[int, bool]:
    """Offset of the first container or cubin in `data` at or behind `start`, or -1; True for a cubin."""
    container, cubin = find(data, CONTAINER_START, start), find(data, CUBIN_START, start)
    if cubin >= 0 and not 0 <= container < cubin:
        return cubin, True
    return container, False
