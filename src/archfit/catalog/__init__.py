"""Facts with a source and a date: builds, wheels, toolkits, drivers, GPUs.

``tools/make_catalog.py`` packs the documented rows, ``tools/refresh_catalog.py`` reads the wheels. A row answers only for
what is not installed yet; what is installed is read from its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache

from archfit.arch import ComputeCapability, CudaVersion
from archfit.catalog import libraries
from archfit.catalog.builds import Build, Nightly, Release, load_builds, load_nightlies, load_releases
from archfit.catalog.drivers import (
    DriverWindow,
    Generation,
    JetPack,
    Toolkit,
    branch_of,
    can_target,
    is_windows,
    load_branches,
    load_generations,
    load_jetpacks,
    load_toolkits,
    window_of,
)
from archfit.catalog.gpus import Product, find_device, find_gpu, find_product, load_products
from archfit.catalog.remembered import overlay
from archfit.catalog.wheels import Wheel, load_wheels
from archfit.coverage import Loading
from archfit.model import DriverRelease, Gpu

__all__ = [
    "Build",
    "Catalog",
    "DriverWindow",
    "Generation",
    "JetPack",
    "Nightly",
    "Product",
    "Release",
    "Toolkit",
    "Wheel",
    "load_catalog",
]


@lru_cache(maxsize=1)
def load_catalog() -> Catalog:
    """The catalog that ships with archfit; files are parsed when first asked for."""
    return Catalog()


class Catalog:
    """All tables, and the questions that need one."""

    @cached_property
    def builds(self) -> tuple[Build, ...]:
        """Every published build of torch that is known, oldest first; measured where its wheel was read."""
        return load_builds(self.wheels_of("torch"))

    @cached_property
    def releases(self) -> dict[str, Release]:
        """By torch version."""
        return load_releases()

    @cached_property
    def nightlies(self) -> tuple[Nightly, ...]:
        """Nightly periods, oldest first."""
        return load_nightlies()

    @cached_property
    def toolkits(self) -> tuple[Toolkit, ...]:
        """CUDA releases, oldest first."""
        return load_toolkits()

    @cached_property
    def branches(self) -> tuple[tuple[int, CudaVersion], ...]:
        """Driver branches, oldest first, with the newest CUDA that each knows."""
        return load_branches()

    @cached_property
    def generations(self) -> dict[ComputeCapability, Generation]:
        """By compute capability."""
        return load_generations()

    @cached_property
    def jetpacks(self) -> tuple[JetPack, ...]:
        """What Jetson boards run, oldest first."""
        return load_jetpacks()

    @property
    def products(self) -> tuple[Product, ...]:
        """GPUs by name."""
        return load_products()

    def toolkit(self, cuda: CudaVersion) -> Toolkit | None:
        """The row of one CUDA release."""
        return next((t for t in self.toolkits if t.cuda == cuda), None)

    def first_toolkit_for(self, device: ComputeCapability) -> Toolkit | None:
        """The oldest CUDA release whose compiler makes code that runs on `device` as its own generation."""
        return next((t for t in self.toolkits if self.can_target(t, device)), None)

    @staticmethod
    def can_target(toolkit: Toolkit, device: ComputeCapability) -> bool:
        """Can this CUDA release make SASS that runs on `device`?"""
        return can_target(toolkit, device)

    def min_driver_for_cuda(self, cuda: CudaVersion, platform: str = "") -> DriverRelease | None:
        """The oldest driver that loads SASS of this CUDA release (minor-version compatibility), of Linux unless told."""
        row = self.toolkit(cuda) or next((t for t in reversed(self.toolkits) if t.cuda.major == cuda.major), None)
        if row is None and cuda < self.toolkits[0].cuda:
            row = self.toolkits[0]  # older than every row: a driver for the oldest row loads it, too
        return row.floor.on(platform) if row else None

    def driver_for_ptx(self, isa: str, platform: str = "") -> DriverRelease | None:
        """The oldest driver that compiles PTX of this ISA version, of Linux unless told; None where no row knows."""
        wanted = tuple(map(int, isa.split(".")))
        rows = [t for t in self.toolkits if tuple(map(int, t.ptx_isa.split("."))) >= wanted]
        if rows and (shipped := rows[0].first.on(platform)):
            return shipped
        cuda = rows[0].cuda if rows else None
        fits = [branch for branch, knows in self.branches if cuda and knows >= cuda]
        return DriverRelease.parse(str(min(fits))) if fits else None

    def cuda_of_ptx(self, isa: str) -> CudaVersion | None:
        """The oldest CUDA release whose drivers compile PTX of this ISA version."""
        wanted = tuple(map(int, isa.split(".")))
        return next((t.cuda for t in self.toolkits if tuple(map(int, t.ptx_isa.split("."))) >= wanted), None)

    def cuda_of_driver(self, release: DriverRelease) -> CudaVersion | None:
        """The newest CUDA that a driver branch knows."""
        rows = [knows for branch, knows in self.branches if branch <= release.branch]
        return rows[-1] if rows else None

    @staticmethod
    def branch_of(release: DriverRelease) -> int:
        """The branch that a driver belongs to: on Windows the releases of R580 go on as 581 and 582."""
        return branch_of(release)

    def first_driver_for(self, gpu: Gpu, platform: str = "") -> DriverRelease | None:
        """The oldest driver that knows this GPU: the product's own row from Blackwell on, else its generation's.

        Rows of products are of Linux: on Windows their branch counts.
        """
        generation = self.generations.get(gpu.capability)
        own = gpu.first_driver if gpu.capability >= ComputeCapability(10, 0) else None
        rows = (own, generation.first_driver.linux if generation else None)
        linux = max((row for row in rows if row), default=None)
        if not is_windows(platform):
            return linux
        branch = DriverRelease.parse(str(linux.branch)) if linux else None
        floors = (generation.first_driver.windows if generation else None, branch)
        return max((floor for floor in floors if floor), default=None)

    @cached_property
    def wheels(self) -> tuple[Wheel, ...]:
        """Every wheel that was read, oldest release first within a package; with the user's own measurements in it."""
        return overlay(load_wheels())

    @cached_property
    def packages(self) -> tuple[str, ...]:
        """The names of all packages that `wheels` tells of."""
        return tuple(sorted({wheel.package for wheel in self.wheels}))

    def wheels_of(self, package: str) -> tuple[Wheel, ...]:
        """The wheels of one package (its normalised name), oldest release first."""
        return self._by_package.get(package, ())

    @cached_property
    def _by_package(self) -> dict[str, tuple[Wheel, ...]]:
        found: dict[str, list[Wheel]] = {}
        for wheel in self.wheels:
            found.setdefault(wheel.package, []).append(wheel)
        return {name: tuple(rows) for name, rows in found.items()}

    def min_driver_of(self, wheel: Wheel, device: ComputeCapability) -> DriverRelease | None:
        """The oldest driver that loads this wheel's code on `device` and compiles its PTX where only that serves it.

        That the driver knows the GPU at all is another question, see `first_driver_for`. None if nothing runs, or where the
        wheel does not say which CUDA it is made for.
        """
        if not wheel.verdict(device).runs:
            return None
        cuda = wheel.cuda or (CudaVersion(wheel.cuda_major, 0) if wheel.cuda_major else None)
        isa = wheel.ptx_isa(device)
        floors = (
            self.min_driver_for_cuda(cuda, wheel.platform) if cuda else None,
            self.driver_for_ptx(isa, wheel.platform) if isa else None,
        )
        return max((floor for floor in floors if floor), default=None)

    @staticmethod
    def is_dispatched(library_name: str) -> bool:
        """Does this library pick its kernels by GPU on purpose?"""
        return libraries.is_dispatched(library_name)

    @staticmethod
    def is_tool(library_name: str) -> bool:
        """Does this library carry GPU code only for itself, such as a profiler?"""
        return libraries.is_tool(library_name)

    @staticmethod
    def sections_of(library_name: str) -> tuple[str, ...] | None:
        """Where a well-known library keeps GPU code besides ``.nv_fatbin``; None for all others: anywhere."""
        return libraries.sections_of(library_name)

    @staticmethod
    def loading_of(package: str) -> Loading:
        """What is known of how a package loads its libraries."""
        return libraries.loading_of(package)

    def find_gpu(self, spec: str) -> Gpu:
        """Read what a person calls a GPU: ``RTX 5090``, ``sm_120``, ``12.0``, ``10de:2b85``.

        Raises:
            UsageError: no such GPU, or several generations share the name.
        """
        return find_gpu(spec, self.generations)

    def find_product(self, name: str) -> Product | None:
        """The row of a GPU by the name its driver prints, if there is one."""
        return find_product(name)

    def find_device(self, text: str) -> Product | None:
        """The GPU that a PCI id names: ``10de:2b85``, or a line of ``lspci -nn`` with it."""
        return find_device(text)

    def driver_window(self, gpus: Iterable[Gpu], platform: str = "") -> DriverWindow:
        """Which drivers, and which flavour of kernel module, serve all of these GPUs in one machine."""
        rows = [(self.first_driver_for(gpu, platform), self.generations.get(gpu.capability)) for gpu in gpus]
        return window_of([first for first, _ in rows if first], [row for _, row in rows if row])
