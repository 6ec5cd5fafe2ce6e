"""Which GPU code runs on which GPU.

The rules are NVIDIA's (CUDA programming guide, "Compute Capabilities" and "Binary Compatibility"; Blackwell compatibility
guide) and, where those are silent, what ``ptxas`` and ``nvlink`` 13.5 accept and what torch 2.15 lists in
``torch/cuda/__init__.py`` (``DEVICE_REQUIREMENT``). Read 2026-11-23.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Literal, Self


class Verdict(StrEnum):
    """How a piece of code can serve one GPU, best first."""

    NATIVE = "native"
    COMPATIBLE = "compatible"
    JIT = "jit"
    PARTIAL = "partial"
    NONE = "none"
    NO_GPU_CODE = "no-gpu-code"

    @property
    def runs(self) -> bool:
        """True where at least something of the code can be launched."""
        return self in (Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT, Verdict.PARTIAL)


@dataclass(frozen=True, order=True, slots=True)
class CudaVersion:
    """A CUDA release such as 12.8: of a toolkit, of a build, or the newest one that a driver knows."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``12.8``, ``12.8.1`` or ``cu128``; raises ValueError for anything else."""
        if match := re.fullmatch(r"(\d+)\.(\d+)(?:\.\d+)*", text.strip()):
            return cls(int(match[1]), int(match[2]))
        if match := re.fullmatch(r"cu(\d{2,3})(\d)", text.strip()):
            return cls(int(match[1]), int(match[2]))
        raise ValueError(text)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, order=True, slots=True)
class ComputeCapability:
    """The hardware generation of a GPU: 12.0 is an RTX 5090."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``12.0``, ``120``, ``sm_120`` or ``compute_120``; raises ValueError for anything else."""
        match = re.fullmatch(r"(\d{1,2})\.(\d)|(?:sm_|compute_)?(\d{1,2})(\d)", text.strip().lower())
        if not match:
            raise ValueError(text)
        return cls(int(match[1] or match[3]), int(match[2] or match[4]))

    @property
    def sm(self) -> str:
        """The spelling of compilers: ``sm_120``."""
        return f"sm_{self.major}{self.minor}"

    @property
    def canonical(self) -> ComputeCapability:
        """10.1 (Thor) was renamed 11.0 in CUDA 13.0: the same silicon under two numbers."""
        return ComputeCapability(11, 0) if self == ComputeCapability(10, 1) else self

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


Suffix = Literal["", "a", "f"]


@dataclass(frozen=True, order=True, slots=True)
class Target:
    """What code was compiled for: ``sm_90a`` (SASS), ``compute_90`` (PTX) or ``lto_90`` (link-time code).

    ``suffix`` is ``a`` for architecture-specific code, ``f`` for family-specific code.
    """

    capability: ComputeCapability
    kind: Literal["sass", "ptx", "lto"] = "sass"
    suffix: Suffix = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``sm_90a``, ``compute_120f``; raises ValueError for anything else."""
        match = re.fullmatch(r"(sm|compute|lto)_(\d{1,2}\d)([af]?)", text.strip())
        if not match:
            raise ValueError(text)
        suffix: Suffix = "a" if match[3] == "a" else "f" if match[3] == "f" else ""
        kinds: dict[str, Literal["sass", "ptx", "lto"]] = {"sm": "sass", "compute": "ptx", "lto": "lto"}
        return cls(ComputeCapability.parse(match[2]), kinds[match[1]], suffix)

    def __str__(self) -> str:
        prefix = {"sass": "sm", "ptx": "compute", "lto": "lto"}[self.kind]
        return f"{prefix}_{self.capability.major}{self.capability.minor}{self.suffix}"


# Tegra devices take part in no binary compatibility (programming guide: "only for the desktop"). From CUDA 13.2 on
# torch lets server code of the same major run on 7.2 and 8.7; 5.3 and 6.2 were gone by then.
_TEGRA = frozenset({ComputeCapability(5, 3), ComputeCapability(6, 2), ComputeCapability(7, 2), ComputeCapability(8, 7)})
_TEGRA_OPENED = frozenset({ComputeCapability(7, 2), ComputeCapability(8, 7)})
_TEGRA_OPENED_FROM = CudaVersion(13, 2)


def is_tegra(device: ComputeCapability) -> bool:
    """Is this the GPU inside a Jetson before Thor (5.3, 6.2, 7.2, 8.7)?"""
    return device in _TEGRA


@lru_cache(maxsize=4096)
def judge_code(target: Target, device: ComputeCapability, toolkit: CudaVersion | None = None) -> Verdict:
    """Can code compiled for `target` run on `device`?

    Returns native, compatible, jit or none. `toolkit` is the CUDA release that compiled the code, if known; it matters
    only for Tegra devices. Whether the driver can compile the PTX of a ``jit`` answer is another question, see
    `Catalog.driver_for_ptx`.
    """
    if target.kind == "lto":
        return Verdict.NONE
    if target.kind == "ptx":
        return Verdict.JIT if _ptx_reaches(target, device) else Verdict.NONE
    own, dev = target.capability.canonical, device.canonical
    if own == dev:
        return Verdict.NATIVE
    if target.suffix == "a" or own.major != dev.major or own.minor > dev.minor:
        return Verdict.NONE
    if target.suffix == "" and (own in _TEGRA or dev in _TEGRA) and not _tegra_opened(own, dev, toolkit):
        return Verdict.NONE
    return Verdict.COMPATIBLE


def _ptx_reaches(target: Target, device: ComputeCapability) -> bool:
    own, dev = target.capability.canonical, device.canonical
    if target.suffix == "a":
        return own == dev
    if target.suffix == "f":
        return own.major == dev.major and own.minor <= dev.minor
    return own <= dev


def _tegra_opened(own: ComputeCapability, dev: ComputeCapability, toolkit: CudaVersion | None) -> bool:
    return toolkit is not None and toolkit >= _TEGRA_OPENED_FROM and own not in _TEGRA and dev in _TEGRA_OPENED
