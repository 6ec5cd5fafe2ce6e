"""Compilers that work at run time, and what they can target, read from their bytes: nothing is run.

``ptxas``, NVRTC, nvJitLink and NVVM keep the names of their targets as plain text (``-arch=compute_90a``, or
``compute_90a`` where they have no such options), and their release as ``Cuda compilation tools, release 12.9, V12.9.86``.
Seen in the releases 11.8 to 13.5 from PyPI, for Linux and Windows; the lists are those of ``ptxas --help``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from archfit.arch import CudaVersion, Target
from archfit.binary import pe
from archfit.binary.library import sections_of
from archfit.binary.search import find
from archfit.binary.source import Read, open_file, read_exactly
from archfit.errors import FormatError
from archfit.model import Compiler, CompilerKind

_KINDS: tuple[tuple[re.Pattern[str], CompilerKind], ...] = (
    (re.compile(r"ptxas([-_][\w-]+)?(\.exe)?"), "ptxas"),
    (re.compile(r"libnvrtc(-[0-9a-f]{8})?\.so[\d.]*|nvrtc64_\w+?(?<!alt)\.dll"), "nvrtc"),
    (re.compile(r"libnvJitLink(-[0-9a-f]{8})?\.so[\d.]*|nvJitLink_\w+\.dll"), "nvjitlink"),
    (re.compile(r"libnvvm(-[0-9a-f]{8})?\.so[\d.]*|nvvm64\w*\.dll"), "nvvm"),
    (re.compile(r"libdevice[\w.]*\.bc"), "libdevice"),
)
_HINT = re.compile(r"ptxas|nvrtc|nvJitLink|nvvm|libdevice")
_TEXT_SECTIONS = frozenset({".rodata", ".data", ".rdata"})
_TARGET = re.compile(rb"(-arch=)?compute_(\d{2,3}[af]?)\0")
_OPTION = b"-arch="
_RELEASE = re.compile(rb"Cuda compilation tools, release (\d{1,3})\.(\d{1,3})")
_PIECE_BYTES, _OVERLAP = 1 << 20, 64


def compiler_kind(name: str) -> CompilerKind | None:
    """Which compiler a file of this name is; None for all other files."""
    if not _HINT.search(name):  # most names of 20,000 end here
        return None
    base = re.split(r"[/\\]", name)[-1]
    return next((kind for pattern, kind in _KINDS if pattern.fullmatch(base)), None)


def read_compiler(path: Path, name: str | None = None) -> Compiler:
    """Read what the compiler at `path` can target.

    Raises:
        FormatError: it is no program or library.
        OSError: it cannot be read.
    """
    name = name or str(path)
    kind = compiler_kind(name)
    with open_file(path) as (read, size_bytes):
        if kind == "libdevice":
            return Compiler(name, "libdevice", None, ())
        return parse_compiler(_texts(read, size_bytes), name)


def parse_compiler(pieces: Iterable[bytes], name: str) -> Compiler:
    """The same from the file's bytes in order, in pieces of any size."""
    texts = CompilerTexts(name)
    for piece in pieces:
        texts.feed(piece)
    return texts.compiler()


class CompilerTexts:
    """Collects the telling texts of a compiler from its bytes, which may come in pieces of any size."""

    def __init__(self, name: str) -> None:
        kind = compiler_kind(name)
        if kind is None:
            raise FormatError("not-a-compiler", offset=0, name=name)
        self._name = name
        self._kind: CompilerKind = kind
        self._targets: set[tuple[bool, str]] = set()
        self._release: CudaVersion | None = None
        self._before = b""

    def feed(self, piece: bytes) -> None:
        """The next piece of the file."""
        for data in (self._before + piece[:_OVERLAP], piece):  # the first for what lies across two pieces
            self._targets.update(_targets_in(data))
            self._release = self._release or _release_in(data)
        self._before = (self._before + piece[-_OVERLAP:])[-_OVERLAP:]

    def compiler(self) -> Compiler:
        """What was found."""
        as_options = {text for is_option, text in self._targets if is_option}
        known = () if self._kind == "libdevice" else as_options or {text for _, text in self._targets}
        targets = sorted(Target.parse("compute_" + text) for text in known)
        return Compiler(self._name, self._kind, self._release, tuple(targets))


def _targets_in(data: bytes) -> Iterator[tuple[bool, str]]:
    for place in _places(data, b"compute_"):
        start = place - len(_OPTION) if data[max(0, place - len(_OPTION)) : place] == _OPTION else place
        whole = start != place or place == 0 or data[place - 1 : place] == b"\0"  # not the end of a longer text
        if whole and (match := _TARGET.match(data, start)):
            yield start != place, match[2].decode("ascii")


def _release_in(data: bytes) -> CudaVersion | None:
    for place in _places(data, b"Cuda compilation tools, release "):  # the first is mostly a format: release %d.%d
        if match := _RELEASE.match(data, place):
            return CudaVersion(int(match[1]), int(match[2]))
    return None


def _places(data: bytes, needle: bytes) -> Iterator[int]:
    place = -1
    while (place := find(data, needle, place + 1)) >= 0:
        yield place


def _texts(read: Read, size_bytes: int) -> Iterator[bytes]:
    """The sections of constants, in pieces."""
    sections = sections_of(read, "pe" if read(2, 0) == pe.MAGIC else "elf")
    for section in sections:
        if section.name in _TEXT_SECTIONS:
            position, end = section.offset, min(section.end, size_bytes)
            while position < end:
                piece = read_exactly(read, min(_PIECE_BYTES, end - position), position, section.name)
                yield piece
                position += len(piece)
            yield b"\0" * _OVERLAP  # nothing continues from one section into the next
