"""Which machine an environment was looked at on, and where its folders really lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archfit.arch import ComputeCapability

PlaceKind = Literal["environment", "torch-extension", "triton", "compute"]


@dataclass(frozen=True, slots=True)
class Host:
    """The machine: its `name`, the id of its present `boot` (empty if not known), when it was looked at (ISO 8601, UTC)."""

    name: str
    boot: str
    observed: str


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a folder lies: its file system, what that is mounted from, and the folder's own numbers on it.

    `remote` is True for a file system that other machines mount, too: there `source` and `inode` name one folder for all.
    """

    filesystem: str
    source: str
    device: int
    inode: int
    remote: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that several machines may share: the environment, or a cache of compiled code.

    `mark` is a fingerprint of the names, sizes and times in it, to the nanosecond; `targets` are the capabilities that a
    cache holds code for, `count` how many pieces.
    """

    kind: PlaceKind
    path: str
    storage: Storage | None
    mark: str = ""
    targets: tuple[ComputeCapability, ...] = ()
    count: int = 0
