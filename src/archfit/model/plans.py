"""Ways out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archfit.model.facts import Text
from archfit.model.machine import DriverRelease, Environment

OptionKind = Literal["upgrade", "nightly", "rebuild", "source-build", "driver", "cpu", "none"]


@dataclass(frozen=True, slots=True)
class Step:
    """One change. `unsafe` is the default: a step must earn the word safe."""

    action: Literal["install", "rebuild", "driver", "build", "run"]
    package: str
    current: str | None
    wanted: str | None
    index: str | None
    why: tuple[Text, ...]
    unsafe: bool = True


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
    """One way out."""

    kind: OptionKind
    summary: Text
    steps: tuple[Step, ...] = ()
    torch: TorchBuild | None = None
    requires: Requires = Requires()
    risks: tuple[Text, ...] = ()
    pip: tuple[str, ...] = ()
    uv: tuple[str, ...] = ()


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
    """Every way out, best first; what no option solves; what was rejected."""

    environment: Environment
    options: tuple[Option, ...]
    unsolved: tuple[Unsolved, ...]
    rejected: tuple[Rejected, ...]
