"""One file from disk or memory: find out what it is, find the GPU code in it, close it."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import compress
from pathlib import Path
from typing import Literal

from archfit.binary import ar, elf, pe
from archfit.binary.cubin import looks_like_ptx, parse_cubin, read_ptx
from archfit.binary.fatbin import CONTAINER_START, Codes, Numbers, Place
from archfit.binary.source import LARGEST_READ_BYTES, Read, Section, open_file, part_of, read_exactly, reader_of
from archfit.binary.walk import walk_packed, walk_scattered
from archfit.errors import FormatError
from archfit.model import CodeObject, Container, FileFormat, Library, Text

Search = Literal["all"] | Collection[str]
"""Where to look besides the sections that hold nothing else: in all that is loaded, or in sections of these names."""

Role = Literal["registered", "linked", "own"]
"""Who loads a container: the CUDA runtime at start; the same, as the image that relocatable parts were linked to; or the
library's own code, or nobody."""

Part = tuple[str, Role, Iterable[Place]]
"""The containers of one section that have one role."""

# Sections that hold containers and nothing else. Linkers of Windows cut names at eight characters.
_PACKED = frozenset({".nv_fatbin", ".nv_fatb", "__nv_relfatbin", "__nv_rel"})
_WRAPPERS = frozenset({".nvFatBinSegment", ".nvFatBi"})
_WRAPPER, _WRAPPER_MAGIC, _LINK_VERSION = struct.Struct("<IIQ8x"), 0x466243B1, 2

# Sections that compilers fill and that can hold no code for a GPU.
_NEVER = (
    ".eh_frame", ".gcc_except_table", ".rela.", ".rel.", ".dyn", ".gnu.", ".hash", ".note", ".interp", ".init", ".fini",
    ".got", ".plt", ".tm_clone", ".jcr", ".nvFatBi", "__nv_module_id", "__nv_mod", ".reloc", ".pdata", ".relro",
)  # fmt: skip
_START_BYTES = 4096
_LARGEST_MEMBER_BYTES = 256 << 20


def read_library(path: Path, name: str | None = None, *, search: Search = "all") -> Library:
    """Read which GPU code a file holds and what it asks the loader for.

    Shared objects and programs (ELF, PE), static archives, bare cubins, PTX texts and fatbins are known. `name` is how the
    report calls the file (default: its path). Only headers are read, one page of 4 KB each, and what `search` adds.

    Raises:
        FormatError: the file is none of these, or a fatbin in it does not fit the format; carries the offset.
        OSError: the file cannot be opened or read.
    """
    with open_file(path) as (read, size_bytes):
        return parse_library(read, name or str(path), size_bytes, search=search)


def parse_library(read: Read, name: str, size_bytes: int, *, search: Search = "all") -> Library:
    """The same for bytes that can be read at offsets, wherever they come from."""
    start = read(_START_BYTES, 0)
    if is_foreign(start):
        return Library(name, size_bytes, (), (), "script")
    if start.startswith((ar.MAGIC, ar.THIN_MAGIC)):
        return Reading(name, size_bytes, search).archive(read)
    if start.startswith(CONTAINER_START):
        return Reading(name, size_bytes, search).fatbin(read)
    if start.startswith(pe.MAGIC):
        return Reading(name, size_bytes, search).image(read, "pe")
    if pe.is_object(start):
        reading = Reading(name, size_bytes, search)
        sections = _object_sections(read, size_bytes)
        return reading.library(reading.parts(read, sections), "pe")
    if not start.startswith(elf.MAGIC) and looks_like_ptx(start):
        return _single(name, size_bytes, read_ptx(read, size_bytes), "ptx")
    if start.startswith(elf.MAGIC) and elf.machine_of(start) == elf.MACHINE_CUDA:
        return _single(name, size_bytes, parse_cubin(read).code, "cubin")
    return Reading(name, size_bytes, search).image(read, "elf")


def find_containers(read: Read, size_bytes: int) -> Iterator[tuple[int, str, bool, tuple[CodeObject, ...]]]:
    """Every container of a shared object, program or fatbin with its offset, its section, and whether it is registered.

    For who wants the code itself: names of kernels, comparisons.

    Raises:
        FormatError: as `read_library`.
    """
    reading = Reading("", size_bytes, "all")
    start = read(64, 0)
    if start.startswith(CONTAINER_START):
        parts = reading.file_parts(read)
    else:
        parts = reading.parts(read, sections_of(read, "pe" if start.startswith(pe.MAGIC) else "elf"))
    for section, role, places in parts:
        for offset, _, numbers in places:
            yield offset, section, role != "own", reading.codes.named(numbers)


def is_foreign(start: bytes) -> bool:
    """A library of another machine class (32-bit), or a linker's script: read, and without GPU code by nature."""
    other_class = start[:4] == elf.MAGIC and start[4:6] != b"\x02\x01" and len(start) >= 6
    return other_class or pe.is_32_bit(start) or start.startswith((b"INPUT", b"GROUP", b"/* GNU"))


