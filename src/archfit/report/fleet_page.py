"""Many machines as one page: the plan, causes, shared folders, drift, and all nodes to search in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from archfit.model import Drift, Fleet, FleetBuild, Node, Severity, SharedPlace
from archfit.report.fleet_names import short_names
from archfit.report.fleet_rows import (
    Cohort,
    cause_title,
    causes_shown,
    cohorts_of,
    counted,
    move_text,
    window_text,
)
from archfit.report.html_engine import render
from archfit.report.messages import Language, Messages

COLUMNS = ("nodes", "gpus", "driver", "python", "torch", "causes")
_LANGUAGES: tuple[Language, ...] = ("en", "zh")
_MARKS = {Severity.ERROR: "bad", Severity.WARNING: "warn", Severity.INFO: "none"}
_MOST_ROWS = 200
_MOST_DRIFTS = 200
_MOST_VALUES = 8
_LONG = 600


@dataclass(frozen=True, slots=True)
class _Drift:
    """A drift with as many values as a page shows."""

    group: str
    what: str
    values_shown: tuple[tuple[str, tuple[str, ...]], ...]


def render_fleet_page(fleet: Fleet, messages: Messages, when: datetime) -> str:
    """One file; 10,000 nodes are a table of 200 rows that look different, and data to search in."""
    speakers = {language: Messages(language, messages.program) for language in _LANGUAGES}
    cohorts = {language: cohorts_of(fleet, speaker) for language, speaker in speakers.items()}
    return render(
        "fleet.html.j2",
        messages,
        when,
        title=lambda m: m.ui("fleet-title"),
        scripts=("fleet.js",),
        command="fleet",
        fleet=fleet,
        numbered=causes_shown(fleet.causes),
        informing=[cause for cause in fleet.causes if cause.severity is Severity.INFO],
        drifts=[_shown(drift) for drift in fleet.drifts[:_MOST_DRIFTS]],
        more_drifts=max(0, len(fleet.drifts) - _MOST_DRIFTS),
        cohorts={language: rows[:_MOST_ROWS] for language, rows in cohorts.items()},
        columns=COLUMNS,
        marks=_MARKS,
        data=_data(fleet.nodes, cohorts),
        counted=counted,
        move_text=move_text,
        window_text=window_text,
        title_of=cause_title,
        place_text=_place_text,
        what_text=_what_text,
        nodes_text=_nodes_text,
        install=_install,
        short=lambda names: short_names(names, 80),
    )


def _shown(drift: Drift) -> _Drift:
    return _Drift(drift.group, drift.what, drift.values[:_MOST_VALUES])


def _data(nodes: Sequence[Node], cohorts: dict[Language, list[Cohort]]) -> dict[str, Any]:
    """All nodes as numbers into tables of strings: name, mark, hardware, driver, Python, torch, causes, what was said."""
    tables = {name: _Table() for name in ("hardware", "driver", "python", "torch", "causes")}
    said = {language: _Table() for language in cohorts}
    other = {_key(row): row for row in cohorts["zh"]}
    rows = []
    for row in cohorts["en"]:
        texts = (row.hardware, row.driver, row.python, row.torch, " ".join(map(str, row.causes)))
        numbers = [table.number(text) for table, text in zip(tables.values(), texts, strict=True)]
        twin = other.get(_key(row), row)
        number = said["en"].pair(said["zh"], row.said, twin.said)
        rows += [[name, row.kind, *numbers, number] for name in row.names]
    return {
        "nodes": sorted(rows),
        "strings": {name: table.texts for name, table in tables.items()}
        | {"said": {language: table.texts for language, table in said.items()}},
    }


def _key(row: Cohort) -> tuple[object, ...]:
    return row.names, row.state, row.hardware, row.driver, row.python, row.torch, row.causes


class _Table:
    """Texts by number, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[object, int] = {}

    def number(self, text: str) -> int:
        return self._add(text, text)

    def pair(self, other: _Table, text: str, twin: str) -> int:
        """A text and its translation in `other` under one number."""
        number = self._add((text, twin), text)
        other._add((text, twin), twin)
        return number

    def _add(self, key: object, text: str) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.texts)
            self.texts.append(text)
        return self._numbers[key]


def _place_text(messages: Messages, place: SharedPlace) -> str:
    key = "fleet-place-proven" if place.proven else "fleet-place-alike"
    name = messages.ui(f"fleet-place-{place.kind}")
    return messages.ui(key, name=name, path=place.path, filesystem=place.filesystem or "?")


def _what_text(messages: Messages, what: str) -> str:
    kind, _, package = what.partition(" ")
    return messages.ui(f"fleet-what-{kind}", name=package)


def _nodes_text(messages: Messages, names: Iterable[str]) -> str:
    names = list(names)
    return messages.ui("fleet-nodes", count=len(names), nodes=short_names(names, _LONG))


def _install(build: FleetBuild) -> str:
    index = "" if build.index == "PyPI" else f" --index-url {build.index}"
    return f"pip install {' '.join(build.packages)}{index}"
