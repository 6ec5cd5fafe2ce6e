"""One picture of all nodes."""

from __future__ import annotations

from collections.abc import Iterable

from archfit.catalog import load_catalog
from archfit.fleet.group import TitleOf, as_reported, causes_of, drifts_of
from archfit.fleet.plan import plan_fleet
from archfit.fleet.shared import shared_places
from archfit.model import Fleet, Node


def assemble(nodes: Iterable[Node], *, image: bool = False, title_of: TitleOf = as_reported) -> Fleet:
    """What follows from the nodes: causes, drift, shared folders, and one plan; with `image` for containers too.

    `title_of` says a finding in the reader's language.
    """
    nodes = tuple(nodes)
    told = tuple(node for node in nodes if node.state == "reported")
    plan = plan_fleet(told, load_catalog(), image=image)
    return Fleet(nodes, causes_of(told, title_of), drifts_of(told), shared_places(told, plan), plan)