def _single(name: str, size_bytes: int, code: CodeObject, kind: FileFormat) -> Library:
    return Library(name, size_bytes, (), (Container((code,), False, 1, "file"),), kind)


def sections_of(read: Read, kind: FileFormat) -> tuple[Section, ...]:
    """The sections of an image, whichever system it is for."""
    return pe.parse_sections(read) if kind == "pe" else elf.parse_sections(read)


class Reading:
    """One file while it is read: the code objects seen so far and what was odd."""

    def __init__(self, name: str, size_bytes: int, search: Search = "all") -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.search = search
        self.codes = Codes()
        self.damaged: list[FormatError] = []

    def image(self, read: Read, kind: FileFormat) -> Library:
        """A shared object or a program."""
        sections = sections_of(read, kind)
        if kind == "pe":  # an ELF file has its section headers at the end, which a cut takes first
            for section in sections:
                self._refuse_cut(section)
        needed = pe.parse_needed(read, sections) if kind == "pe" else elf.parse_needed(read, sections)
        return self.library(self.parts(read, sections), kind, needed)

    def archive(self, read: Read, *, forward: bool = False) -> Library:
        """A static archive: all its members as one. With `forward`, `read` never goes back: each member is held in memory."""
        return self.library(self._members(read, forward=forward), "archive")

    def fatbin(self, read: Read) -> Library:
        """A file that is nothing but containers."""
        return self.library(self.file_parts(read), "fatbin")

    def library(self, parts: Iterable[Part], kind: FileFormat, needed: tuple[str, ...] = ()) -> Library:
        """Equal containers counted, in the order they were found."""
        counts: dict[tuple[str, Role], Counter[Numbers]] = {}
        for section, role, places in parts:
            counts.setdefault((section, role), Counter()).update([numbers for _, _, numbers in places])
        containers = tuple(
            Container(self.codes.named(numbers), role != "own", count, section, role == "linked")
            for (section, role), counter in counts.items()
            for numbers, count in counter.items()
        )
        return Library(self.name, self.size_bytes, needed, containers, kind, self._odd(containers))

    def file_parts(self, read: Read) -> Iterator[Part]:
        """A whole file of containers as one part."""
        yield "file", "own", walk_packed(read, 0, self.size_bytes, self.codes)

    def parts(
        self,
        read: Read,
        sections: tuple[Section, ...],
        packed: Callable[[Section], Iterable[Place]] | None = None,
        scattered: Callable[[Section, int], Iterable[Place]] | None = None,
    ) -> Iterator[Part]:
        """The containers in these sections: section, role, and their places.

        `packed` and `scattered` find them; the default is to walk the sections with `read`. The second is told from which
        offset on, so that no byte is searched twice, however often the headers name it.
        """
        packed = packed or (lambda s: walk_packed(read, s.offset, s.end, self.codes))
        scattered = scattered or (lambda s, start: walk_scattered(read, start, s.end, self.codes, self.damaged))
        full, searched = [s for s in sections if s.name in _PACKED and s.size], self._searched(sections)
        _refuse_overlaps(full, searched)
        if full:
            yield from self._packed_parts(full, _wrappers(read, sections), packed)
        seen = 0
        for section in searched:
            places = scattered(section, max(section.offset, seen))
            seen = max(seen, section.end)
            yield section.name, "own", places

    def _packed_parts(
        self, sections: list[Section], named: dict[int, Role], walk: Callable[[Section], Iterable[Place]]
    ) -> Iterator[Part]:
        """Of sections that hold containers and nothing else."""
        for section in sections:
            self._refuse_cut(section)
            if section.name.startswith("__nv"):
                yield section.name, "own", walk(section)
                continue
            places = list(walk(section))
            yield from ((section.name, role, found) for role, found in _by_role(places, named, section))

    def _searched(self, sections: tuple[Section, ...]) -> list[Section]:
        """Sections that may hold containers among other data, in file order."""
        if not self.search:
            return []
        named = sections if self.search == "all" else [s for s in sections if s.name in self.search]
        worth = [
            s
            for s in named
            if s.size and s.loaded and not s.executable and s.name not in _PACKED and not s.name.startswith(_NEVER)
        ]
        for section in worth:
            self._refuse_cut(section)
        return sorted(worth, key=lambda s: s.offset)

    def _refuse_cut(self, section: Section) -> None:
        if section.size and section.end > self.size_bytes:
            found = max(0, self.size_bytes - section.offset)
            raise FormatError("file-cut", what=section.name, offset=section.offset, expected=section.size, found=found)

    def _members(self, read: Read, *, forward: bool) -> Iterator[Part]:
        for _, start, size in ar.walk_members(read, self.size_bytes):
            held = read_exactly(read, size, start, "archive member", _LARGEST_MEMBER_BYTES) if forward else None
            member = part_of(read, start, size) if held is None else reader_of(held)
            try:
                if (bare := self._bare(member, size)) is not None:
                    yield "member", "own", [(start + begin, start + end, numbers) for begin, end, numbers in bare]
                    continue
                sections = _object_sections(member, size)
            except FormatError as error:
                raise FormatError(error.key, **{**error.values, "offset": start + offset_of(error)}) from error
            placed = tuple(s._replace(offset=start + s.offset) for s in sections)
            yield from self.parts(read if held is None else reader_of(held, start), placed)

    def _bare(self, member: Read, size_bytes: int) -> list[Place] | None:
        """The code of a member that is no object file but code itself: containers, a cubin, PTX. None for all others."""
        start = member(_START_BYTES, 0)
        if start.startswith(CONTAINER_START):
            return list(walk_packed(member, 0, size_bytes, self.codes))
        if start.startswith(elf.MAGIC) and not is_foreign(start) and elf.machine_of(start) == elf.MACHINE_CUDA:
            code = parse_cubin(member).code
        elif looks_like_ptx(start):
            code = read_ptx(member, size_bytes)
        else:
            return None
        return [(0, size_bytes, (self.codes.add(code),))]

    def _odd(self, containers: tuple[Container, ...]) -> tuple[Text, ...]:
        unknown: Counter[int] = Counter()
        for container in containers:
            for code in container.objects:
                if code.kind == "unknown":
                    unknown[code.number] += container.count
        odd = [Text("unknown-kind", {"kind": hex(k), "count": str(n)}) for k, n in sorted(unknown.items())]
        for error in self.damaged[:3]:
            values = {"offset": str(offset_of(error)), "count": str(len(self.damaged))}
            odd.append(Text("damaged-container", values))
        return tuple(odd)


