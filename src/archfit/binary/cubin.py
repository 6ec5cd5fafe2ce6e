"""Code objects that stand alone: a bare cubin, a PTX text, and the names of the kernels in either.

A cubin is an ELF file of machine 190. Where its target stands was found with ptxas 11.7 to 13.5 (file format notes of the
project, section 2); the ``a`` and ``f`` of a bare cubin stand only in the command line that CUDA 12.8 and newer leave in it.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from dataclasses import dataclass

from archfit.arch import ComputeCapability, Suffix, Target
from archfit.binary import elf
from archfit.binary.elf import parse_ident, parse_sections
from archfit.binary.source import LARGEST_FILE_BYTES, LARGEST_READ_BYTES, Read, Section, peek, read_exactly
from archfit.errors import FormatError
from archfit.model import CodeObject

CUBIN_START = elf.MAGIC + b"\x02\x01\x01"
"""How a cubin starts, and other ELF files too: `cubin_size` tells them apart."""

_OSABI_OLD, _OSABI_NEW = 0x33, 0x41
_NOTE = ".note.nv.tkinfo"
_MAX_NOTE_BYTES = 1 << 16
_PTX_VERSION = re.compile(rb"^[ \t]*\.version[ \t]+(\d{1,3})\.(\d{1,3})\b", re.MULTILINE)
_PTX_TARGET = re.compile(rb"^[ \t]*\.target[ \t]+sm_(\d{2,3})([af]?)\b", re.MULTILINE)
_PTX_ENTRY = re.compile(rb"\.entry[ \t\r\n]+([\w$]+)")
_ARCH_OPTION = re.compile(rb"(?:-arch|--gpu-name)[ =]\s*(?:sm|compute)_(\d{2,3})([af]?)\b")
_RELEASE = re.compile(rb"release (\d{1,3})\.(\d{1,3})")


@dataclass(frozen=True, slots=True)
class Cubin:
    """What a bare cubin says of itself: kernels by mangled name; `release` is the toolkit's, where it is written down."""

    code: CodeObject
    kernels: tuple[str, ...]
    release: tuple[int, int] | None


def parse_cubin(read: Read) -> Cubin:
    """Read a bare cubin.

    Raises:
        FormatError: not a cubin, or cut short; carries the offset.
    """
    ident = parse_ident(read)
    flags = struct.unpack_from("<I", ident, 48)[0]
    size = cubin_size(read, 0)
    if size and not peek(read, 1, size - 1):
        raise FormatError("file-cut", what="cubin", offset=0, expected=size, found=_length(read, size))
    arch = flags & 0xFF if ident[7] == _OSABI_OLD else (flags >> 8) & 0xFF
    if not 10 <= arch < 200:
        raise FormatError("cubin-arch", offset=48, found=hex(flags))
    sections = parse_sections(read)
    note = _note(read, sections)
    functions = (s.name.removeprefix(".text.") for s in sections if s.name.startswith(".text.") and s.size)
    kernels = tuple(name for name in functions if not name.startswith("__cuda_"))  # the compiler's own helpers
    release = _RELEASE.search(note)
    return Cubin(
        CodeObject(
            kind="sass",
            target=Target(ComputeCapability(arch // 10, arch % 10), "sass", _suffix(note, arch, flags, ident[7])),
            isa=None,
            compression=None,
            has_kernels=bool(kernels),
            debug=any(s.name == ".debug_info" for s in sections),  # every cubin has .debug_frame
            number=2,
        ),
        kernels,
        (int(release[1]), int(release[2])) if release else None,
    )


def cubin_size(read: Read, offset: int) -> int:
    """Size in bytes of the cubin at `offset`, whose section headers stand at its start or its end. 0 for other ELF files."""
    ident = peek(read, 64, offset)
    if len(ident) < 64 or ident[7] not in (_OSABI_OLD, _OSABI_NEW) or elf.machine_of(ident) != elf.MACHINE_CUDA:
        return 0
    segments, sections = (int.from_bytes(ident[at : at + 8], "little") for at in (32, 40))
    sizes = [int.from_bytes(ident[at : at + 2], "little") for at in range(54, 62, 2)]
    behind_headers = max(segments + sizes[0] * sizes[1], sections + sizes[2] * sizes[3])
    if sections != len(ident):
        return behind_headers
    table = peek(read, sizes[2] * sizes[3], offset + sections)
    rows = elf.SECTION.iter_unpack(table[: len(table) - len(table) % elf.SECTION.size])
    return max(behind_headers, max((row[4] + row[5] for row in rows if row[1] != elf.SHT_NOBITS), default=0))


def parse_ptx(text: bytes) -> CodeObject:
    """Read what a PTX text is for.

    Raises:
        FormatError: it names no version or no target.
    """
    version, target = _PTX_VERSION.search(text), _PTX_TARGET.search(text)
    if not version or not target:
        raise FormatError("not-ptx", offset=0)
    capability = ComputeCapability(*divmod(int(target[1]), 10))
    suffix: Suffix = "a" if target[2] == b"a" else "f" if target[2] == b"f" else ""
    return CodeObject(
        kind="ptx",
        target=Target(capability, "ptx", suffix),
        isa=f"{int(version[1])}.{int(version[2])}",
        compression=None,
        has_kernels=_PTX_ENTRY.search(text) is not None,
        number=1,
    )


def ptx_kernels(text: bytes) -> tuple[str, ...]:
    """The kernels of a PTX text, by mangled name."""
    return tuple(name.decode("ascii", "replace") for name in _PTX_ENTRY.findall(text))


def read_ptx(read: Read, size_bytes: int) -> CodeObject:
    """Read a PTX file; raises FormatError where it is none."""
    return parse_ptx(read_exactly(read, min(size_bytes, LARGEST_READ_BYTES), 0, "PTX"))


def looks_like_ptx(start: bytes) -> bool:
    """Does a file that starts like this hold PTX?"""
    return _PTX_VERSION.search(start) is not None and b"\0" not in start.rstrip(b"\0")


def _length(read: Read, below: int) -> int:
    """How many bytes there are, fewer than `below`."""
    return bisect_left(range(min(below, LARGEST_FILE_BYTES)), True, key=lambda offset: not peek(read, 1, offset))


def _note(read: Read, sections: tuple[Section, ...]) -> bytes:
    note = next((s for s in sections if s.name == _NOTE), None)
    return peek(read, min(note.size, _MAX_NOTE_BYTES), note.offset) if note else b""


def _suffix(note: bytes, arch: int, flags: int, osabi: int) -> Suffix:
    """From the command line in the note, else from the flag that CUDA 12 set and 13 sets no more."""
    for number, letter in _ARCH_OPTION.findall(note):
        if int(number) == arch:
            return "a" if letter == b"a" else "f" if letter == b"f" else ""
    old_flag = flags & 0x800 if osabi == _OSABI_OLD else flags & 0x8
    return "a" if old_flag else ""
