"""Facts with a source and a date: builds, toolkits, drivers, GPUs.

The rows are made by ``tools/make_catalog.py``. A row answers only for what is not installed yet; what is installed is
read from its bytes.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict, judge_code
from archfit.coverage import Loading
from archfit.errors import UsageError
from archfit.model import DriverRelease, Gpu

_FOLDER = Path(__file__).parent  # importlib.resources would cost a tenth of the start-up


@dataclass(frozen=True, slots=True)
class Build:
    """One published build of torch; `index` is ``PyPI`` or the address of a package index."""

    torch: str
    variant: str
    cuda: CudaVersion | None
    platform: str
    index: str
    python_tags: tuple[str, ...]
    targets: tuple[Target, ...]
    confidence: str
    source: str

    @property
    def on_pypi(self) -> bool:
        """True for what ``pip install torch==X`` gives without an index option."""
        return self.index == "PyPI"

    @property
    def order(self) -> tuple[int, ...]:
        """Sorts by release: 2.10.0 comes after 2.9.1."""
        return tuple(int(part) for part in self.torch.split("."))

    def verdict(self, device: ComputeCapability) -> Verdict:
        """Can this build run on `device`, going by its row?"""
        found = {judge_code(target, device, self.cuda) for target in self.targets}
        order = (Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT)
        return next((v for v in order if v in found), Verdict.NONE)


@dataclass(frozen=True, slots=True)
class Release:
    """What belongs to one torch release: the versions of its companions, and the glibc its wheels need."""

    torch: str
    torchvision: tuple[str, ...]
    torchaudio: tuple[str, ...]
    glibc: str | None
    requires_python: str
    source: str


@dataclass(frozen=True, slots=True)
class Nightly:
    """A period of nightly builds; `targets` is empty where no list was published."""

    torch: str
    period: str
    variants: tuple[str, ...]
    targets: tuple[Target, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Toolkit:
    """A CUDA release: what its compiler can target and which drivers can load its code.

    `first_driver` is the driver that shipped with it, the first one that compiles its PTX; None where none was shipped.
    `min_driver` is the floor of minor-version compatibility.
    """

    cuda: CudaVersion
    first_driver: DriverRelease | None
    min_driver: DriverRelease
    ptx_isa: str
    targets: tuple[Target, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Generation:
    """A hardware generation: which drivers know it, and which flavour of kernel module drives it on Linux.

    `last_branch` is None while drivers still support it.
    """

    capability: ComputeCapability
    name: str
    first_driver: DriverRelease | None
    last_branch: int | None
    open_only: bool
    closed_only: bool
    source: str


@dataclass(frozen=True, slots=True)
class Product:
    """A GPU that can be bought."""

    name: str
    capability: ComputeCapability
    first_driver: DriverRelease | None


@dataclass(frozen=True, slots=True)
class JetPack:
    """The system of a Jetson: `cuda` is what its driver knows, `index` where torch for it is; empty: PyPI's own wheels."""

    release: str
    cuda: CudaVersion
    capabilities: tuple[ComputeCapability, ...]
    index: str
    python: str
    source: str


@lru_cache(maxsize=1)
def load_catalog() -> Catalog:
    """The catalog that ships with archfit; files are parsed when first asked for."""
    return Catalog()