def _object_sections(member: Read, size_bytes: int) -> tuple[Section, ...]:
    """The sections of an object file of either system; none of anything else, such as the tables of an archive."""
    head = member(64, 0)
    if head.startswith(elf.MAGIC) and not is_foreign(head):
        sections = elf.parse_sections(member)
    elif pe.is_object(head):
        sections = pe.parse_object_sections(member)
    else:
        return ()
    for s in sections:
        if s.end > size_bytes and s.size:
            raise FormatError(
                "file-cut", what=s.name, offset=s.offset, expected=s.size, found=max(0, size_bytes - s.offset)
            )
    return sections


def offset_of(error: FormatError) -> int:
    """Where in the file it was seen."""
    return int(str(error.values["offset"]))


def _by_role(places: list[Place], named: dict[int, Role], section: Section) -> Iterator[tuple[Role, list[Place]]]:
    """The containers of one section by what the wrappers say of them; all are registered where those tell nothing."""
    load = section.address - section.offset
    roles: list[Role] = [named.get(offset + load, "own") for offset, _, _ in places]
    if not section.address or not ("registered" in roles or "linked" in roles):
        roles = ["registered"]
    if len(set(roles)) == 1:
        yield roles[0], places
        return
    for role in ("registered", "linked", "own"):
        if found := list(compress(places, map(role.__eq__, roles))):
            yield role, found


def _refuse_overlaps(packed: list[Section], searched: list[Section]) -> None:
    """No container is in two sections: raise FormatError where a section of containers shares bytes with another."""
    end, packed_end = 0, 0
    ordered = sorted([*((s, True) for s in packed), *((s, False) for s in searched)], key=lambda pair: pair[0].offset)
    for section, is_packed in ordered:
        taken = end if is_packed else packed_end
        if section.offset < taken:
            raise FormatError("sections-overlap", offset=section.offset, found=section.offset, expected=taken)
        end = max(end, section.end)
        packed_end = max(packed_end, section.end) if is_packed else packed_end


def _wrappers(read: Read, sections: tuple[Section, ...]) -> dict[int, Role]:
    """Addresses of the containers that wrappers name, and what the version of the wrapper says of them: the role.

    They may tell nothing: there are none, or (in object files) they are not filled in yet. Then all containers count.
    """
    return {
        address: "linked" if version == _LINK_VERSION else "registered"
        for wrappers in _whole_wrappers(read, sections)
        for magic, version, address in _WRAPPER.iter_unpack(wrappers)
        if magic == _WRAPPER_MAGIC
    }


def _whole_wrappers(read: Read, sections: tuple[Section, ...]) -> Iterator[bytes]:
    room = LARGEST_READ_BYTES  # for all together: headers may name the same bytes again and again
    for section in sections:
        size = section.size - section.size % _WRAPPER.size
        if section.name in _WRAPPERS and size:
            yield read_exactly(read, size, section.offset, section.name, room)
            room -= size
