"""What an environment is to become, as far as its extensions care."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from archfit.arch import ComputeCapability, CudaVersion, Verdict
from archfit.buildscript import BuildScript


class Offer(Protocol):
    """A published wheel, as the catalog has it."""

    @property
    def version(self) -> str:
        """With the local part, if there is one."""

    @property
    def platform(self) -> str:
        """``linux_x86_64``; ``any`` for wheels without machine code."""

    @property
    def python_tags(self) -> Sequence[str]:
        """``cp311``, ``py3`` …"""

    @property
    def index(self) -> str:
        """``PyPI`` or an address."""

    @property
    def requires_python(self) -> str:
        """As in its metadata; empty if it says nothing."""

    @property
    def file(self) -> str:
        """Its name; empty where only documents tell of it."""

    @property
    def glibc(self) -> str | None:
        """The oldest that it admits: ``2.28``; None where it needs none."""

    @property
    def requires(self) -> Sequence[str]:
        """Requirements on torch and its like."""

    def verdict(self, device: ComputeCapability) -> Verdict:
        """What a scan of it says for this GPU."""


Offers = Callable[[str], Sequence[Offer]]


def no_offers(_: str) -> Sequence[Offer]:
    """Where nothing is known of published wheels."""
    return ()


@dataclass(frozen=True, slots=True)
class Goal:
    """Which torch, which GPUs, on what.

    Attributes:
        torch: its release, without local parts: ``2.8.0``.
        cuda: that it was built with.
        devices: every GPU to serve, oldest first.
        platform, python_tag: ``linux_x86_64``, ``cp311``.
        torch_moves: False where torch stays as it is.
        lacking: packages without code for one of the GPUs.
        installed: normalised names to versions, as they will be.
        pip, uv: how the installers of the target are called.
        glibc: of the target, (2, 36); None where it is not known.
        offers: published wheels of a package.
        builds: what the sources of packages say that no row tells of.
    """

    torch: str
    cuda: CudaVersion | None
    devices: tuple[ComputeCapability, ...]
    platform: str
    python_tag: str
    torch_moves: bool
    lacking: frozenset[str]
    installed: Mapping[str, str]
    pip: str
    uv: str
    glibc: tuple[int, ...] | None = None
    offers: Offers = no_offers
    builds: Mapping[str, BuildScript] = field(default_factory=dict)

    @property
    def python(self) -> str:
        """``3.11`` of ``cp311``."""
        digits = self.python_tag.removeprefix("cp").rstrip("t")
        return f"{digits[:1]}.{digits[1:]}" if digits[1:] else "0"
