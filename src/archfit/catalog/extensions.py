"""How packages with GPU code are compiled again, replaced, or better left alone: the rows of ``extensions.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from archfit.arch import ComputeCapability, CudaVersion, Target

How = Literal["sdist", "git", "jit", "wheels", "pure"]

_FILE = Path(__file__).with_name("extensions.toml")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a build took: `minutes` with `jobs` side by side, and who measured it."""

    minutes: int
    jobs: int
    source: str


@dataclass(frozen=True, slots=True)
class Fixed:
    """Targets that stand in the sources of some versions: nothing else can be chosen. `release` is the newest of them."""

    versions: SpecifierSet
    targets: tuple[Target, ...]
    release: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """GPUs that a package does not serve whatever it is compiled for; `says` is a sentence of the texts."""

    versions: SpecifierSet
    below: ComputeCapability | None
    only: tuple[ComputeCapability, ...]
    says: str

    def refuses(self, device: ComputeCapability) -> bool:
        """Is this one of them?"""
        return device not in self.only if self.only else self.below is not None and device < self.below


@dataclass(frozen=True, slots=True)
class Case:
    """What to know, and to do to the sources, where every one of the conditions holds."""

    versions: SpecifierSet
    torch: SpecifierSet
    python: SpecifierSet
    cuda: SpecifierSet
    beside: Requirement | None
    says: str
    patch: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Successor:
    """Ready wheels of a maintained package with the same import name, for exactly this torch, CUDA and Python."""

    package: str
    version: str
    torch: str
    cuda: CudaVersion
    pythons: tuple[str, ...]
    index: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Extension:
    """One package; the head of ``extensions.toml`` says what the fields mean.

    `page` has ``{torch}`` and ``{variant}`` in it, `environment` may hold ``{archs}``.
    """

    package: str
    names: tuple[str, ...]
    how: How
    source: str
    read: str
    sdist: str = ""
    address: str = ""
    hard_coded: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    cxx: int = 0
    build_file: str = "setup.py"
    page: str = ""
    page_torch: SpecifierSet = field(default_factory=SpecifierSet)
    isolated: bool = False
    cost: Cost | None = None
    fixed: tuple[Fixed, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    cases: tuple[Case, ...] = ()
    successors: tuple[Successor, ...] = ()

    def fixed_targets(self, version: str) -> tuple[Target, ...]:
        """All targets that the sources of this version can be compiled for; empty where they leave the choice open."""
        return next((row.targets for row in self.fixed if holds(row.versions, version)), ())


@dataclass(frozen=True, slots=True)
class Extensions:
    """All rows, and which gcc each nvcc takes."""

    by_name: Mapping[str, Extension]
    host_compilers: tuple[tuple[CudaVersion, int, str], ...]

    def find(self, package: str) -> Extension | None:
        """The row of a package by its normalised name."""
        return self.by_name.get(package)

    def gcc_below(self, cuda: CudaVersion) -> int | None:
        """The first major release of gcc that nvcc of this CUDA refuses."""
        rows = [
            (since, below) for since, below, _ in self.host_compilers if since.major == cuda.major and since <= cuda
        ]
        return max(rows)[1] if rows else None


def holds(versions: SpecifierSet, version: str) -> bool:
    """Does a version meet these bounds? Development and local versions count; one that no standard knows meets only none."""
    try:
        return versions.contains(Version(version).public, prereleases=True)
    except InvalidVersion:
        return not str(versions)


@lru_cache(maxsize=1)
def load_extensions() -> Extensions:
    """The rows that ship with archfit."""
    table = tomllib.loads(_FILE.read_text("utf-8"))
    rows = [_extension(row, table["read"]) for row in table["extension"]]
    return Extensions(
        by_name={name: row for row in rows for name in row.names},
        host_compilers=tuple(
            (CudaVersion.parse(row["cuda"]), row["gcc_below"], row["source"]) for row in table["host_compiler"]
        ),
    )


def _extension(row: Mapping[str, Any], read: str) -> Extension:
    plain = {
        name: row[name]
        for name in ("how", "sdist", "address", "hard_coded", "cxx", "build_file", "page", "isolated", "environment")
        if name in row
    }
    cost = row.get("cost")
    return Extension(
        package=row["package"],
        names=tuple(canonicalize_name(name) for name in (row["package"], *row.get("also", ()))),
        source=row["source"],
        read=row.get("read", read),
        page_torch=SpecifierSet(row.get("page_torch", "")),
        cost=Cost(cost["minutes"], cost["jobs"], cost["source"]) if cost else None,
        fixed=tuple(
            Fixed(SpecifierSet(r["versions"]), _targets(r["targets"]), r["release"]) for r in row.get("fixed", ())
        ),
        refusals=tuple(_refusal(r) for r in row.get("refuses", ())),
        cases=tuple(_case(r) for r in row.get("case", ())),
        successors=tuple(_successor(r) for r in row.get("successor", ())),
        **plain,
    )


def _targets(names: Sequence[str]) -> tuple[Target, ...]:
    return tuple(Target.parse(name) for name in names)


def _refusal(row: Mapping[str, Any]) -> Refusal:
    return Refusal(
        SpecifierSet(row.get("versions", "")),
        ComputeCapability.parse(row["below"]) if "below" in row else None,
        tuple(ComputeCapability.parse(text) for text in row.get("only", ())),
        row["says"],
    )


def _case(row: Mapping[str, Any]) -> Case:
    bounds = {name: SpecifierSet(row.get(name, "")) for name in ("versions", "torch", "python", "cuda")}
    beside = Requirement(row["beside"]) if "beside" in row else None
    return Case(**bounds, beside=beside, says=row["says"], patch=tuple(row.get("patch", ())))


def _successor(row: Mapping[str, Any]) -> Successor:
    return Successor(
        row["package"],
        row["version"],
        row["torch"],
        CudaVersion.parse(row["cuda"]),
        tuple(row["pythons"]),
        row["index"],
        _targets(row["targets"]),
    )