class Catalog:
    """All tables, and the questions that need one."""

    @cached_property
    def builds(self) -> tuple[Build, ...]:
        """Every published build that is known, oldest first."""
        table = _load_json("builds.json")
        rows = (
            Build(
                torch=row["torch"],
                variant=row["variant"],
                cuda=CudaVersion.parse(row["cuda"]) if row["cuda"] else None,
                platform=row["platform"],
                index=row["index"],
                python_tags=tuple(row["python_tags"]),
                targets=_targets(row["sass"], row["ptx"]),
                confidence=row["confidence"],
                source=table["sources"][row["source"]],
            )
            for row in table["builds"]
        )
        return tuple(sorted(rows, key=lambda build: (build.order, build.variant)))

    @cached_property
    def releases(self) -> dict[str, Release]:
        """By torch version."""
        table = _load_json("builds.json")
        return {
            row["torch"]: Release(
                row["torch"],
                tuple(row["torchvision"] or ()),
                tuple(row["torchaudio"] or ()),
                row["glibc"],
                row["requires_python"],
                table["sources"][row["source"]],
            )
            for row in table["releases"]
        }

    @cached_property
    def nightlies(self) -> tuple[Nightly, ...]:
        """Nightly periods, oldest first."""
        table = _load_json("builds.json")
        return tuple(
            Nightly(
                row["torch"],
                row["period"],
                tuple(row["variants"]),
                _targets(row["sass"] or (), row["ptx"] or ()),
                table["sources"][row["source"]],
            )
            for row in table["nightlies"]
        )

    @cached_property
    def toolkits(self) -> tuple[Toolkit, ...]:
        """CUDA releases, oldest first."""
        table = _load_json("toolkits.json")
        return tuple(
            Toolkit(
                CudaVersion.parse(row["cuda"]),
                DriverRelease.parse(row["first_driver"]) if row["first_driver"] else None,
                DriverRelease.parse(row["min_driver"]),
                row["ptx_isa"],
                tuple(Target.parse("sm_" + sass.replace(".", "")) for sass in row["sass"]),
                table["sources"][row["source"]],
            )
            for row in table["toolkits"]
        )

    @cached_property
    def generations(self) -> dict[ComputeCapability, Generation]:
        """By compute capability."""
        table = _load_json("gpus.json")
        rows = (
            Generation(
                ComputeCapability.parse(row["capability"]),
                row["name"],
                DriverRelease.parse(row["first_driver"]) if row["first_driver"] else None,
                row["last_branch"],
                row["open_only"],
                row["closed_only"],
                table["sources"][row["source"]],
            )
            for row in table["generations"]
        )
        return {row.capability: row for row in rows}

    @cached_property
    def jetpacks(self) -> tuple[JetPack, ...]:
        """What Jetson boards run, oldest first."""
        rows = tomllib.loads((_FOLDER / "jetson.toml").read_text("utf-8"))["jetpack"]
        return tuple(
            JetPack(
                row["release"],
                CudaVersion.parse(row["cuda"]),
                tuple(ComputeCapability.parse(text) for text in row["capabilities"]),
                row["index"],
                row["python"],
                f"{row['source']}, read {row['read']}",
            )
            for row in rows
        )

    @cached_property
    def products(self) -> tuple[Product, ...]:
        """GPUs by name."""
        return tuple(
            Product(
                row["name"],
                ComputeCapability.parse(row["capability"]),
                DriverRelease.parse(row["first_driver"]) if row["first_driver"] else None,
            )
            for row in _load_json("gpus.json")["products"]
        )

    def toolkit(self, cuda: CudaVersion) -> Toolkit | None:
        """The row of one CUDA release."""
        return next((t for t in self.toolkits if t.cuda == cuda), None)

    def first_toolkit_for(self, device: ComputeCapability) -> Toolkit | None:
        """The oldest CUDA release whose compiler makes code that runs on `device` as its own generation."""
        return next((t for t in self.toolkits if self.can_target(t, device)), None)

    @staticmethod
    def can_target(toolkit: Toolkit, device: ComputeCapability) -> bool:
        """Can this CUDA release make SASS that runs on `device`?"""
        return any(judge_code(target, device, toolkit.cuda).runs for target in toolkit.targets)

    def min_driver_for_cuda(self, cuda: CudaVersion) -> DriverRelease | None:
        """The oldest driver that loads SASS of this CUDA release (minor-version compatibility)."""
        row = self.toolkit(cuda) or next((t for t in reversed(self.toolkits) if t.cuda.major == cuda.major), None)
        if row is None and cuda < self.toolkits[0].cuda:
            row = self.toolkits[0]  # older than every row: a driver for the oldest row loads it, too
        return row.min_driver if row else None

    def driver_for_ptx(self, isa: str) -> DriverRelease | None:
        """The oldest driver that compiles PTX of this ISA version; None where no row knows."""
        wanted = tuple(map(int, isa.split(".")))
        rows = [t for t in self.toolkits if tuple(map(int, t.ptx_isa.split("."))) >= wanted]
        if rows and rows[0].first_driver:
            return rows[0].first_driver
        cuda = rows[0].cuda if rows else None
        branches = _load_json("toolkits.json")["branches"]
        fits = [row["branch"] for row in branches if cuda and CudaVersion.parse(row["cuda"]) >= cuda]
        return DriverRelease.parse(str(min(fits))) if fits else None

    def cuda_of_ptx(self, isa: str) -> CudaVersion | None:
        """The oldest CUDA release whose drivers compile PTX of this ISA version."""
        wanted = tuple(map(int, isa.split(".")))
        return next((t.cuda for t in self.toolkits if tuple(map(int, t.ptx_isa.split("."))) >= wanted), None)

    def cuda_of_driver(self, release: DriverRelease) -> CudaVersion | None:
        """The newest CUDA that a driver branch knows."""
        rows = [row for row in _load_json("toolkits.json")["branches"] if row["branch"] <= release.branch]
        return CudaVersion.parse(max(rows, key=lambda row: row["branch"])["cuda"]) if rows else None

    def first_driver_for(self, gpu: Gpu) -> DriverRelease | None:
        """The oldest driver that knows this GPU: the product's own row from Blackwell on, else its generation's."""
        generation = self.generations.get(gpu.capability)
        floor = generation.first_driver if generation else None
        if gpu.capability >= ComputeCapability(10, 0) and gpu.first_driver:
            return max(gpu.first_driver, floor) if floor else gpu.first_driver
        return floor

    def is_dispatched(self, library_name: str) -> bool:
        """Does this library pick its kernels by GPU on purpose?"""
        return _named(library_name, _load_libraries()["dispatched"])

    def is_tool(self, library_name: str) -> bool:
        """Does this library carry GPU code only for itself, such as a profiler?"""
        return _named(library_name, _load_libraries()["tools"])

    def sections_of(self, library_name: str) -> tuple[str, ...] | None:
        """Where a well-known library keeps GPU code besides ``.nv_fatbin``; None for all others: anywhere."""
        rows = _load_libraries()["sections"]
        return next((tuple(rows[pattern]) for pattern in rows if fnmatchcase(library_name, pattern)), None)

    def loading_of(self, package: str) -> Loading:
        """What is known of how a package loads its libraries."""
        table = _load_libraries()
        return Loading(
            main=tuple(table["main"].get(package, ())),
            picked=tuple(
                (re.compile(row["pattern"]), row["by"]) for row in table["picked"] if row["package"] in (package, "*")
            ),
            special=tuple(name for row in table["special"] if row["package"] == package for name in row["libraries"]),
            dispatched=tuple(table["dispatched"]),
            tools=tuple(table["tools"]),
        )

    def find_gpu(self, spec: str) -> Gpu:
        """Read what a person calls a GPU: ``RTX 5090``, ``sm_120``, ``12.0``.

        Raises:
            UsageError: no such GPU, or several generations share the name.
        """
        try:
            capability = ComputeCapability.parse(re.sub(r"(?<=\d)[af]$", "", spec))  # sm_120a is code for that GPU
        except ValueError:
            product = self._find_product(spec)
            return Gpu(product.name, product.capability, f'--gpu "{spec}"', product.first_driver)
        if capability not in self.generations and capability != capability.canonical:
            capability = capability.canonical
        if capability not in self.generations:
            known = ", ".join(str(c) for c in sorted(self.generations))
            raise UsageError("gpu-unknown-capability", spec=spec, known=known)
        return Gpu(capability.sm, capability, f"--gpu {spec}")

    def find_product(self, name: str) -> Product | None:
        """The row of a GPU by the name its driver prints, if there is one."""
        words = _words(name)
        found = [p for p in self.products if words in (_words(p.name), _words(p.name.partition(" (")[0]))]
        return min(found, key=lambda p: p.first_driver is None, default=None)

    def _find_product(self, spec: str) -> Product:
        words = _words(spec)
        exact = [p for p in self.products if _words(p.name) == words and words]
        found = exact or [p for p in self.products if words and words <= _words(p.name)]
        if not found:
            raise UsageError("gpu-unknown-name", spec=spec, near=", ".join(self._near(words)) or "RTX 5090, H200, T4")
        if len({p.capability for p in found}) > 1:
            names = ", ".join(f'"{p.name}" ({p.capability})' for p in found[:6])
            raise UsageError("gpu-ambiguous", spec=spec, names=names)
        return min(found, key=lambda p: (p.first_driver is None, len(p.name)))

    def _near(self, words: frozenset[str]) -> list[str]:
        from difflib import get_close_matches

        names = {" ".join(sorted(_words(p.name))): p.name for p in self.products}
        close = get_close_matches(" ".join(sorted(words)), list(names), n=3, cutoff=0.6)
        return [names[name] for name in close]


