"""What nodes need of a build: nodes with the same needs are one, and the planner's own rules answer for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

from archfit.arch import CudaVersion
from archfit.catalog import Build, Catalog
from archfit.model import Driver, DriverRelease, Environment, Gpu, Known, Node, Unknown
from archfit.planner.situation import Situation, parse_glibc

_ANYWHERE = Unknown("one of many nodes")


@dataclass(frozen=True, eq=False)
class Need:
    """Nodes that are alike to a planner: the same GPUs, driver, Python, platform and glibc; what they run differs."""

    situation: Situation
    nodes: tuple[Node, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes' names."""
        return tuple(node.name for node in self.nodes)

    @cached_property
    def installed(self) -> tuple[tuple[str, str, int], ...]:
        """The torch releases on these nodes, ``2.4.1`` with its CUDA, and how many nodes run each."""
        matches = ((re.match(r"\d+\.\d+\.\d+", node.torch), node.cuda) for node in self.nodes)
        counts = Counter((match[0], cuda) for match, cuda in matches if match)
        return tuple((release, cuda, count) for (release, cuda), count in counts.items())

    @property
    def whatever_driver(self) -> tuple[object, ...]:
        """Needs that are equal in this could run the same builds, each with the right driver."""
        situation = self.situation
        return situation.gpus, situation.python_tag, situation.platform, situation.glibc

    def could_run(self, build: Build) -> bool:
        """Is there a driver with which these nodes run this build?"""
        ceiling, floor = self.situation.driver_ceiling, self.situation.driver_for(build)
        exists = ceiling is None or floor is None or floor.branch <= ceiling
        drivable = exists and not self.situation.modules_clash
        return drivable and self.situation.installable(build) and self.situation.serves(build)

    def loads(self, build: Build) -> bool:
        """Does the driver that they have load it? Yes where it is not known. It depends on the build's CUDA only."""
        known = self._loads.get(build.cuda)
        if known is None:
            known = self._loads[build.cuda] = not self.situation.driver_unfit and self.situation.loads(build)
        return known

    @cached_property
    def _loads(self) -> dict[CudaVersion | None, bool]:
        return {}


def needs_of(nodes: Iterable[Node], catalog: Catalog, *, python_tag: str | None = None) -> tuple[Need, ...]:
    """Group nodes that have GPUs by what they need, in the order of their first node.

    With `python_tag` they run a container image, which brings its own Python and glibc: those of the node do not matter.
    """
    grouped: dict[tuple[object, ...], list[Node]] = {}
    for node in nodes:
        own = () if python_tag else (node.python_tag, node.libc)
        key = (tuple(dict.fromkeys(node.gpus)), node.driver, node.platform, *own)
        grouped.setdefault(key, []).append(node)
    return tuple(Need(_situation(alike[0], catalog, python_tag), tuple(alike)) for alike in grouped.values())


def _situation(node: Node, catalog: Catalog, python_tag: str | None) -> Situation:
    gpus = tuple(dict.fromkeys(_with_row(gpu, catalog) for gpu in node.gpus))
    driver = Known(node.driver, node.driver.source) if node.driver else None
    return Situation(
        environment=_environment(gpus, driver),
        catalog=catalog,
        findings=frozenset(),
        lacking=frozenset(),
        frameworks=frozenset(),
        gpus=gpus,
        driver=node.driver.release if node.driver else None,
        ptx_driver=None,
        python_tag=python_tag or node.python_tag,
        platform=node.platform,
        glibc=None if python_tag else parse_glibc(node.libc),
    )


def _environment(gpus: tuple[Gpu, ...], driver: Known[Driver] | None) -> Environment:
    """As much of an environment as the planner asks about the machine."""
    return Environment(
        root=Path("/"),
        python=Path("python"),
        chosen="named",
        interpreter=_ANYWHERE,
        distributions=(),
        unreadable=(),
        torch_cuda=_ANYWHERE,
        gpus=Known(gpus, "report"),
        driver=driver or _ANYWHERE,
    )


def _with_row(gpu: Gpu, catalog: Catalog) -> Gpu:
    return replace(gpu, first_driver=_first_driver(gpu.name, catalog))


@lru_cache(maxsize=4096)
def _first_driver(name: str, catalog: Catalog) -> DriverRelease | None:
    product = catalog.find_product(name)
    return product.first_driver if product else None
