"""What was scanned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archfit.arch import CudaVersion
from archfit.buildscript import BuildScript
from archfit.model.code import Compiler, Library
from archfit.model.facts import Text
from archfit.model.machine import Distribution

SubjectKind = Literal["wheel", "library", "folder", "environment", "requirement", "sdist"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What was scanned, and the code in it: one distribution for a wheel or file, one for each package of an environment.

    `name` is what was asked for, `file` what answered it (a wheel's name), `sha256` and `size_bytes` are its hash and size
    where it is one file; `cuda` is the release of torch in it. `unreadable` are files with the reason; `cached` is True for
    an answer that was kept. `build` is what the build files of a source package say.
    """

    name: str
    kind: SubjectKind
    distributions: tuple[Distribution, ...]
    unreadable: tuple[tuple[str, Text], ...] = ()
    file: str = ""
    sha256: str | None = None
    size_bytes: int | None = None
    cuda: CudaVersion | None = None
    cached: bool = False
    build: BuildScript | None = None

    @property
    def libraries(self) -> tuple[Library, ...]:
        """All files in which GPU code was looked for."""
        return tuple(lib for d in self.distributions for lib in d.libraries)

    @property
    def compilers(self) -> tuple[Compiler, ...]:
        """All run-time compilers."""
        return tuple(c for d in self.distributions for c in d.compilers)