_NOISE = frozenset({"nvidia", "geforce", "tesla", "gpu", "graphics", "card", "generation", "edition"})


def _words(name: str) -> frozenset[str]:
    """The words that tell one GPU from another: memory size, form factor and family names do not."""
    spaced = re.sub(r"(?<![a-z])(rtx|gtx|gt|tesla|quadro)(?=\d)", r"\1 ", name.lower())  # RTX5090
    words = re.split(r"[\s()\-_/]+", spaced)
    return frozenset(w for w in words if w and w not in _NOISE and not re.fullmatch(r"\d+gb|sxm\d?|pcie|hbm\d\w?", w))


def _targets(sass: list[str] | tuple[()], ptx: list[str] | tuple[()]) -> tuple[Target, ...]:
    cubins = [Target.parse("sm_" + text.replace(".", "")) for text in sass]
    return (*cubins, *(Target.parse("compute_" + text.replace(".", "")) for text in ptx))


@cache
def _load_json(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((_FOLDER / name).read_text("utf-8"))
    return loaded


def _named(library_name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(library_name, pattern) for pattern in patterns)


@lru_cache(maxsize=1)
def _load_libraries() -> dict[str, Any]:
    text = (_FOLDER / "libraries.toml").read_text("utf-8")
    return tomllib.loads(text)
