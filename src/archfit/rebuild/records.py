"""What this room is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archfit.arch import ComputeCapability, CudaVersion
from archfit.errors import ApplyError
from archfit.model import Interpreter


@dataclass(frozen=True, slots=True)
class Ground:
    """What an extension is compiled on.

    `interpreter` is the Python of the environment. `torch` is the release that it will hold (``2.11.0``) and `cuda` the one
    that this torch was built with; `devices` are the GPUs. `bring` installs what changes into the environment of the Python
    it is given; None where torch stays.
    """

    interpreter: Interpreter
    torch: str
    cuda: CudaVersion
    devices: tuple[ComputeCapability, ...]
    bring: Callable[[Path], None] | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A package to compile: normalised name and version. `origin` is where it was installed from, if not from an index:
    a folder, or ``git+https://…@commit``.
    """

    name: str
    version: str
    origin: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Source:
    """Source code on the disk, an archive or a folder, and the hash of it."""

    path: Path
    sha256: str


Stage = Literal["source", "environment", "compile", "check", "cached"]


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """Where a build is: while it compiles, `done` of `total` files, and the one that was begun last."""

    package: str
    stage: Stage
    done: int = 0
    total: int = 0
    file: str = ""


OnProgress = Callable[[BuildProgress], None]


@dataclass(frozen=True, slots=True)
class Built:
    """A wheel that was compiled, scanned and holds code for every GPU.

    `compiler` is like ``nvcc 13.0, PyPI``; `seconds` is how long the build took when it was made, `cached` says
    whether that was before; `targets` is what its libraries hold.
    """

    package: str
    version: str
    wheel: Path
    sha256: str
    log: Path
    compiler: str
    targets: tuple[str, ...]
    seconds: float
    cached: bool = False


class BuildError(ApplyError):
    """An extension could not be built, or what was built is not fit; nothing was changed.

    `log` is what the build printed, kept where it is; None where nothing was begun.
    """

    log: Path | None = None

    def with_log(self, log: Path) -> BuildError:
        """The same error with the place of its log."""
        error = BuildError(self.key, **{**self.values, "log": log})
        error.log = log
        return error
