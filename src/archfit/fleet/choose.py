"""The smallest set of builds that serves every node, and what each other choice would give up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from archfit.catalog import Build, Catalog
from archfit.fleet.cover import best_single, elements, smallest_covers, weight
from archfit.fleet.moves import assign, window_of
from archfit.fleet.needs import Need
from archfit.model import Assignment, ChoiceKind, FleetChoice, Text

_TRUST = ("measured", "documented", "inferred")


Covers = list[tuple[int, ...]]


@dataclass(frozen=True)
class Table:
    """Which build serves which need, on one platform: bit n of a mask stands for need n of `needs`.

    `now` counts what the drivers of today load, where there is anything of that kind; `ever` counts any driver.
    """

    platform: str
    needs: tuple[Need, ...]
    builds: tuple[Build, ...]
    ever: tuple[int, ...]
    now: tuple[int, ...]

    @cached_property
    def servable(self) -> int:
        """The needs that some build serves."""
        found = 0
        for mask in self.ever:
            found |= mask
        return found

    @cached_property
    def weights(self) -> list[int]:
        """Nodes of each need."""
        return [len(need.nodes) for need in self.needs]


def tables_of(needs: Iterable[Need], catalog: Catalog) -> tuple[Table, ...]:
    """One table per platform."""
    by_platform: dict[str, list[Need]] = {}
    for need in needs:
        by_platform.setdefault(need.situation.platform, []).append(need)
    return tuple(_table(platform, tuple(alike), catalog) for platform, alike in sorted(by_platform.items()))


def _table(platform: str, needs: tuple[Need, ...], catalog: Catalog) -> Table:
    builds = tuple(b for b in catalog.builds if b.platform == platform and b.cuda)
    known: dict[tuple[object, ...], list[int]] = {}
    ever, now = [0] * len(builds), [0] * len(builds)
    for number, need in enumerate(needs):
        if need.whatever_driver not in known:
            known[need.whatever_driver] = [n for n, build in enumerate(builds) if need.could_run(build)]
        runnable = known[need.whatever_driver]
        loaded = [n for n in runnable if need.loads(builds[n])]
        for n in runnable:
            ever[n] |= 1 << number
        for n in loaded or runnable:  # where no build loads today, the driver has to move whatever is chosen
            now[n] |= 1 << number
    return Table(platform, needs, builds, tuple(ever), tuple(now))


def choices_of(tables: Sequence[Table], catalog: Catalog) -> tuple[FleetChoice, ...]:
    """The smallest set first; then fewer builds with newer drivers, the newest release, and one build for most nodes."""
    tables = [table for table in tables if table.servable]
    if not tables:
        return ()
    smallest = [smallest_covers(table.now, table.servable) for table in tables]
    fewer = [smallest_covers(table.ever, table.servable) for table in tables]
    picked = {"smallest": _pick(tables, smallest, _Taste())}
    if sum(len(covers[0]) for covers in fewer) < sum(len(covers[0]) for covers in smallest):
        picked["fewer-builds"] = _pick(tables, fewer, _Taste(other_drivers=True))
    newest = _pick(tables, smallest, _Taste(newest=True))
    if [share.build for share in newest] != [share.build for share in picked["smallest"]]:
        picked["newest"] = newest
    if any(len(covers[0]) > 1 for covers in smallest):
        widest: list[Covers] = [[(best_single(table.now, table.weights),)] for table in tables]
        picked["one-build"] = _pick(tables, widest, _Taste())
    return tuple(_choice(kind, shares, tables, catalog) for kind, shares in picked.items())


def pick_smallest(tables: Sequence[Table]) -> list[Share]:
    """The smallest set of builds that the drivers of today load, each need with one build."""
    tables = [table for table in tables if table.servable]
    if not tables:
        return []
    return _pick(tables, [smallest_covers(table.now, table.servable) for table in tables], _Taste())


# --- which of several covers -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Share:
    """A build, and the needs of its table that it is to serve: those that no other build of the choice serves."""

    table: Table
    build: Build
    mask: int


@dataclass(frozen=True, slots=True)
class _Taste:
    """How to choose among builds: the newest rather than the nearest; with drivers that first have to move."""

    newest: bool = False
    other_drivers: bool = False


def _pick(tables: Sequence[Table], covers: Sequence[Covers], taste: _Taste) -> list[Share]:
    """One cover for each table: as few torch releases as can be, then the best builds.

    Every release is tried as the one that all platforms should have.
    """
    ranked = [_Ranked(table, taste) for table in tables]
    releases = dict.fromkeys(build.torch for table in tables for build in table.builds)
    tries = [
        [row for rows, found in zip(ranked, covers, strict=True) for row in rows.best(found, wanted)]
        for wanted in (None, *releases)
    ]
    return [share for _, share in min(tries, key=lambda rows: _cost(rows, None))]


Row = tuple[tuple[int, ...], Share]


def _cost(rows: Sequence[Row], wanted: str | None) -> tuple[object, ...]:
    """Drivers to move and downgrades weigh more than one release for all; that weighs more than all else."""
    moved, downgraded, *rest, cuda = map(sum, zip(*(rank for rank, _ in rows), strict=True))
    releases = {share.build.torch for _, share in rows}
    variants = {share.build.variant for _, share in rows}
    return moved, downgraded, len(releases - {wanted}), len(releases), rest, len(variants), cuda


class _Ranked:
    """The builds of one table behind each mask, best first."""

    def __init__(self, table: Table, taste: _Taste) -> None:
        self._table = table
        self._taste = taste
        self._known: dict[tuple[int, int], list[Row]] = {}

    def best(self, covers: Covers, wanted: str | None) -> list[Row]:
        """The best shares of the best cover, where builds of the release `wanted` go before others."""
        picks = [[self._first(mask, own, wanted) for mask, own in self._apart(cover)] for cover in covers]
        return min(picks, key=lambda rows: _cost(rows, wanted))

    def _apart(self, cover: tuple[int, ...]) -> list[tuple[int, int]]:
        """The masks, each with its own part: who is served by several goes with the one that serves the most nodes."""
        parts, taken = [], 0
        for mask in sorted(cover, key=lambda mask: weight(mask, self._table.weights), reverse=True):
            parts.append((mask, mask & ~taken))
            taken |= mask
        return parts

    def _first(self, mask: int, own: int, wanted: str | None) -> Row:
        rows = self._behind(mask, own)
        return next((row for row in rows if row[1].build.torch == wanted), rows[0])

    def _behind(self, mask: int, own: int) -> list[Row]:
        """The builds that serve exactly `mask`, ranked for the part `own` of it."""
        if (mask, own) not in self._known:
            table = self._table
            masks = table.ever if self._taste.other_drivers else table.now
            shares = [
                Share(table, build, own) for build, served in zip(table.builds, masks, strict=True) if served == mask
            ]
            ranked = [(_rank(share, newest=self._taste.newest), share) for share in shares]
            self._known[mask, own] = sorted(ranked, key=lambda row: row[0])
        return self._known[mask, own]


def _rank(share: Share, *, newest: bool) -> tuple[int, ...]:
    """Less is better: drivers to move, downgrades, what PyPI has not, what nobody measured, distance, changes, newer CUDA."""
    build = share.build
    needs = [share.table.needs[n] for n in elements(share.mask)]
    moved = sum(len(need.nodes) for need in needs if not need.loads(build))
    installed = [(_order(release), cuda, count) for need in needs for release, cuda, count in need.installed]
    downgraded = sum(count for order, _, count in installed if order > build.order)
    changed = sum(count for order, cuda, count in installed if (order, cuda) != (build.order, str(build.cuda)))
    major, minor, patch = build.order
    age = -(major * 10_000 + minor * 100 + patch)
    distance = sum(count * (abs(order[0] - major) * 100 + abs(order[1] - minor)) for order, _, count in installed)
    preference = (age, 0) if newest or not installed else (distance, -patch)
    cuda = build.cuda.major * 100 + build.cuda.minor if build.cuda else 0
    return moved, downgraded, int(not build.on_pypi), _TRUST.index(build.confidence), *preference, changed, cuda


def _order(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


# --- what a choice means ---------------------------------------------------------------------------------------------


def _choice(kind: str, shares: list[Share], tables: Sequence[Table], catalog: Catalog) -> FleetChoice:
    served = [(share.build, [share.table.needs[n] for n in elements(share.mask)]) for share in shares]
    done = {need for _, needs in served for need in needs}
    left = [need for table in tables for n in elements(table.servable) if (need := table.needs[n]) not in done]
    assignments = tuple(assign(build, needs, catalog) for build, needs in served)
    return FleetChoice(
        kind=cast(ChoiceKind, kind),
        assignments=assignments,
        left_out=tuple(name for need in left for name in need.names),
        window=window_of([(build, need) for build, needs in served for need in needs], catalog),
        gives_up=_gives_up(assignments, sum(len(need.nodes) for need in left)),
    )


def _gives_up(assignments: Sequence[Assignment], left_out: int) -> tuple[Text, ...]:
    """What is lost with it, in sentences."""
    moved = sum(len(move.nodes) for a in assignments for move in a.moves)
    changes = sum(a.changes for a in assignments)
    from_index = [str(a.build) for a in assignments if a.build.index != "PyPI"]
    releases = sorted({a.build.torch for a in assignments})
    told = [
        (left_out, Text("fleet-leaves-out", {"count": str(left_out)})),
        (moved, Text("fleet-moves-drivers", {"count": str(moved)})),
        (changes, Text("fleet-changes-torch", {"count": str(changes)})),
        (len(releases) > 1, Text("fleet-two-releases", {"releases": ", ".join(releases)})),
        (from_index, Text("fleet-not-on-pypi", {"builds": ", ".join(from_index)})),
    ]
    return tuple(text for there, text in told if there)
