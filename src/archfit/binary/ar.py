"""Static archives: ``.a`` of Linux and ``.lib`` of Windows, which share one layout.

Layout: the common ``ar`` format as GNU and BSD tools and Microsoft's ("PE Format", "Archive Library File Format") write it.
"""

from __future__ import annotations

from collections.abc import Iterator

from archfit.binary.source import Read, peek, read_exactly, text_at
from archfit.errors import FormatError

MAGIC, THIN_MAGIC = b"!<arch>\n", b"!<thin>\n"

_HEADER_BYTES = 60


def walk_members(read: Read, size_bytes: int) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of each member; tables of symbols and of names are left out.

    Raises:
        FormatError: a header or a size does not fit; or a thin archive, which holds only the names of other files.
    """
    magic = read_exactly(read, len(MAGIC), 0, "archive")
    if magic == THIN_MAGIC:
        raise FormatError("archive-thin", offset=0)
    if magic != MAGIC:
        raise FormatError("not-archive", offset=0, found=magic.hex(" "))
    position, long_names = len(MAGIC), b""
    while position < size_bytes:
        header = read_exactly(read, _HEADER_BYTES, position, "archive member")
        size = _size(header, position)
        start = position + _HEADER_BYTES
        if start + size > size_bytes:
            raise FormatError("archive-length", offset=position + 48, found=start + size, expected=size_bytes)
        name = header[:16].rstrip(b" ").decode("ascii", "replace")
        if name == "//":
            long_names = read_exactly(read, size, start, "archive names")
        elif name not in ("/", "/SYM64/") and not name.startswith("__.SYMDEF"):
            yield _named(name, long_names, read, start, size)
        position = start + size + size % 2


def _size(header: bytes, offset: int) -> int:
    digits = header[48:58].strip()
    if header[58:60] != b"`\n" or not digits.isdigit():
        raise FormatError("archive-member", offset=offset, found=header[48:60].hex(" "))
    return int(digits)


def _named(name: str, long_names: bytes, read: Read, start: int, size: int) -> tuple[str, int, int]:
    if name.startswith("#1/") and name[3:].isdigit():  # BSD: the name stands in front of the member's bytes
        length = min(int(name[3:]), size)
        return text_at(peek(read, min(length, 4096), start), 0), start + length, size - length
    if name.startswith("/") and name[1:].isdigit():  # GNU and Microsoft: an offset into the table of names
        tail = long_names[int(name[1:]) :]
        return tail.partition(b"\n")[0].partition(b"\0")[0].decode("utf-8", "replace").rstrip("/"), start, size
    return name.rstrip("/"), start, size
