"""What building torch from source takes: ``source_builds.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).with_name("source_builds.toml")


@dataclass(frozen=True, slots=True)
class SourceNeeds:
    """The oldest gcc, disk in GB, memory of one job in GB, and how long it takes: usually, and the longest that was told."""

    gcc_from: int
    disk_gb: int
    job_gb: int
    minutes: str
    longest_hours: int


@lru_cache(maxsize=1)
def load_source_needs() -> SourceNeeds:
    """The one row."""
    row = tomllib.loads(_FILE.read_text("utf-8"))
    return SourceNeeds(row["gcc_from"], row["disk_gb"], row["job_gb"], row["minutes"], row["longest_hours"])
