"""One plan for all nodes: choices, whom nothing serves and why, images."""

from __future__ import annotations

from collections.abc import Sequence

from archfit.catalog import Build, Catalog
from archfit.fleet.choose import Table, choices_of, tables_of
from archfit.fleet.image import images_of
from archfit.fleet.needs import Need, needs_of
from archfit.model import FleetPlan, Node, Text, Unserved


def plan_fleet(nodes: Sequence[Node], catalog: Catalog, *, image: bool = False) -> FleetPlan:
    """Plan for the nodes that reported; those without a GPU need nothing."""
    with_gpus = [node for node in nodes if node.gpus]
    known = [node for node in with_gpus if node.platform and node.python_tag]
    blind = tuple(node.name for node in with_gpus if not (node.platform and node.python_tag))
    tables = tables_of(needs_of(known, catalog), catalog)
    unserved = [Unserved(blind, Text("fleet-no-python"))] if blind else []
    unserved += _unserved(tables, catalog)
    images, without_image = images_of([n for n in with_gpus if n.platform], catalog) if image else ((), ())
    return FleetPlan(
        choices=choices_of(tables, catalog),
        unserved=(*unserved, *without_image),
        without_gpu=tuple(node.name for node in nodes if not node.gpus),
        images=images,
    )


def _unserved(tables: Sequence[Table], catalog: Catalog) -> list[Unserved]:
    grouped: dict[str, tuple[list[str], Unserved]] = {}
    for table in tables:
        for number, need in enumerate(table.needs):
            if not table.servable >> number & 1:
                told = _why_not(need, table, catalog)
                names, _ = grouped.setdefault(repr((told.why, told.help)), ([], told))
                names += need.names
    return [Unserved(tuple(names), told.why, told.help) for names, told in grouped.values()]


def _why_not(need: Need, table: Table, catalog: Catalog) -> Unserved:
    """The first limit that excludes every build: platform, kernel modules, GPUs, drivers, glibc, Python."""
    situation = need.situation
    capabilities = ", ".join(str(c) for c in situation.capabilities)
    values = {"capabilities": capabilities, "platform": situation.platform, "python": situation.python_tag}
    if not table.builds:
        return Unserved((), Text("fleet-no-platform", values))
    if situation.modules_clash:
        return Unserved((), Text("modules-clash", {"gpus": ", ".join(gpu.name for gpu in situation.gpus)}))
    with_code = [build for build in table.builds if situation.serves(build)]
    if not with_code:
        return Unserved((), Text("fleet-no-code", values))
    drivable = [build for build in with_code if _has_driver(need, build)]
    if not drivable:
        return Unserved((), Text("fleet-no-driver", {**values, "last": str(situation.driver_ceiling)}))
    for_python = [build for build in drivable if situation.python_tag in build.python_tags]
    if not for_python:
        tags = dict.fromkeys(tag for build in drivable for tag in build.python_tags if not tag.endswith("t"))
        return Unserved((), Text("fleet-no-wheel", values), Text("other-python", {"pythons": ", ".join(tags)}))
    needed = min((glibc for build in for_python if (glibc := _glibc(build, catalog))), default="?")
    return Unserved((), Text("fleet-old-glibc", {**values, "needed": needed}))


def _has_driver(need: Need, build: Build) -> bool:
    floor, last = need.situation.driver_for(build), need.situation.driver_ceiling
    return floor is None or last is None or floor.branch <= last


def _glibc(build: Build, catalog: Catalog) -> str | None:
    release = catalog.releases.get(build.torch)
    return release.glibc if release else None
