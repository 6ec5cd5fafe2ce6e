"""CUDA toolkits, GPU generations and Jetson systems: which drivers they need, and which know them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, Literal, TypeVar

from archfit.arch import ComputeCapability, CudaVersion, Target, judge_code
from archfit.catalog.tables import load_json, load_toml
from archfit.model import DriverRelease

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PerSystem(Generic[T]):
    """What differs between the drivers of Linux and those of Windows."""

    linux: T
    windows: T

    def on(self, platform: str) -> T:
        """That of one platform, as the catalog spells it: ``win_amd64``; Linux where it is not known (empty)."""
        return self.windows if is_windows(platform) else self.linux


def is_windows(platform: str) -> bool:
    """Is it a platform with the drivers of Windows: ``win_amd64``, ``windows``?"""
    return platform.startswith("win")


@dataclass(frozen=True, slots=True)
class Toolkit:
    """A CUDA release: what its compiler can target and which drivers can load its code.

    `first` is the driver that shipped with it, the first one that compiles its PTX; None where none was shipped. `floor` is
    that of minor-version compatibility. Drivers of Linux and of Windows have numbers of their own.
    """

    cuda: CudaVersion
    first: PerSystem[DriverRelease | None]
    floor: PerSystem[DriverRelease]
    ptx_isa: str
    targets: tuple[Target, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Generation:
    """A hardware generation: which drivers know it, and which flavour of kernel module drives it on Linux.

    `first_driver` is None where it is not known. `last_branch` is None while drivers still support it.
    """

    capability: ComputeCapability
    name: str
    first_driver: PerSystem[DriverRelease | None]
    last_branch: int | None
    open_only: bool
    closed_only: bool
    source: str


@dataclass(frozen=True, slots=True)
class JetPack:
    """The system of a Jetson: `cuda` is what its driver knows, `index` where torch for it is; empty: PyPI's own wheels."""

    release: str
    cuda: CudaVersion
    capabilities: tuple[ComputeCapability, ...]
    index: str
    python: str
    source: str


@dataclass(frozen=True, slots=True)
class DriverWindow:
    """The drivers that serve all GPUs of one machine: from `first` (None: not known) to branch `last` (None: still going on).

    `module` is the flavour of kernel module that drives them all on Linux: ``open``, ``proprietary``, ``either``, or ``none``
    where one GPU needs the one and another the other.
    """

    first: DriverRelease | None
    last: int | None
    module: Literal["open", "proprietary", "either", "none"]

    @property
    def is_empty(self) -> bool:
        """True where no driver release knows them all."""
        return self.first is not None and self.last is not None and self.first.branch > self.last

    def admits(self, driver: DriverRelease) -> bool:
        """Does this driver know all of the GPUs? It must be one of the system that the window is for."""
        return (self.first is None or driver >= self.first) and (self.last is None or branch_of(driver) <= self.last)


def branch_of(release: DriverRelease) -> int:
    """The branch that a driver belongs to: on Windows the releases of R580 go on as 581 and 582.

    Beyond the rows of the catalog, the number in front.
    """
    return max((branch for branch, _ in load_branches() if branch <= release.branch), default=release.branch)


def window_of(first_drivers: Sequence[DriverRelease], generations: Sequence[Generation]) -> DriverWindow:
    """The window of GPUs with these first drivers, of these generations."""
    open_only = any(row.open_only for row in generations)
    closed_only = any(row.closed_only for row in generations)
    return DriverWindow(
        max(first_drivers, default=None),
        min((row.last_branch for row in generations if row.last_branch), default=None),
        "none" if open_only and closed_only else "open" if open_only else "proprietary" if closed_only else "either",
    )


def load_toolkits() -> tuple[Toolkit, ...]:
    """CUDA releases, oldest first."""
    table = load_json("toolkits.json")
    return tuple(
        Toolkit(
            CudaVersion.parse(row["cuda"]),
            PerSystem(_release(row["first_driver"]), _release(row["first_driver_windows"])),
            PerSystem(DriverRelease.parse(row["min_driver"]), DriverRelease.parse(row["min_driver_windows"])),
            row["ptx_isa"],
            tuple(Target.parse("sm_" + sass.replace(".", "")) for sass in row["sass"]),
            table["sources"][row["source"]],
        )
        for row in table["toolkits"]
    )


def _release(text: str | None) -> DriverRelease | None:
    return DriverRelease.parse(text) if text else None


@cache
def load_branches() -> tuple[tuple[int, CudaVersion], ...]:
    """Driver branches, oldest first, with the newest CUDA that each knows."""
    rows = load_json("toolkits.json")["branches"]
    return tuple(sorted((row["branch"], CudaVersion.parse(row["cuda"])) for row in rows))


def load_generations() -> dict[ComputeCapability, Generation]:
    """By compute capability."""
    table = load_json("gpus.json")
    windows = {c: row["first_driver"] for row in load_toml("windows.toml")["generation"] for c in row["capabilities"]}
    rows = (
        Generation(
            ComputeCapability.parse(row["capability"]),
            row["name"],
            PerSystem(_release(row["first_driver"]), _release(windows.get(row["capability"]))),
            row["last_branch"],
            row["open_only"],
            row["closed_only"],
            table["sources"][row["source"]],
        )
        for row in table["generations"]
    )
    return {row.capability: row for row in rows}


def load_jetpacks() -> tuple[JetPack, ...]:
    """What Jetson boards run, oldest first."""
    return tuple(
        JetPack(
            row["release"],
            CudaVersion.parse(row["cuda"]),
            tuple(ComputeCapability.parse(text) for text in row["capabilities"]),
            row["index"],
            row["python"],
            f"{row['source']}, read {row['read']}",
        )
        for row in load_toml("jetson.toml")["jetpack"]
    )


def can_target(toolkit: Toolkit, device: ComputeCapability) -> bool:
    """Can this CUDA release make SASS that runs on `device`?"""
    return any(judge_code(target, device, toolkit.cuda).runs for target in toolkit.targets)
