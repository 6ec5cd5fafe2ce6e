"""CUDA toolkits, GPU generations and Jetson systems: which drivers they need, and which know them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from archfit.arch import ComputeCapability, CudaVersion, Target, judge_code
from archfit.catalog.tables import load_json, load_toml
from archfit.model import DriverRelease


@dataclass(frozen=True, slots=True)
class Toolkit:
    """A CUDA release: what its compiler can target and which drivers can load its code.

    `first_driver` is the driver that shipped with it, the first one that compiles its PTX; None where none was shipped.
    `min_driver` is the floor of minor-version compatibility.
    """

    cuda: CudaVersion
    first_driver: DriverRelease | None
    min_driver: DriverRelease
    ptx_isa: str
    targets: tuple[Target, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Generation:
    """A hardware generation: which drivers know it, and which flavour of kernel module drives it on Linux.

    `last_branch` is None while drivers still support it.
    """

    capability: ComputeCapability
    name: str
    first_driver: DriverRelease | None
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
        """Does this driver know all of the GPUs?"""
        return (self.first is None or driver >= self.first) and (self.last is None or driver.branch <= self.last)


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
            DriverRelease.parse(row["first_driver"]) if row["first_driver"] else None,
            DriverRelease.parse(row["min_driver"]),
            row["ptx_isa"],
            tuple(Target.parse("sm_" + sass.replace(".", "")) for sass in row["sass"]),
            table["sources"][row["source"]],
        )
        for row in table["toolkits"]
    )


def load_branches() -> tuple[tuple[int, CudaVersion], ...]:
    """Driver branches, oldest first, with the newest CUDA that each knows."""
    rows = load_json("toolkits.json")["branches"]
    return tuple(sorted((row["branch"], CudaVersion.parse(row["cuda"])) for row in rows))


def load_generations() -> dict[ComputeCapability, Generation]:
    """By compute capability."""
    table = load_json("gpus.json")
    rows = (
        Generation(
            ComputeCapability.parse(row["capability"]),
            row["name"],
            DriverRelease.parse(row["first_driver"]) if row["first_driver"] else None,
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
