"""One shared object from disk: open, walk, close."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from archfit.binary.elf import Read, Section, parse_needed, parse_sections
from archfit.binary.fatbin import walk_packed, walk_scattered
from archfit.model import CodeObject, Container, Library

# Where released libraries keep executable GPU code. `__nv_relfatbin` is left out on purpose: relocatable code is linked
# into `.nv_fatbin` before it can run, so the linked image is what counts.
_PACKED = frozenset({".nv_fatbin"})
_SCATTERED = frozenset({".ldata", ".lrodata", ".cask_resource"})


def read_library(path: Path, name: str | None = None) -> Library:
    """Read which GPU code a shared object holds and what it asks the loader for.

    `name` is how the report calls the file (default: its path). Only headers are read, one or two pages of 4 KB each.

    Raises:
        FormatError: the file is not a shared object, or a fatbin in it does not fit the format; carries the offset.
        OSError: the file cannot be opened or read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size_bytes = os.fstat(descriptor).st_size

        def read(offset: int, size: int) -> bytes:
            """Never past the end: sizes and offsets come from the file and may be absurd."""
            size = min(size, size_bytes - offset)
            return os.pread(descriptor, size, offset) if size > 0 else b""

        return _parse_library(read, name or str(path), size_bytes)
    finally:
        os.close(descriptor)


def _parse_library(read: Read, name: str, size_bytes: int) -> Library:
    if _is_foreign(read(0, 6)):
        return Library(name, size_bytes, (), ())
    sections = parse_sections(read)
    counts = Counter(containers(read, sections))
    return Library(
        path=name,
        size_bytes=size_bytes,
        needed=parse_needed(read, sections),
        containers=tuple(Container(*key, count) for key, count in counts.items()),
    )


def _is_foreign(start: bytes) -> bool:
    """A shared object of another machine class (32-bit), or a linker's script: read, and without GPU code by nature."""
    other_class = start[:4] == b"\x7fELF" and start[4:6] != b"\x02\x01" and len(start) == 6
    return other_class or start.startswith((b"INPUT", b"GROUP", b"/* GNU"))


def containers(read: Read, sections: tuple[Section, ...]) -> Iterator[tuple[tuple[CodeObject, ...], bool]]:
    """Every container of executable GPU code in these sections, and whether the CUDA runtime registers it."""
    for section in sections:
        end = section.offset + section.size
        if section.name in _PACKED:
            yield from ((objects, True) for objects in walk_packed(read, section.offset, end))
        elif section.name in _SCATTERED:
            yield from ((objects, False) for objects in walk_scattered(read, section.offset, end))
