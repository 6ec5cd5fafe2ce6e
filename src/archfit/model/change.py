"""Changes of an environment, and its states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One package of a resolution: `current` is what is installed now, `wheel_bytes` what would be loaded.

    `hashes` are the sha256 of every file that may be loaded for this version, `sha256` is the likeliest; `index` is where
    they are, ``PyPI`` for what the resolver's own settings call the default. `compiled_for` names the GPUs that archfit
    itself compiled it for (``12.0``); empty for what was loaded.
    """

    name: str
    current: str | None
    wanted: str
    wheel_bytes: int | None
    sha256: str | None
    hashes: tuple[str, ...] = ()
    index: str | None = None
    compiled_for: str = ""


@dataclass(frozen=True, slots=True)
class StateRecord:
    """One state of the environment: `path` is where it stands now, None if it was removed; `live` if it is in place.

    `label` names it, `origin` what it was made from (empty for one that archfit found).
    """

    id: int
    label: str
    time: str
    why: str
    path: Path | None
    live: bool
    verified: str
    record: Path | None
    origin: str = ""


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
        """The state that was live before this one; where the journal was cut and does not tell, the newest of the others."""
        switches = [e for e in self.entries if e["event"] == "done"]
        known = {s.id: s for s in self.states if s.path and not s.live}
        told = (known[e["from"]] for e in reversed(switches) if e["from"] in known)
        return next(told, known[max(known)] if known else None)

    @property
    def rollbacks(self) -> tuple[dict[str, Any], ...]:
        """The ways back that were gone to their end, oldest first."""
        gone = []
        opened: dict[str, Any] = {}
        for entry in self.entries:
            if entry["event"] == "begin":
                opened = entry
            elif entry["event"] == "done" and opened.get("kind") == "rollback":
                gone.append(entry)
        return tuple(gone)


@dataclass(frozen=True, slots=True)
class Interruption:
    """A change that was cut off: of which `kind` (upgrade, rollback), when it began, from what to what it led.

    `made`: the exchange had happened, so the new state is in place.
    """

    id: int
    kind: str
    time: str
    before: str
    after: str
    made: bool
