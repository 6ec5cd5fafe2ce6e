"""Names of the kernels inside a container: the one place where code is decompressed.

For sentences only; no verdict needs it. Payloads are LZ4 blocks or zstd frames, as the flags of their entry say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from archfit.binary.cubin import parse_cubin, ptx_kernels
from archfit.binary.fatbin import CONTAINER_START, Entry, walk_entries
from archfit.binary.library import find_containers
from archfit.binary.source import Read, open_file, read_exactly, reader_of
from archfit.errors import FormatError
from archfit.model import CodeObject

_LARGEST_PAYLOAD_BYTES = 1 << 28
_NESTED = re.compile(r"_ZN?K?(?:S[a-z]?)?")


def kernels_of(path: Path, wanted: frozenset[tuple[CodeObject, ...]]) -> Iterator[tuple[tuple[CodeObject, ...], str]]:
    """The kernels in the containers of `path` that hold exactly one of the `wanted` lists of code objects.

    Names are mangled. Containers whose code cannot be read are passed over: a name is a help, not a verdict.

    Raises:
        FormatError, OSError: the file cannot be walked.
    """
    with open_file(path) as (read, size_bytes):
        for offset, _, _, objects in find_containers(read, size_bytes):
            if objects in wanted:
                for name in container_kernels(read, offset, size_bytes):
                    yield objects, name


def container_kernels(read: Read, offset: int, limit: int) -> tuple[str, ...]:
    """The kernels of the container (or bare cubin) at `offset`, from the first code object that can be read."""
    if read(len(CONTAINER_START), offset) != CONTAINER_START:
        return ()
    try:
        for entry in walk_entries(read, offset, limit):
            if entry.code.kind == "sass" and entry.code.has_kernels:
                return parse_cubin(reader_of(payload(read, entry))).kernels
            if entry.code.kind == "ptx":
                return ptx_kernels(payload(read, entry))
    except FormatError:
        return ()
    return ()


def payload(read: Read, entry: Entry) -> bytes:
    """The code of one entry as a compiler wrote it.

    Raises:
        FormatError: it is packed in an unknown way, or damaged.
    """
    size = entry.compressed_bytes or entry.payload_bytes
    if max(size, entry.plain_bytes) > _LARGEST_PAYLOAD_BYTES:
        raise FormatError("payload-damaged", offset=entry.offset, cause=f"{entry.plain_bytes} bytes")
    data = read_exactly(read, size, entry.offset, "code object")
    if entry.code.compression is None:
        return data
    try:
        if entry.code.compression == "zstd":
            import zstandard

            if zstandard.frame_content_size(data) in (-1, entry.plain_bytes):  # a frame's own size would lift the limit
                return zstandard.ZstdDecompressor().decompress(data, max_output_size=entry.plain_bytes)
        if entry.code.compression == "lz4":
            import lz4.block

            return bytes(lz4.block.decompress(data, uncompressed_size=entry.plain_bytes))
    except Exception as error:  # each library has an error of its own, and LZ4's is a RuntimeError below
        raise FormatError("payload-damaged", offset=entry.offset, cause=error) from error
    raise FormatError("payload-damaged", offset=entry.offset, cause=entry.code.compression)


def readable(mangled: str) -> str:
    """``at::native::vectorized_elementwise_kernel`` from a name as the Itanium C++ ABI mangles it.

    Template arguments are left out; what is not mangled is returned as it is.
    """
    if not mangled.startswith("_Z"):
        return mangled
    position = len(_NESTED.match(mangled)[0])  # type: ignore[index]  # it matches whatever starts with _Z
    parts = []
    while match := re.compile(r"\d{1,6}").match(mangled, position):
        start, length = match.end(), int(match[0])
        parts.append(mangled[start : start + length])
        position = start + length
    named = ["(anonymous namespace)" if part.startswith("_GLOBAL__N_") else part for part in parts]
    return "::".join(named) or mangled
