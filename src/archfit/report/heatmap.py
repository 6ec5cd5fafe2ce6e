"""The heat map: what runs where, as rows of verdicts by GPU; one record for the terminal, the picture and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from archfit.arch import ComputeCapability, Verdict
from archfit.catalog import Catalog, load_catalog
from archfit.coverage import PackageCoverage, judge_package, judge_subject
from archfit.model import Distribution, Environment, Known, Subject


@dataclass(frozen=True, slots=True)
class Look:
    """How a verdict is drawn: a sign, a letter where there are only ASCII signs, a style of rich, colours of a picture."""

    sign: str
    letter: str
    style: str
    fill: str
    ink: str


LOOKS = {
    Verdict.NATIVE: Look("●", "N", "green", "#1a7f37", "#ffffff"),
    Verdict.COMPATIBLE: Look("○", "C", "green", "#7ccf8c", "#0b2e13"),
    Verdict.JIT: Look("j", "J", "yellow", "#e3b341", "#3b2a00"),
    Verdict.PARTIAL: Look("!", "P", "yellow", "#e8833a", "#2f1500"),
    Verdict.NONE: Look("✗", "x", "red", "#c4314b", "#ffffff"),
    Verdict.NO_GPU_CODE: Look(" ", " ", "dim", "#d8dee4", "#57606a"),
}
SHOWN = tuple(verdict for verdict in LOOKS if verdict is not Verdict.NO_GPU_CODE)
"""What a legend explains, best first; a place without GPU code stays empty."""


@dataclass(frozen=True, slots=True)
class Column:
    """One GPU, or neighbours that nothing tells apart: `label` stands above (``120``, ``50-75``), `name` is said in full.

    `here` is True for a GPU of this machine.
    """

    label: str
    name: str = ""
    here: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One library, package or release: a verdict for each column, and what to say of each (nothing where empty)."""

    label: str
    cells: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Rows and columns; `corner` says what the labels of the columns are: ``sm_``."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    corner: str = "sm_"

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Those that occur, best first, without the empty one."""
        seen = {cell for row in self.rows for cell in row.cells}
        return tuple(verdict for verdict in SHOWN if verdict in seen)

    def merged(self) -> HeatMap:
        """Neighbouring columns of which every row says the same become one, named from the first to the last."""
        groups: list[list[int]] = []
        for number, column in enumerate(self.columns):
            last = groups[-1][-1] if groups else None
            same = last is not None and self.columns[last].here is column.here
            if same and all(row.cells[number] is row.cells[last or 0] for row in self.rows):
                groups[-1].append(number)
            else:
                groups.append([number])
        rows = tuple(replace(r, cells=tuple(r.cells[g[0]] for g in groups), notes=()) for r in self.rows)
        return replace(self, columns=tuple(self._merge(group) for group in groups), rows=rows)

    def _merge(self, group: Sequence[int]) -> Column:
        first, last = self.columns[group[0]], self.columns[group[-1]]
        return first if first is last else Column(f"{first.label}-{last.label}", here=first.here)


def columns_of(devices: Sequence[ComputeCapability], here: Sequence[ComputeCapability] = ()) -> tuple[Column, ...]:
    """A column for each GPU by its compute capability; those of `here` are in this machine."""
    generations = load_catalog().generations
    return tuple(
        Column(d.sm.removeprefix("sm_"), generations[d].name if d in generations else d.sm, d in here) for d in devices
    )


def map_subject(subject: Subject, devices: Sequence[ComputeCapability], paths: Sequence[str] | None = None) -> HeatMap:
    """Library by library what was scanned, or only the libraries at `paths`."""
    judged = [judge_subject(subject, device, load_catalog().loading_of) for device in devices]
    shown = [lib.path for lib in subject.libraries if lib.containers] if paths is None else paths
    rows = [_library_row(path, judged) for path in shown]
    return HeatMap(columns_of(devices), tuple(row for row in rows if set(row.cells) != {Verdict.NO_GPU_CODE}))


def map_subjects(subjects: Sequence[Subject], devices: Sequence[ComputeCapability]) -> HeatMap:
    """Everything that was scanned in one map; where it is more than one thing, each library is called by its own."""
    if len(subjects) == 1:
        return map_subject(subjects[0], devices)
    maps = [(subject, map_subject(subject, devices)) for subject in subjects]
    rows = tuple(replace(row, label=f"{s.file or s.name}: {row.label}") for s, heat in maps for row in heat.rows)
    return HeatMap(columns_of(devices), rows)


def map_environment(env: Environment, devices: Sequence[ComputeCapability] = (), *, libraries: bool = False) -> HeatMap:
    """Package by package (or library by library) an environment, on `devices` or else on the GPUs that it is judged for."""
    here = [gpu.capability for gpu in env.devices]
    wanted = tuple(devices) or tuple(here)
    rows: list[Row] = []
    for distribution in sorted(env.distributions, key=_place):
        judged = [_judge(env, distribution, device, load_catalog()) for device in wanted]
        if {package.verdict for package in judged} <= {Verdict.NO_GPU_CODE}:
            continue
        if libraries:
            rows += [_library_row(lib.path, judged) for lib in distribution.libraries if lib.containers]
        else:
            notes = tuple(", ".join(package.decided_by) for package in judged)
            rows.append(Row(str(distribution), tuple(package.verdict for package in judged), notes))
    return HeatMap(columns_of(wanted, here), tuple(row for row in rows if set(row.cells) != {Verdict.NO_GPU_CODE}))


def _place(distribution: Distribution) -> tuple[bool, bool]:
    """Torch first, what NVIDIA sends along last."""
    return distribution.name.startswith("nvidia-"), distribution.name != "torch"


def _judge(
    env: Environment, distribution: Distribution, device: ComputeCapability, catalog: Catalog
) -> PackageCoverage:
    cuda = env.torch_cuda.value if isinstance(env.torch_cuda, Known) else None
    return judge_package(distribution.libraries, device, catalog.loading_of(distribution.name), cuda=cuda, toolkit=cuda)


def _library_row(path: str, judged: Sequence[PackageCoverage]) -> Row:
    coverages = [package.libraries[path] for package in judged]
    notes = tuple(" ".join(f"{v.value} {n}" for v, n in coverage.counts.items()) for coverage in coverages)
    return Row(path, tuple(coverage.verdict for coverage in coverages), notes)
