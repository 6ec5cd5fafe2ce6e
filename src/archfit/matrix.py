"""Which release of a package runs on which GPU: the rows of the catalog times GPUs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from packaging.tags import compatible_tags, cpython_tags
from packaging.version import InvalidVersion, Version

from archfit.arch import ComputeCapability, CudaVersion, Verdict
from archfit.catalog import Build, Catalog
from archfit.catalog.drivers import branch_of, is_windows
from archfit.catalog.wheels import Wheel
from archfit.model import DriverRelease, Gpu


@dataclass(frozen=True, slots=True)
class Column:
    """A GPU: `label` as it was asked for or its generation, `driver` the oldest that knows it (None: not known), of Linux;
    `windows_driver` that of Windows.

    `last_branch` is the last driver branch that knows it (None: support goes on); on Linux only the open kernel modules
    drive it (`open_module`), or only NVIDIA's proprietary ones (`closed_module`).
    """

    label: str
    capability: ComputeCapability
    driver: DriverRelease | None = None
    last_branch: int | None = None
    open_module: bool = False
    closed_module: bool = False
    windows_driver: DriverRelease | None = None

    def driver_on(self, platform: str) -> DriverRelease | None:
        """The oldest driver of a platform that knows it."""
        return self.windows_driver if is_windows(platform) else self.driver


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

    @property
    def driven(self) -> bool:
        """Does it hold anything that a driver would load?"""
        return any(verdict is not Verdict.NO_GPU_CODE for verdict in self.verdicts)


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
    """Which releases of a package run on all GPUs of a matrix at once, on `platforms`.

    `first` and `last` are the oldest and the newest build that does so best; `verdict` says how (native or compatible, jit,
    partial; none: none does). `newest` is the newest release there is: another one than that of `last` means that support has
    ended. `driver` is the oldest driver with which one of them runs.
    """

    package: str
    verdict: Verdict
    platforms: tuple[str, ...]
    first: Row | None
    last: Row | None
    newest: str
    driver: DriverRelease | None


# --- making one ------------------------------------------------------------------------------------------------------


def packages_of(catalog: Catalog) -> tuple[str, ...]:
    """Every package that the catalog tells of."""
    return tuple(sorted({*catalog.packages, *({"torch"} if catalog.builds else ())}))


def matrix_of(
    catalog: Catalog,
    gpus: Sequence[Gpu] = (),
    packages: Sequence[str] = (),
    on_row: Callable[[int, int], None] = lambda done, total: None,
) -> Matrix:
    """What the catalog tells of these packages (all, if none is named), for these GPUs or every generation that is known.

    A wheel that was read stands for the row that only tells of it. `on_row` is told how many rows are judged, of how many.
    """
    columns = [_column(catalog, gpu) for gpu in gpus] or _generations(catalog)
    wheels = [wheel for wheel in catalog.wheels if not packages or wheel.package in packages]
    builds = catalog.builds if not packages or "torch" in packages else ()
    rows = [_row_of_build(catalog, build, columns) for build in builds if build.wheel is None]
    for done, wheel in enumerate(wheels, 1):
        rows.append(_row_of_wheel(catalog, wheel, columns))
        on_row(done, len(wheels))
    return arrange(columns, rows, chosen=bool(gpus))


def arrange(columns: Sequence[Column], rows: Iterable[Row], *, chosen: bool = False) -> Matrix:
    """A matrix with its rows in order: by package, newest release first, then newest CUDA, Linux, what PyPI has."""
    by_place = sorted(rows, key=lambda row: (_PLATFORMS.get(row.platform, 9), row.index != "PyPI", row.index))
    by_cuda = sorted(by_place, key=lambda row: row.cuda or _NO_CUDA, reverse=True)
    by_release = sorted(by_cuda, key=lambda row: order_of(row.version), reverse=True)
    return Matrix(tuple(columns), tuple(sorted(by_release, key=lambda row: row.package)), chosen)


def _column(catalog: Catalog, gpu: Gpu) -> Column:
    generation = catalog.generations[gpu.capability]
    return Column(
        label=gpu.name,
        capability=gpu.capability,
        driver=catalog.first_driver_for(gpu),
        last_branch=generation.last_branch,
        open_module=generation.open_only,
        closed_module=generation.closed_only,
        windows_driver=catalog.first_driver_for(gpu, "win_amd64"),
    )


def _generations(catalog: Catalog) -> list[Column]:
    return [_column(catalog, Gpu(row.name, row.capability, "catalog")) for row in catalog.generations.values()]


def _row_of_build(catalog: Catalog, build: Build, columns: Sequence[Column]) -> Row:
    toolkit = catalog.toolkit(build.cuda) if build.cuda else None
    floor = catalog.min_driver_for_cuda(build.cuda, build.platform) if build.cuda else None
    jit_floor = catalog.driver_for_ptx(toolkit.ptx_isa, build.platform) if toolkit else None
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
        drivers=_drivers(build.platform, floors, columns, verdicts),
    )


def _row_of_wheel(catalog: Catalog, wheel: Wheel, columns: Sequence[Column]) -> Row:
    cuda = wheel.cuda or (CudaVersion(wheel.cuda_major, 0) if wheel.cuda_major else None)
    verdicts = tuple(wheel.verdict(column.capability) for column in columns)
    floors = [catalog.min_driver_of(wheel, column.capability) for column in columns]
    return Row(
        package=wheel.package,
        version=wheel.version,
        variant=f"cu{wheel.cuda.major}{wheel.cuda.minor}" if wheel.cuda else "",
        cuda=wheel.cuda,
        platform=wheel.platform,
        tags=wheel.python_tags,
        index=wheel.index,
        confidence=wheel.confidence,
        source=", ".join(filter(None, (wheel.source, wheel.file, wheel.read))),
        driver=catalog.min_driver_for_cuda(cuda, wheel.platform) if cuda else None,
        verdicts=verdicts,
        drivers=_drivers(wheel.platform, floors, columns, verdicts),
    )


def _drivers(
    platform: str, floors: Sequence[DriverRelease | None], columns: Sequence[Column], verdicts: Sequence[Verdict]
) -> tuple[DriverRelease | None, ...]:
    """The driver must know the GPU and load the code; where one of the two is not known, the answer is not."""
    knowing = [column.driver_on(platform) for column in columns]
    return tuple(
        max(loads, knows) if verdict.runs and loads and knows else None
        for loads, knows, verdict in zip(floors, knowing, verdicts, strict=True)
    )


# --- asking it -------------------------------------------------------------------------------------------------------


def choose(matrix: Matrix, wanted: Filter) -> Matrix:
    """The rows that are wanted."""
    every = all if matrix.chosen else any
    return replace(matrix, rows=tuple(row for row in matrix.rows if _fits(row, matrix.columns, wanted, every)))


def answers(matrix: Matrix, among: Matrix, packages: Sequence[str] = ()) -> tuple[Answer, ...]:
    """Which builds of a matrix run: for `packages`, or for each of which it has rows.

    `among` has all builds there are, for the newest release of a package.
    """
    newest: dict[str, str] = {}
    for row in among.rows:
        newest.setdefault(row.package, row.version)
    found: dict[str, list[Row]] = {name: [] for name in packages}
    for row in matrix.rows:
        found.setdefault(row.package, []).append(row)
    return tuple(answer for name, rows in found.items() for answer in _answers(name, rows, newest.get(name, "")))


def newest_builds(matrix: Matrix) -> Matrix:
    """One build of each package: of its newest release the first in order."""
    first: dict[str, Row] = {}
    for row in matrix.rows:
        first.setdefault(row.package, row)
    return replace(matrix, rows=tuple(first.values()))


def undrivable(columns: Sequence[Column]) -> bool:
    """Can no single driver installation on Linux serve all of these GPUs?"""
    modules = any(c.open_module for c in columns) and any(c.closed_module for c in columns)
    first = max((c.driver.branch for c in columns if c.driver), default=0)
    return modules or any(c.last_branch and c.last_branch < first for c in columns)


def newest_running(matrix: Matrix) -> dict[str, tuple[Row | None, ...]]:
    """For each package the newest build that runs on each GPU, by machine code if there is any that does."""
    found: dict[str, list[Row | None]] = {}
    for row in matrix.rows:
        best = found.setdefault(row.package, [None] * len(matrix.columns))
        for position, verdict in enumerate(row.verdicts):
            known = best[position]
            if verdict.runs and (known is None or _rank(verdict) < _rank(known.verdicts[position])):
                best[position] = row
    return {package: tuple(rows) for package, rows in found.items()}


def driver_of(row: Row) -> DriverRelease | None:
    """The oldest driver with which a build runs on all GPUs; None where nobody knows."""
    return max((d for d in row.drivers if d), default=None) if all(row.drivers) else None


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


_PLATFORMS = {"linux_x86_64": 0, "any": 1, "linux_aarch64": 2, "win_amd64": 3}
_NO_CUDA, _NO_VERSION = CudaVersion(0, 0), Version("0.dev0")


def _answers(package: str, rows: Sequence[Row], newest: str) -> Iterator[Answer]:
    """One answer for the platforms that share it and the numbers of drivers; one alone where nothing runs anywhere."""
    platforms = dict.fromkeys(row.platform for row in rows)
    found: dict[tuple[str, str, Verdict, bool], Answer] = {}
    for platform in platforms:
        answer = _answer(package, [row for row in rows if row.platform == platform], newest)
        if answer.first and answer.last:
            key = (answer.first.version, answer.last.version, answer.verdict, is_windows(platform))
            same = found.get(key, replace(answer, platforms=()))
            driver = min((d for d in (same.driver, answer.driver) if d), default=None)
            found[key] = replace(same, platforms=(*same.platforms, platform), driver=driver)
    yield from found.values() or [Answer(package, Verdict.NONE, (), None, None, newest, None)]


def _answer(package: str, rows: Sequence[Row], newest: str) -> Answer:
    ranked = [(max(map(_rank, row.verdicts)), row) for row in rows]
    best = min(rank for rank, _ in ranked)
    running = [row for rank, row in ranked if rank == best < len(_RANKS)]
    if not running:
        return Answer(package, Verdict.NONE, (), None, None, newest, None)
    driver = min((d for row in running if (d := driver_of(row))), default=None)
    return Answer(package, _RANKS[best], (), running[-1], running[0], newest, driver)


_RANKS = (Verdict.NATIVE, Verdict.JIT, Verdict.PARTIAL)


def _rank(verdict: Verdict) -> int:
    """How well it runs, 0 best; machine code of the same generation is as good as that for exactly this GPU."""
    verdict = Verdict.NATIVE if verdict is Verdict.COMPATIBLE else verdict
    return _RANKS.index(verdict) if verdict in _RANKS else len(_RANKS)


def _serves(at_hand: DriverRelease, needed: DriverRelease | None, column: Column) -> bool:
    """Numbers of drivers differ between systems, their branches do not: R550 knows no RTX 50 anywhere."""
    branch = branch_of(at_hand)
    if column.last_branch and branch > column.last_branch:
        return False
    knows = column.driver is None or column.driver.branch <= branch
    return knows and (needed is None or needed <= at_hand)


def _fits(row: Row, columns: Sequence[Column], wanted: Filter, every: Callable[[Iterable[bool]], bool]) -> bool:
    at_hand = wanted.driver
    cells = zip(row.verdicts, row.drivers, columns, strict=True)
    fine = [
        at_hand is None or _serves(at_hand, driver, column) if verdict.runs else not wanted.runs
        for verdict, driver, column in cells
    ]
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
