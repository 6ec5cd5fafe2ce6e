"""Folders that several nodes use: environments and caches of compiled code, and what goes wrong there.

What each cache is keyed by was read in the sources: torch's extensions by Python and CUDA only
(`_get_build_directory` in torch/utils/cpp_extension.py; a cache that one generation filled for another:
NVIDIA/flashdreams#216), Triton's by the target too, but nodes race on network file systems (triton-lang/triton#11512, "Stale
file handle" in PrimeIntellect-ai/prime-rl#2305), the driver's by the machine code that is wanted, within one limit of size
(CUDA_CACHE_MAXSIZE). Read 2026-11-25.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from archfit.arch import ComputeCapability, Verdict, judge_code
from archfit.arch import Target as CodeTarget
from archfit.model import FleetPlan, Node, Place, PlaceKind, Severity, SharedPlace, Text

ARCH_COMMAND = 'arch="$(uname -m)-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | sort -u | paste -sd_ -)"'
"""The name of this node's generation, such as ``x86_64-9.0``."""
_VARIABLES = {"torch-extension": "TORCH_EXTENSIONS_DIR", "triton": "TRITON_CACHE_DIR", "compute": "CUDA_CACHE_PATH"}


@dataclass(frozen=True, slots=True)
class _Group:
    """Nodes that use one folder, each with the folder as it sees it."""

    users: tuple[tuple[Node, Place], ...]
    proven: bool

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(node for node, _ in self.users)

    @property
    def place(self) -> Place:
        return self.users[0][1]

    @property
    def remote(self) -> bool:
        return any(place.storage is not None and place.storage.remote for _, place in self.users)

    @property
    def capabilities(self) -> tuple[ComputeCapability, ...]:
        return tuple(sorted({c for one in self.generations for c in one}))

    @property
    def generations(self) -> set[tuple[ComputeCapability, ...]]:
        """The different sets of capabilities; reports share equal lists of GPUs, so each is looked at once."""
        different = {id(node.gpus): node for node, _ in self.users if node.gpus}
        return {node.capabilities for node in different.values()}

    @property
    def targets(self) -> tuple[ComputeCapability, ...]:
        different = {place.targets for _, place in self.users}
        return tuple(sorted({c for targets in different for c in targets}))


def shared_places(nodes: Sequence[Node], plan: FleetPlan) -> tuple[SharedPlace, ...]:
    """Folders that nodes of several GPU generations use together, and Triton's caches on network file systems."""
    builds = {name: str(a.build) for choice in plan.choices[:1] for a in choice.assignments for name in a.nodes}
    found = [_judge(group, builds) for group in _groups(nodes)]
    order = list(Severity)
    return tuple(sorted((row for row in found if row), key=lambda row: (order.index(row.severity), row.kind, row.path)))


def _groups(nodes: Iterable[Node]) -> list[_Group]:
    """Uses of one folder: proven by its file system and number, or alike by path and content."""
    by_number: dict[object, list[tuple[Node, Place]]] = {}
    alone: list[tuple[Node, Place]] = []
    for node in nodes:
        for place in node.places:
            key = _number(node, place)
            by_number.setdefault(key, []).append((node, place)) if key else alone.append((node, place))
    proven = [_Group(tuple(users), True) for users in by_number.values() if _several(users)]
    alone += [use for users in by_number.values() if not _several(users) for use in users]
    by_content: dict[object, list[tuple[Node, Place]]] = {}
    for node, place in alone:
        if place.mark:
            by_content.setdefault((place.kind, place.path, place.mark), []).append((node, place))
    return proven + [_Group(tuple(users), False) for users in by_content.values() if _several(users)]


def _several(users: Sequence[tuple[Node, Place]]) -> bool:
    return len({node.name for node, _ in users}) > 1


def _number(node: Node, place: Place) -> tuple[object, ...] | None:
    """What names this folder and no other: on a network its mount and number, else machine, device and number."""
    storage = place.storage
    if storage is None or not storage.inode:
        return None
    if storage.remote:
        return place.kind, storage.source, storage.inode
    return (place.kind, node.boot, storage.device, storage.inode) if node.boot else None


def _judge(group: _Group, builds: Mapping[str, str]) -> SharedPlace | None:
    mixed = len(group.generations) > 1
    if not mixed and not (group.place.kind == "triton" and group.remote):
        return None
    severity, why = _why(group, builds)
    return SharedPlace(
        kind=group.place.kind,
        path=group.place.path,
        filesystem=group.place.storage.filesystem if group.place.storage else "",
        proven=group.proven,
        severity=severity,
        why=why,
        nodes=tuple(dict.fromkeys(node.name for node in group.nodes)),
        capabilities=group.capabilities,
        targets=group.targets,
        commands=_commands(group.place.kind, group.place.path),
    )


def _why(group: _Group, builds: Mapping[str, str]) -> tuple[Severity, Text]:
    kind = group.place.kind
    if kind == "environment":
        return _why_environment(group, builds)
    if kind == "torch-extension":
        lacking = [c for c in group.capabilities if group.targets and not _served(c, group.targets)]
        values = {"lacking": ", ".join(c.sm for c in lacking), "targets": ", ".join(c.sm for c in group.targets) or "?"}
        return Severity.WARNING, Text("fleet-cache-lacks" if lacking else "fleet-cache-extension", values)
    if kind == "triton":
        return (Severity.WARNING if group.remote else Severity.INFO), Text(
            "fleet-cache-triton-remote" if group.remote else "fleet-cache-triton"
        )
    return Severity.INFO, Text("fleet-cache-compute")


def _why_environment(group: _Group, builds: Mapping[str, str]) -> tuple[Severity, Text]:
    wanted = dict.fromkeys(builds[node.name] for node in group.nodes if node.name in builds)
    values = {"gpus": ", ".join(c.sm for c in group.capabilities), "builds": ", ".join(wanted) or "?"}
    if len(wanted) > 1:
        return Severity.WARNING, Text("fleet-environment-split", values)
    return Severity.INFO, Text("fleet-environment-one", values)


def _served(device: ComputeCapability, targets: Iterable[ComputeCapability]) -> bool:
    """Does machine code for these capabilities run there? (PTX in it is left out: what is kept was compiled for one GPU.)"""
    return any(judge_code(CodeTarget(c), device) in (Verdict.NATIVE, Verdict.COMPATIBLE) for c in targets)


def _commands(kind: PlaceKind, path: str) -> tuple[str, ...]:
    """Lines for the profile of every user or job: one folder for each generation, beside the old one."""
    if kind == "environment":
        return ()
    folder = PurePosixPath(path)
    if kind == "torch-extension":  # a folder that is named has no py311_cu128 added to it
        place = f'{shlex.quote(str(folder.parent))}/"$arch"/{shlex.quote(folder.name)}'
    else:
        place = f'{shlex.quote(path)}/"$arch"'
    return ARCH_COMMAND, f"export {_VARIABLES[kind]}={place}"
