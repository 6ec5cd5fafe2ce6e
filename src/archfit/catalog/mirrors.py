"""Mirrors of PyPI and of the PyTorch index: the rows of ``mirrors.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

Layout = Literal["index", "links", ""]

_FILE = Path(__file__).with_name("mirrors.toml")


@dataclass(frozen=True, slots=True)
class Mirror:
    """One mirror; the head of ``mirrors.toml`` says what the fields mean. An empty address: it has no such thing."""

    name: str
    pypi: str
    torch: str
    layout: Layout
    source: str
    read: str


@lru_cache(maxsize=1)
def load_mirrors() -> dict[str, Mirror]:
    """By name."""
    table = tomllib.loads(_FILE.read_text("utf-8"))
    return {
        row["name"]: Mirror(
            row["name"], row.get("pypi", ""), row.get("torch", ""), row.get("layout", ""), row["source"], table["read"]
        )
        for row in table["mirror"]
    }
