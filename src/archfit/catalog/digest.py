"""The code of a wheel in few words: all that the rules of `coverage` look at, and nothing else.

A catalog that kept verdicts would be wrong the day a rule is mended or a GPU comes out. It keeps what a scan saw instead, so
that the same rules judge it: ``[path, format, [[count, flags, targets], …]]`` for each library with code that can be
launched. `targets` is the number of a text such as ``sm_80 sm_90a compute_90@8.4`` (PTX with its ISA version) in a list that
many wheels share; `flags` are letters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from archfit.arch import CudaVersion, Target
from archfit.coverage import can_launch
from archfit.model import CodeObject, Compiler, Container, Library

Row = list[Any]

_LOOSE, _LINKED, _PART = "l", "i", "p"
"""Picked by the library's own code; a linked image; a part that it was linked from."""
_SINGLE = ("cubin", "ptx", "fatbin")


class Texts:
    """Texts that repeat, each once; rows carry its number."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.all = list(known)
        self._numbers = {text: number for number, text in enumerate(self.all)}

    def number(self, text: str) -> int:
        """Where `text` stands in `all`, added if it is new."""
        if text not in self._numbers:
            self._numbers[text] = len(self.all)
            self.all.append(text)
        return self._numbers[text]


def pack_libraries(libraries: Iterable[Library], texts: Texts) -> list[Row]:
    """Rows for the libraries that hold code.

    Of files that are single code objects a package picks one by GPU; of those that are alike the first stands for all.
    """
    rows: list[Row] = []
    seen: set[str] = set()
    for library in sorted(libraries, key=lambda lib: lib.path):
        containers = _pack_containers(library.containers, texts)
        if library.format in _SINGLE:
            alike = str(containers)
            if alike in seen:
                continue
            seen.add(alike)
        if containers:
            rows.append([library.path, library.format, containers])
    return rows


def unpack_libraries(rows: Iterable[Row], texts: Sequence[str]) -> tuple[Library, ...]:
    """The libraries again; sizes and what else is of no use to the rules is not kept."""
    return tuple(
        Library(path, 0, (), tuple(_container(n, flags, texts[t]) for n, flags, t in containers), format)
        for path, format, containers in rows
    )


def pack_compilers(compilers: Iterable[Compiler], texts: Texts) -> list[Row]:
    """``[path, kind, release, targets]`` for each compiler that works at run time."""
    return [
        [c.path, c.kind, str(c.release) if c.release else None, texts.number(" ".join(map(str, sorted(c.targets))))]
        for c in sorted(compilers, key=lambda c: c.path)
    ]


def unpack_compilers(rows: Iterable[Row], texts: Sequence[str]) -> tuple[Compiler, ...]:
    """The compilers again."""
    return tuple(
        Compiler(path, kind, CudaVersion.parse(release) if release else None, _targets(texts[number]))
        for path, kind, release, number in rows
    )


def _targets(text: str) -> tuple[Target, ...]:
    return tuple(map(Target.parse, text.split()))


def _pack_containers(containers: Sequence[Container], texts: Texts) -> list[Row]:
    counts = Counter[tuple[str, str]]()
    for container in containers:
        targets = _pack_objects(container.objects)
        if container.relocatable or (targets and can_launch(container)):
            counts[_flags(container), targets] += container.count
    return [[count, flags, texts.number(targets)] for (flags, targets), count in sorted(counts.items())]


def _flags(container: Container) -> str:
    loose = "" if container.registered else _LOOSE
    return loose + (_LINKED if container.linked else "") + (_PART if container.relocatable else "")


def _pack_objects(objects: Iterable[CodeObject]) -> str:
    """In their order: of two PTX of one target, a driver takes the first."""
    texts = (f"{o.target}@{o.isa}" if o.kind == "ptx" and o.isa else str(o.target) for o in objects if _counts(o))
    return " ".join(dict.fromkeys(texts))


def _counts(code: CodeObject) -> bool:
    return code.launchable and code.target is not None


def _container(count: int, flags: str, targets: str) -> Container:
    return Container(
        _objects(targets),
        registered=_LOOSE not in flags,
        count=count,
        section="__nv_relfatbin" if _PART in flags else ".nv_fatbin",
        linked=_LINKED in flags,
    )


@cache  # the same few hundred texts stand in thousands of containers
def _objects(texts: str) -> tuple[CodeObject, ...]:
    return tuple(map(_object, texts.split()))


def _object(text: str) -> CodeObject:
    name, _, isa = text.partition("@")
    target = Target.parse(name)

    return CodeObject("ptx" if target.kind == "ptx" else "sass", target, isa or None, None, has_kernels=True)
