"""What a build asks of the nodes that it is to serve: which drivers must move, and whether one driver suits them all."""

from __future__ import annotations

from collections.abc import Sequence

from archfit.catalog import Build, Catalog, Generation
from archfit.catalog.drivers import is_windows
from archfit.fleet.needs import Need
from archfit.model import Assignment, DriverMove, DriverRelease, FleetBuild, Window

Served = Sequence[tuple[Build, Need]]


def assign(build: Build, needs: Sequence[Need], catalog: Catalog) -> Assignment:
    """One build and the nodes that it serves."""
    nodes = [node for need in needs for node in need.nodes]
    return Assignment(
        build=fleet_build(build, catalog),
        nodes=tuple(node.name for node in nodes),
        pythons=tuple(sorted({node.python_tag for node in nodes if node.python_tag})),
        changes=sum(not runs(build, node.torch, node.cuda) for node in nodes),
        moves=moves_of([(build, need) for need in needs]),
    )


def runs(build: Build, torch: str, cuda: str) -> bool:
    """Is this build what is installed there?"""
    return torch.partition("+")[0] == build.torch and cuda == str(build.cuda)


def fleet_build(build: Build, catalog: Catalog) -> FleetBuild:
    """A build with what is installed beside it."""
    release = catalog.releases.get(build.torch)
    offered = (("torchvision", release.torchvision), ("torchaudio", release.torchaudio)) if release else ()
    packages = [f"torch=={build.torch}", *(f"{name}=={versions[-1]}" for name, versions in offered if versions)]
    if build.cuda is None:
        raise TypeError("a build for the CPU serves no GPU")
    return FleetBuild(build.torch, build.variant, build.cuda, build.platform, build.index, tuple(packages))


def moves_of(served: Served) -> tuple[DriverMove, ...]:
    """The drivers that must move, nodes with the same way to go together."""
    ways: dict[tuple[str, DriverRelease, int | None], list[str]] = {}
    for build, need in served:
        situation = need.situation
        needed = situation.driver_for(build)
        if situation.driver is not None and needed is not None and not need.loads(build):
            ways.setdefault((str(situation.driver), needed, situation.driver_ceiling), []).extend(need.names)
    return tuple(DriverMove(tuple(nodes), *way) for way, nodes in sorted(ways.items(), key=lambda way: way[0][:2]))


def window_of(served: Served, catalog: Catalog) -> Window:
    """One driver for all: from the newest that any of them needs to the last that still knows all of their GPUs.

    Its numbers are those of Linux, of Windows where all nodes run that; branches are the same on both.
    """
    linux = [(build, need) for build, need in served if not is_windows(build.platform)]
    floors = [floor for build, need in linux or served if (floor := need.situation.driver_for(build))]
    ceilings = [last for _, need in served if (last := need.situation.driver_ceiling)]
    floor, last = max(floors, default=None), min(ceilings, default=None)
    fits = floor is None or last is None or floor.branch <= last
    generations = {need: _generations(need, catalog) for _, need in served}
    return Window(
        floor,
        last,
        fits,
        open_only=tuple(
            n for need, rows in generations.items() if any(row.open_only for row in rows) for n in need.names
        ),
        closed_only=tuple(
            n for need, rows in generations.items() if any(row.closed_only for row in rows) for n in need.names
        ),
    )


def _generations(need: Need, catalog: Catalog) -> list[Generation]:
    return [row for c in need.situation.capabilities if (row := catalog.generations.get(c))]
