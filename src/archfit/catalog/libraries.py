"""What is known of single libraries: which pick their kernels by GPU, and how packages load theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache

from archfit.catalog.tables import load_toml
from archfit.coverage import Loading

_TABLE = "libraries.toml"


def is_dispatched(library_name: str) -> bool:
    """Does this library pick its kernels by GPU on purpose?"""
    return _named(library_name, load_toml(_TABLE)["dispatched"])


def is_tool(library_name: str) -> bool:
    """Does this library carry GPU code only for itself, such as a profiler?"""
    return _named(library_name, load_toml(_TABLE)["tools"])


def sections_of(library_name: str) -> tuple[str, ...] | None:
    """Where a well-known library keeps GPU code besides ``.nv_fatbin``; None for all others: anywhere."""
    rows = load_toml(_TABLE)["sections"]
    return next((tuple(rows[pattern]) for pattern in rows if fnmatchcase(library_name, pattern)), None)


@cache
def loading_of(package: str) -> Loading:
    """What is known of how a package loads its libraries."""
    table = load_toml(_TABLE)
    return Loading(
        main=tuple(table["main"].get(package, ())),
        picked=tuple(
            (re.compile(row["pattern"]), row["by"]) for row in table["picked"] if row["package"] in (package, "*")
        ),
        special=tuple(name for row in table["special"] if row["package"] == package for name in row["libraries"]),
        dispatched=tuple(table["dispatched"]),
        tools=tuple(table["tools"]),
    )


def _named(library_name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(library_name, pattern) for pattern in patterns)
