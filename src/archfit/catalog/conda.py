"""What conda calls torch, and what keeps it from changing it: ``conda.toml``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from archfit.catalog.tables import load_toml


@dataclass(frozen=True, slots=True)
class CondaNames:
    """The package that is torch with CUDA, and those that hold an environment at another one."""

    torch: str
    holders: tuple[str, ...]


@lru_cache(maxsize=1)
def load_conda() -> CondaNames:
    """The rows of ``conda.toml``."""
    table = load_toml("conda.toml")
    return CondaNames(table["torch"], tuple(row["name"] for row in table["holder"]))
