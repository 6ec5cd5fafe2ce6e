"""What newer releases ask of source code: the rows of ``changes.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from packaging.version import Version

Effect = Literal["breaks", "changes", "warns"]
Kind = Literal["name", "call", "argument", "text"]

_FILE = Path(__file__).with_name("changes.toml")


@dataclass(frozen=True, slots=True)
class Change:
    """One row; the head of ``changes.toml`` says what the fields mean."""

    id: str
    package: str
    since: Version
    effect: Effect
    kind: Kind
    names: tuple[str, ...]
    lacks: tuple[str, ...]
    has: tuple[str, ...]
    pattern: re.Pattern[str] | None
    source: str
    read: str

    @property
    def says(self) -> str:
        """The sentence of the texts: what is different, and what to write instead."""
        return f"change-{self.id}"


@lru_cache(maxsize=1)
def load_changes() -> tuple[Change, ...]:
    """All rows, in the order of the file."""
    table = tomllib.loads(_FILE.read_text("utf-8"))
    return tuple(_change(row, table["read"]) for row in table["change"])


def changes_between(jumps: Mapping[str, tuple[str | None, str]]) -> tuple[Change, ...]:
    """The rows that a change of packages brings; `jumps` are names to the version before (None: not installed) and after.

    Going back brings none: what an older release asks is not known.
    """
    return tuple(row for row in load_changes() if row.package in jumps and _crosses(row, *jumps[row.package]))


def _crosses(row: Change, before: str | None, after: str) -> bool:
    since_release = row.since.release
    return Version(after).release >= since_release and (before is None or Version(before).release < since_release)


def _change(row: Mapping[str, Any], read: str) -> Change:
    return Change(
        id=row["id"],
        package=row["package"],
        since=Version(row["since"]),
        effect=row["effect"],
        kind=row["kind"],
        names=tuple(row.get("names", ())),
        lacks=tuple(row.get("lacks", ())),
        has=tuple(row.get("has", ())),
        pattern=re.compile(row["pattern"]) if "pattern" in row else None,
        source=row["source"],
        read=row.get("read", read),
    )
