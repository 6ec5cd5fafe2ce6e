"""Many machines: what each of them reported, and what follows for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from archfit.arch import ComputeCapability, CudaVersion
from archfit.model.answers import Severity, Status
from archfit.model.facts import Text
from archfit.model.host import Place, PlaceKind
from archfit.model.machine import Driver, DriverRelease, Gpu

NodeState = Literal["reported", "unreadable", "duplicate", "dead", "silent", "failed", "unfit"]
"""`reported`: it answered · `unreadable`: its report is damaged · `duplicate`: an older report of the same host ·
`dead`: it left the cluster · `silent`: no answer in time · `failed`: archfit ended badly there · `unfit`: archfit cannot run
there.
"""


@dataclass(frozen=True, slots=True)
class NodeFinding:
    """A finding as a node reported it; `title` in the language of that report, `values` fill the sentences of ours."""

    id: str
    severity: Severity
    title: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeProof:
    """How `verify` ended on a node: its level and status, and the probes that failed; `why` it was left out."""

    level: str
    status: str
    failed: tuple[str, ...] = ()
    why: Text | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One machine, or one report that is none: then `state` and `why` say so, and the rest is empty.

    `source` is where the report came from; `python_tag`, `platform` and `libc` are those of the target: ``cp311``,
    ``linux_x86_64``, ``glibc 2.36``; `torch` and `cuda` are what is installed there; `packages` maps names to versions.
    """

    name: str
    state: NodeState
    source: str = ""
    why: Text | None = None
    observed: str = ""
    boot: str = ""
    target: str = ""
    status: Status | None = None
    primary: str = ""
    gpus: tuple[Gpu, ...] = ()
    driver: Driver | None = None
    python: str = ""
    python_tag: str = ""
    platform: str = ""
    libc: str = ""
    torch: str = ""
    cuda: str = ""
    findings: tuple[NodeFinding, ...] = ()
    packages: Mapping[str, str] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    proof: NodeProof | None = None

    @property
    def capabilities(self) -> tuple[ComputeCapability, ...]:
        """The compute capabilities of its GPUs, oldest first, each once."""
        return tuple(sorted({gpu.capability for gpu in self.gpus}))

    @property
    def hardware(self) -> str:
        """``8 x H100, 1 x T4``: its GPUs in words."""
        counts: dict[str, int] = {}
        for gpu in self.gpus:
            counts[gpu.name] = counts.get(gpu.name, 0) + 1
        return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())


@dataclass(frozen=True, slots=True)
class SharedCause:
    """One cause, and all nodes that have it: the finding `id` with one title."""

    id: str
    severity: Severity
    title: str
    values: Mapping[str, str]
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """Nodes with the same hardware that differ: `what` (driver, torch, Python, a package), each value with its nodes,
    the most common first; a value is empty where a node lacks it.
    """

    group: str
    what: str
    values: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class SharedPlace:
    """A folder that several nodes use, and that does not serve all of them alike.

    `proven`: it is one folder, by its file system and number; else its content is the same to the nanosecond, as in one
    image. `why` says what goes wrong, `capabilities` are those of the nodes that use it, `targets` what it holds code for.
    """

    kind: PlaceKind
    path: str
    filesystem: str
    proven: bool
    severity: Severity
    why: Text
    nodes: tuple[str, ...]
    capabilities: tuple[ComputeCapability, ...]
    targets: tuple[ComputeCapability, ...]
    commands: tuple[str, ...] = ()


# --- one plan --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FleetBuild:
    """A published build of torch, for one platform; `packages` are the exact versions to install with it."""

    torch: str
    variant: str
    cuda: CudaVersion
    platform: str
    index: str
    packages: tuple[str, ...]

    def __str__(self) -> str:
        return f"torch {self.torch}+{self.variant} ({self.platform})"


@dataclass(frozen=True, slots=True)
class DriverMove:
    """Nodes whose driver must change: from `current`, to `needed` or newer, but not beyond branch `last`."""

    nodes: tuple[str, ...]
    current: str
    needed: DriverRelease
    last: int | None


@dataclass(frozen=True, slots=True)
class Assignment:
    """The nodes that one build serves: `pythons` are their wheel tags, `changes` counts those whose torch is another now,
    `moves` are the drivers that must come first.
    """

    build: FleetBuild
    nodes: tuple[str, ...]
    pythons: tuple[str, ...]
    changes: int
    moves: tuple[DriverMove, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """One driver for all nodes: `floor` or newer, at most branch `last`; `fits` is False where there is none.

    `open_only` and `closed_only` are nodes that only the open, or only the proprietary kernel modules drive.
    """

    floor: DriverRelease | None
    last: int | None
    fits: bool
    open_only: tuple[str, ...] = ()
    closed_only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unserved:
    """Nodes that no build serves, why, and what would help."""

    nodes: tuple[str, ...]
    why: Text
    help: Text | None = None


ChoiceKind = Literal["smallest", "fewer-builds", "newest", "one-build"]


@dataclass(frozen=True, slots=True)
class FleetChoice:
    """A set of builds: which nodes each serves, which nodes it leaves out, and what else it gives up."""

    kind: ChoiceKind
    assignments: tuple[Assignment, ...]
    left_out: tuple[str, ...]
    window: Window
    gives_up: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class FleetImage:
    """One container image: for each platform a build; the `python` in it; what to compile extensions for; what hosts bring.

    `toolkit` is the CUDA release whose compiler makes code for every GPU of `arch_list`.
    """

    builds: tuple[FleetBuild, ...]
    python: str
    arch_list: str
    toolkit: CudaVersion
    window: Window
    nodes: tuple[str, ...]
    moves: tuple[DriverMove, ...]
    recipe: str


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """Choices, best first; nodes that none can serve; nodes without a GPU; images, where they were asked for."""

    choices: tuple[FleetChoice, ...]
    unserved: tuple[Unserved, ...]
    without_gpu: tuple[str, ...]
    images: tuple[FleetImage, ...] = ()


@dataclass(frozen=True, slots=True)
class Fleet:
    """All nodes and what follows: causes, worst first; drift; folders that are shared; one plan."""

    nodes: tuple[Node, ...]
    causes: tuple[SharedCause, ...]
    drifts: tuple[Drift, ...]
    shared: tuple[SharedPlace, ...]
    plan: FleetPlan

    @property
    def reported(self) -> tuple[Node, ...]:
        """The nodes that answered."""
        return tuple(node for node in self.nodes if node.state == "reported")

    @property
    def missing(self) -> tuple[Node, ...]:
        """The rows that are no answer; an older report of a node that answered is no loss."""
        return tuple(node for node in self.nodes if node.state not in ("reported", "duplicate"))


# --- two runs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NodeChange:
    """What is different on some nodes: `what` changed from `old` to `new`; empty where there was or is nothing."""

    what: str
    old: str
    new: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FleetDiff:
    """Two runs: nodes that came and went, what began and what ended, and what else changed."""

    came: tuple[str, ...]
    went: tuple[str, ...]
    began: tuple[SharedCause, ...]
    ended: tuple[SharedCause, ...]
    changes: tuple[NodeChange, ...]
    same: int
