"""Changes of an environment, and its states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One package of a resolution: `current` is what is installed now, `wheel_bytes` what would be loaded.

    `hashes` are the sha256 of every file that may be loaded for this version, `sha256` is the likeliest; `index` is where
    they are, ``PyPI`` for what the resolver's own settings call the default.
    """

    name: str
    current: str | None
    wanted: str
    wheel_bytes: int | None
    sha256: str | None
    hashes: tuple[str, ...] = ()
    index: str | None = None


@dataclass(frozen=True, slots=True)
class StateRecord:
    """One state of the environment: `path` is where it stands now, None if it was removed; `live` if it is in place."""

    id: int
    label: str
    time: str
    why: str
    path: Path | None
    live: bool
    verified: str
    record: Path | None


@dataclass(frozen=True, slots=True)
class History:
    """The states of one environment, oldest first, and what was done, in order."""

    root: Path
    states: tuple[StateRecord, ...]
    entries: tuple[dict[str, Any], ...]

    @property
    def live(self) -> StateRecord | None:
        """The state in place."""
        return next((s for s in self.states if s.live), None)

    def previous(self) -> StateRecord | None:
        """The state that was live before this one."""
        switches = [e for e in self.entries if e["event"] == "done"]
        known = {s.id: s for s in self.states if s.path and not s.live}
        return next((known[e["from"]] for e in reversed(switches) if e["from"] in known), None)
