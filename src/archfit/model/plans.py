"""Ways out, and what the resolver says about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archfit.arch import CudaVersion
from archfit.model.change import LockedPackage
from archfit.model.facts import Text
from archfit.model.machine import DriverRelease, Environment
from archfit.model.source import SourceChange, SourceSearch

OptionKind = Literal["upgrade", "nightly", "rebuild", "source-build", "driver", "cpu", "none"]


@dataclass(frozen=True, slots=True)
class Step:
    """One change. `unsafe` is the default: a step must earn the word safe."""

    action: Literal["install", "rebuild", "replace", "leave", "driver", "build", "run"]
    package: str
    current: str | None
    wanted: str | None
    index: str | None
    why: tuple[Text, ...]
    unsafe: bool = True


WayKind = Literal["keep", "wheel", "rebuild", "replace", "refused", "none"]
"""What becomes of a package with GPU code: it stays, another wheel of it, compiled again, a successor with the same import
name; its own code refuses these GPUs, so it is not built; or nothing is known that would serve."""


@dataclass(frozen=True, slots=True)
class Way:
    """What becomes of one package with GPU code or torch's ABI when torch or the GPU changes.

    `package` and `current` are installed now; `name` and `wanted` come in its place (None: the newest), from `index`.
    `toolkit` is the CUDA release that must compile it. `minutes` and `memory_bytes` (of one job) are what others measured.
    `pip` and `uv` are the commands, in order.
    """

    kind: WayKind
    package: str
    current: str
    name: str
    wanted: str | None
    index: str | None
    why: tuple[Text, ...]
    toolkit: str | None = None
    minutes: int | None = None
    memory_bytes: int | None = None
    pip: tuple[str, ...] = ()
    uv: tuple[str, ...] = ()

    @property
    def acts(self) -> bool:
        """Is there something to do?"""
        return self.kind in ("wheel", "rebuild", "replace")


@dataclass(frozen=True, slots=True)
class SourceBuild:
    """Torch from source: which release with which CUDA toolkit, for which GPUs (``8.9;12.0``) and which Python.

    `gcc_from` and `gcc_below` bound the major release of gcc; `disk_gb` and `job_gb` are room on the disk and memory for each
    job, in GB.
    """

    release: str
    cuda: CudaVersion
    arch_list: str
    python: Path
    gcc_from: int
    gcc_below: int
    disk_gb: int
    job_gb: int


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """The torch that an option ends with."""

    version: str
    cuda: str | None
    index: str


@dataclass(frozen=True, slots=True)
class Requires:
    """What an option needs: the oldest driver, the Python, room on the disk, bytes to load (None: not known)."""

    driver: DriverRelease | None = None
    python: str | None = None
    disk_bytes: int | None = None
    download_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One way out. `locked` is every package that it changes, where the resolver was asked and found a solution.

    `extensions` says what becomes of each package with GPU code or torch's ABI; `source` is what a build of torch from source
    needs.
    """

    kind: OptionKind
    summary: Text
    steps: tuple[Step, ...] = ()
    torch: TorchBuild | None = None
    requires: Requires = Requires()
    risks: tuple[Text, ...] = ()
    pip: tuple[str, ...] = ()
    uv: tuple[str, ...] = ()
    locked: tuple[LockedPackage, ...] = ()
    extensions: tuple[Way, ...] = ()
    source: SourceBuild | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A way that looks like one and is none, with the reason."""

    option: Text
    why: Text


@dataclass(frozen=True, slots=True)
class Unsolved:
    """What no option solves, and the command that would, where there is one to run by hand."""

    text: Text
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Every way out, best first; what no option solves; what was rejected; what the reader must know about the answer.

    `changes` is what the first option that installs something asks of source code, `search` where, if there was a look.
    """

    environment: Environment
    options: tuple[Option, ...]
    unsolved: tuple[Unsolved, ...]
    rejected: tuple[Rejected, ...]
    notices: tuple[Text, ...] = ()
    changes: tuple[SourceChange, ...] = ()
    search: SourceSearch | None = None


# --- the resolver ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Question:
    """What the resolver is asked: `specs` (``torch==2.8.0``) beside all that is installed.

    `index` is looked in before the default one; `reinstall` names packages that change though their version stays, because
    another build of it is wanted; `prerelease` admits development versions.
    """

    specs: tuple[str, ...]
    index: str | None = None
    reinstall: tuple[str, ...] = ()
    prerelease: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The packages that are asked for."""
        return tuple(spec.partition("==")[0] for spec in self.specs)


@dataclass(frozen=True, slots=True)
class Pin:
    """A requirement of an installed package that a change would not meet: ``xformers 0.0.28`` wants ``torch==2.4.1``.

    `found` is what it would find instead: ``torch 2.8.0``.
    """

    package: str
    version: str
    requirement: str
    found: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}: {self.requirement}"


ResolutionState = Literal["resolved", "conflict", "absent", "swapped", "unreachable"]


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the resolver says.

    resolved: `locked` is all that would change, `moved` why packages change that nobody asked for. conflict: `broken` are the
    requirements in the way. absent: no such version or file. swapped: `detail` is the other build that it would take.
    unreachable: no answer. `detail` are the resolver's own words where it has some.
    """

    state: ResolutionState
    locked: tuple[LockedPackage, ...] = ()
    moved: tuple[Pin, ...] = ()
    broken: tuple[Pin, ...] = ()
    detail: str = ""
