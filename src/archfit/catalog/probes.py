"""Which probes there are, and what a GPU should do: rows of ``probes.toml`` and ``health.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any, Literal

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """One probe: `entry` is ``module:function`` in the target, `seconds` its time-out.

    `packages` are patterns of the distribution names that an extension's probe is for; `gpu_package` is the pattern of one
    that must be there, too, for it to use a GPU. `alone`: in a process without torch. `once`: about all GPUs together.
    `proven` says where the probe itself has run: cuda, cpu or never.
    """

    kind: Literal["kernel", "health", "extension", "plugin"]
    name: str
    entry: str
    seconds: float = _SECONDS
    packages: tuple[str, ...] = ()
    gpu_package: str = ""
    alone: bool = False
    once: bool = False
    proven: str = ""

    @property
    def id(self) -> str:
        """``kernel:matmul-bf16``, as evidence names it."""
        return f"{self.kind}:{self.name}"

    def belongs_to(self, distribution: str) -> bool:
        """Is this the probe of the installed package of this normalised name?"""
        return any(fnmatchcase(distribution, pattern) for pattern in self.packages)


@dataclass(frozen=True, slots=True)
class HealthRow:
    """What one GPU should do by its maker's documents, in bytes and floating-point operations per second.

    `half` is the dense rate of the tensor cores in bfloat16 (float16 before Ampere) with sums in float32; 0 where a figure
    is not known.
    """

    names: tuple[str, ...]
    copy_bytes_per_s: float
    half_flop_per_s: float
    single_flop_per_s: float
    bus_bytes_per_s: float
    source: str
    confidence: str

    def expected(self, figure: str) -> float:
        """The documented value of a figure that a probe measured; 0 where there is none."""
        bus = ("to_device_bytes_per_s", "from_device_bytes_per_s")
        return self.bus_bytes_per_s if figure in bus else float(getattr(self, figure, 0.0))


# The least share of the documented value that is still in order. Copies reach 85 to 93 % of a memory's peak and large
# products 60 to 80 % of a tensor core's; half of that is left to small power limits and hot cases. A card often sits in a
# slot of half the width and an older generation: a quarter of its bus. Measured shares: docs/measurements.md.
FLOORS = {
    "copy_bytes_per_s": 0.5,
    "half_flop_per_s": 0.3,
    "single_flop_per_s": 0.3,
    "to_device_bytes_per_s": 0.15,
    "from_device_bytes_per_s": 0.15,
}
# What no document promises: slower than this means that something else is going on.
CEILINGS_S = {"launch_s": 100e-6, "first_kernel_s": 20.0}


@cache
def load_probes() -> tuple[ProbeRow, ...]:
    """All rows, in the order in which they are reported."""
    table = _load("probes.toml")
    kinds: tuple[Literal["kernel", "extension", "health"], ...] = ("kernel", "extension", "health")
    return tuple(_row(kind, row) for kind in kinds for row in table[kind])


def _row(kind: Literal["kernel", "extension", "health"], row: dict[str, Any]) -> ProbeRow:
    return ProbeRow(kind, **{**row, "packages": tuple(row.get("packages", ()))})


def find_health(name: str) -> HealthRow | None:
    """The row of the GPU that its driver calls `name`; None for one that we have no figures of."""
    wanted = name.casefold()
    return next((row for row in load_health() if wanted in (n.casefold() for n in row.names)), None)


@cache
def load_health() -> tuple[HealthRow, ...]:
    """All rows; units are converted here, once."""
    table = _load("health.toml")
    return tuple(
        HealthRow(
            names=tuple(row["names"]),
            copy_bytes_per_s=row["gb_per_s"] * 1e9,
            half_flop_per_s=row["half_tflops"] * 1e12,
            single_flop_per_s=row["single_tflops"] * 1e12,
            bus_bytes_per_s=_BUS[row["bus"]] * 1e9,
            source=table["sources"][row["source"]],
            confidence=row["confidence"],
        )
        for row in table["gpu"]
    )


# One direction of sixteen lanes, 8b/10b or 128b/130b coding taken off (PCI-SIG): 8, 16, 32, 64 GT/s. "none": on the chip.
_BUS = {"3x16": 15.75, "4x8": 15.75, "4x16": 31.5, "5x8": 31.5, "5x16": 63.0, "6x16": 121.0, "none": 0.0}


@cache
def _load(name: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath(name).read_text("utf-8"))
