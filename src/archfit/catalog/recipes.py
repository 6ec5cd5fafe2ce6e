"""How extensions are compiled again: rows of ``recipes.toml``."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from packaging.version import Version

from archfit.arch import CudaVersion


@dataclass(frozen=True, slots=True)
class Edit:
    """A piece of text in a file of the source, and what takes its place; the file may lack it."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to compile a package.

    `requires` and `constraints` are requirement strings for the build environment; `env` are variables, whose
    values may hold ``{arch_list}``, ``{sm_list}`` and ``{jobs}``; `holds` are patterns of files that the wheel must have;
    `gib_per_job` is the memory that one compiler takes.
    """

    requires: tuple[str, ...]
    constraints: tuple[str, ...]
    env: Mapping[str, str]
    holds: tuple[str, ...]
    edits: tuple[Edit, ...]
    gib_per_job: float
    known: bool

    @property
    def digest(self) -> str:
        """Changes with everything that changes what is built; how much of it at once is no such thing."""
        told = asdict(self)
        del told["gib_per_job"], told["known"]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ToolchainRow:
    """The packages of the CUDA compiler on PyPI, and where below site-packages they lie; none: it cannot be had there."""

    cuda_major: int
    packages: tuple[str, ...]
    root: str
    source: str


def find_recipe(package: str) -> Recipe:
    """The recipe of the package of this normalised name; a generic one for those without a row."""
    table = _table()
    row: dict[str, Any] = next((row for row in table["recipe"] if package in row["packages"]), {})
    generic = table["generic"]
    return Recipe(
        requires=(*generic["requires"], *row.get("requires", ())),
        constraints=tuple(row.get("constraints", ())),
        env={**generic["env"], **row.get("env", {})},
        holds=tuple(row.get("holds", ())),
        edits=tuple(Edit(**edit) for edit in row.get("edit", ())),
        gib_per_job=row.get("gib_per_job", generic["gib_per_job"]),
        known=bool(row),
    )


def toolchain_for(cuda: CudaVersion) -> ToolchainRow | None:
    """The compiler for this CUDA on PyPI; None where PyPI has none, or where no row knows."""
    row = next((row for row in _table()["toolchain"] if row["cuda_major"] == cuda.major), None)
    if row is None or row.get("lacking"):
        return None
    return ToolchainRow(row["cuda_major"], tuple(row["packages"]), row["root"], row["source"])


def standard_for(torch: str) -> int:
    """The C++ standard that the headers of this torch need: 17."""
    release = Version(torch).release
    rows = [row for row in _table()["standard"] if Version(row["torch"]).release <= release]
    return int(rows[-1]["cxx"]) if rows else 11


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("recipes.toml").read_text("utf-8"))
