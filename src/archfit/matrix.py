"""Which release of a package runs on which GPU: the rows of the catalog times GPUs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from packaging.tags import compatible_tags, cpython_tags
from packaging.version import InvalidVersion, Version

from archfit.arch import ComputeCapability, CudaVersion, Verdict
from archfit.catalog import Build, Catalog
from archfit.model import DriverRelease, Gpu


@dataclass(frozen=True, slots=True)
class Column:
    """A GPU: `label` as it was asked for or its generation, `driver` the oldest that knows it (None: not known).

    `open_module`: on Linux only the open kernel modules drive it.
    """

    label: str
    capability: ComputeCapability
    driver: DriverRelease | None = None
    open_module: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One published build of a package.

    `tags` are its Python tags (``cp311``, ``cp39-abi3``, ``py3``), `index` is ``PyPI`` or an address. In the order of the
    matrix's columns stand `verdicts`, and in `drivers` the oldest driver with which it runs there (None: it does not run, or
    nobody knows); `driver` is the oldest that loads its machine code at all.
    """

    package: str
    version: str
    variant: str
    cuda: CudaVersion | None
    platform: str
    tags: tuple[str, ...]
    index: str
    confidence: str
    source: str
    driver: DriverRelease | None
    verdicts: tuple[Verdict, ...]
    drivers: tuple[DriverRelease | None, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Columns times rows; the rows by package, newest release first. `chosen`: the columns are GPUs that were asked for."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """What is wanted of a row; what is empty does not matter.

    `runs`: something of its code can be launched on all GPUs that were asked for, else on any. `driver` is the one at hand.
    """

    packages: tuple[str, ...] = ()
    cuda: CudaVersion | None = None
    driver: DriverRelease | None = None
    python: str | None = None
    platform: str | None = None
    runs: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Which releases of a package run on one GPU.

    `first` and `last` are the oldest and the newest build that does (None: none does), `newest` is the newest release there
    is: another one than that of `last` means that support has ended. `driver` is the oldest driver any of them runs with.
    """

    package: str
    column: Column
    first: Row | None
    last: Row | None
    newest: str
    driver: DriverRelease | None


# --- making one ------------------------------------------------------------------------------------------------------


def matrix_of(catalog: Catalog, gpus: Sequence[Gpu] = ()) -> Matrix:
    """Everything in the catalog, for these GPUs, or for every generation that is known."""
    columns = [_column(catalog, gpu) for gpu in gpus] or _generations(catalog)
    return arrange(columns, (_row_of_build(catalog, build, columns) for build in catalog.builds), chosen=bool(gpus))


def arrange(columns: Sequence[Column], rows: Iterable[Row], *, chosen: bool = False) -> Matrix:
    """A matrix with its rows in order: by package, newest release first, then by CUDA, platform and index."""
    by_build = sorted(rows, key=lambda row: (row.cuda or _NO_CUDA, row.platform, row.index), reverse=True)
    by_release = sorted(by_build, key=lambda row: order_of(row.version), reverse=True)
    return Matrix(tuple(columns), tuple(sorted(by_release, key=lambda row: row.package)), chosen)


def _column(catalog: Catalog, gpu: Gpu) -> Column:
    generation = catalog.generations[gpu.capability]
    return Column(gpu.name, gpu.capability, catalog.first_driver_for(gpu), generation.open_only)


def _generations(catalog: Catalog) -> list[Column]:
    return [Column(g.name, g.capability, g.first_driver, g.open_only) for g in catalog.generations.values()]


def _row_of_build(catalog: Catalog, build: Build, columns: Sequence[Column]) -> Row:
    linux = build.platform.startswith("linux")  # the driver numbers of the catalog are those of Linux
    toolkit = catalog.toolkit(build.cuda) if build.cuda else None
    floor = catalog.min_driver_for_cuda(build.cuda) if build.cuda and linux else None
    jit_floor = toolkit.first_driver if toolkit and linux else None
    verdicts = tuple(build.verdict(c.capability) if build.targets else Verdict.NO_GPU_CODE for c in columns)
    floors = [jit_floor if verdict is Verdict.JIT else floor for verdict in verdicts]
    return Row(
        package="torch",
        version=build.torch,
        variant=build.variant,
        cuda=build.cuda,
        platform=build.platform,
        tags=build.python_tags,
        index=build.index,
        confidence=build.confidence,
        source=build.source,
        driver=floor,
        verdicts=verdicts,
        drivers=tuple(_both(f, c) if v.runs else None for f, c, v in zip(floors, columns, verdicts, strict=True)),
    )


def _both(code: DriverRelease | None, column: Column) -> DriverRelease | None:
    """The driver must know the GPU and load the code; where one of the two is not known, the answer is not."""
    return max(code, column.driver) if code and column.driver else None


# --- asking it -------------------------------------------------------------------------------------------------------


def choose(matrix: Matrix, wanted: Filter) -> Matrix:
    """The rows that are wanted."""
    return replace(matrix, rows=tuple(row for row in matrix.rows if _fits(row, wanted, all if matrix.chosen else any)))


def answers(matrix: Matrix) -> tuple[Answer, ...]:
    """For each package and GPU: which releases run."""
    packages: dict[str, list[Row]] = {}
    for row in matrix.rows:
        packages.setdefault(row.package, []).append(row)
    return tuple(
        _answer(package, rows, position, column)
        for package, rows in packages.items()
        for position, column in enumerate(matrix.columns)
    )


def fits_python(tags: Sequence[str], python: str) -> bool:
    """Do wheels with these tags (``cp311``, ``cp39-abi3``, ``py3``) install on this Python (``3.11``, ``3.13t``)?"""
    accepted = _accepted(python)
    return any(f"{interpreter}-{abi}" in accepted for tag in tags for interpreter, abi in _spelled_out(tag))


def order_of(version: str) -> tuple[Version, str]:
    """Sorts releases; what is no version by the rules of Python packages comes first."""
    try:
        return Version(version), version
    except InvalidVersion:
        return _NO_VERSION, version


def command_of(row: Row) -> str:
    """What installs this build with pip."""
    index = "" if row.index == "PyPI" else f" --index-url {row.index}"
    return f"pip install {row.package}=={row.version}{index}"


_NO_CUDA, _NO_VERSION = CudaVersion(0, 0), Version("0.dev0")


def _answer(package: str, rows: Sequence[Row], position: int, column: Column) -> Answer:
    running = [row for row in rows if row.verdicts[position].runs]
    drivers = [driver for row in running if (driver := row.drivers[position])]
    first, last = (running[-1], running[0]) if running else (None, None)
    return Answer(package, column, first, last, rows[0].version, min(drivers, default=None))


def _fits(row: Row, wanted: Filter, every: Callable[[Iterable[bool]], bool]) -> bool:
    at_hand = wanted.driver
    fine = [at_hand is None or driver is None or driver <= at_hand for driver in row.drivers]
    if wanted.runs:
        fine = [ok and verdict.runs for ok, verdict in zip(fine, row.verdicts, strict=True)]
    return (
        every(fine)
        and (not wanted.packages or row.package in wanted.packages)
        and (wanted.cuda is None or row.cuda == wanted.cuda)
        and (wanted.platform is None or row.platform in (wanted.platform, "any"))
        and (wanted.python is None or fits_python(row.tags, wanted.python))
    )


@cache
def _accepted(python: str) -> frozenset[str]:
    major, _, minor = python.partition(".")
    version, threaded = (int(major), int(minor.rstrip("t"))), minor.endswith("t")
    abi = f"cp{version[0]}{version[1]}{'t' if threaded else ''}"
    found = (*cpython_tags(version, [abi], ["any"]), *compatible_tags(version, platforms=["any"]))
    return frozenset(f"{tag.interpreter}-{tag.abi}" for tag in found)


def _spelled_out(tag: str) -> Iterator[tuple[str, str]]:
    """``cp313t`` is the wheel tag cp313-cp313t, ``py2.py3`` is py2-none and py3-none."""
    interpreters, _, abi = tag.partition("-")
    for interpreter in interpreters.split("."):
        own = interpreter if interpreter.startswith("cp") else "none"
        yield interpreter.rstrip("t"), abi or own
