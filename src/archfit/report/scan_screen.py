"""``archfit scan`` in the terminal: which GPU is served by what, first for the whole, then library by library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text as Styled

from archfit.arch import ComputeCapability, Verdict
from archfit.catalog import load_catalog
from archfit.coverage import base_targets_of, judge_subject, lacking
from archfit.model import Compiler, Container, Library, Subject
from archfit.report.build_screen import show_build
from archfit.report.grid import draw_grid, draw_legend, sign
from archfit.report.heatmap import LOOKS, SHOWN, map_subject
from archfit.report.screen import Screen

_GAP = 2

Kernels = Mapping[str, Sequence[str]]
"""By path of a library: readable names of kernels in the containers that lack a GPU."""


def show_subject(
    screen: Screen, subject: Subject, devices: Sequence[ComputeCapability], *, verbose: bool, kernels: Kernels
) -> None:
    """What one thing holds, and what of it runs where."""
    if subject.build:
        show_build(screen, subject, subject.build, devices)
        return
    judged = {device: judge_subject(subject, device, load_catalog().loading_of) for device in devices}
    shown = [lib for lib in subject.libraries if lib.containers and (verbose or _counts(lib, subject))]
    heat = map_subject(subject, devices, [lib.path for lib in shown])
    _heading(screen, subject, len(shown))
    if heat.rows:
        explained = _by_verdict(screen, {device: package.verdict for device, package in judged.items()})
        if len(heat.rows) > 1:
            screen.out.print()
            draw_grid(screen, replace(heat, rows=tuple(replace(r, label=_name(r.label)) for r in heat.rows)))
        unexplained = {*heat.verdicts, *(p.verdict for p in judged.values())} - explained - {Verdict.NO_GPU_CODE}
        if unexplained:
            screen.out.print()
            draw_legend(screen, unexplained)
    detailed = shown if verbose or len(shown) == 1 else []
    for library in detailed:
        _details(screen, library)
    if detailed:
        screen.say(screen.messages.ui("code-words"), "dim", indent=2)
    if verbose:
        _lacking(screen, subject, shown, devices, kernels)
    _compilers(screen, subject.compilers, devices)
    _remarks(screen, subject)


def _remarks(screen: Screen, subject: Subject) -> None:
    """What was odd in a file, and what could not be read."""
    odd = [(lib.path, text) for lib in subject.libraries for text in lib.odd]
    if odd or subject.unreadable:
        screen.out.print()
    for mark, rows in (("warn", odd), ("bad", subject.unreadable)):
        for name, text in rows:
            screen.hanging(
                screen.mark(mark), screen.messages.ui("labelled", label=name, text=screen.messages.text(text)), indent=0
            )


def _counts(library: Library, subject: Subject) -> bool:
    """Tools that carry GPU code for themselves are shown only where nothing else was asked for."""
    return subject.kind == "library" or not load_catalog().is_tool(library.name)


def _heading(screen: Screen, subject: Subject, with_code: int) -> None:
    libraries = [lib for lib in subject.libraries if lib.containers]
    words = {
        "files": f"{len(subject.libraries) + len(subject.compilers):,}",
        "with_code": f"{with_code:,}",
        "containers": f"{sum(c.count for lib in libraries for c in lib.containers):,}",
        "objects": f"{sum(c.count * len(c.objects) for lib in libraries for c in lib.containers):,}",
    }
    name = subject.file if subject.kind == "requirement" else subject.name
    kind = screen.messages.ui(f"scan-kind-{subject.kind}")
    beside = cell_len(name) + _GAP + cell_len(kind) <= screen.out.width
    screen.out.print(
        Styled(name, style="bold"), Styled(kind, style="dim"), sep="  " if beside else "\n", soft_wrap=True
    )
    screen.say(screen.messages.ui("scan-sum" if libraries else "scan-nothing", **words), "dim")
    if subject.cached:
        screen.say(screen.messages.ui("scan-cached"), "dim")


def _by_verdict(screen: Screen, verdicts: Mapping[ComputeCapability, Verdict]) -> set[Verdict]:
    """A line for each verdict that there is, with the GPUs that get it and, where there is room, with what it means.

    Returns those whose meaning was said.
    """
    names = {
        verdict: " ".join(device.sm for device, v in verdicts.items() if v is verdict)
        for verdict in SHOWN
        if verdict in verdicts.values()
    }
    meanings = {verdict: screen.messages.ui(f"scan-{verdict.value}") for verdict in names}
    widest = sum(max(map(cell_len, column.values())) for column in (names, meanings))
    beside = screen.out.width >= 2 + len("x compatible") + widest + 2 * _GAP
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for verdict in names:
        name = Styled.assemble(sign(screen, verdict), (f" {verdict.value}", LOOKS[verdict].style))
        grid.add_row(name, names[verdict], *([Styled(meanings[verdict], style="dim")] if beside else []))
    screen.out.print(Padding(grid, (0, 0, 0, 2)))
    return set(names) if beside else set()


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _details(screen: Screen, library: Library) -> None:
    objects = [o for c in library.containers for o in c.objects]
    ptx = dict.fromkeys(f"{o.target} (ISA {o.isa})" for o in objects if o.kind == "ptx")
    other = dict.fromkeys(str(o.target or o.kind) for o in objects if o.kind in ("lto", "tile", "index", "unknown"))
    lines = [
        ("scan-sass", " ".join(t for t in base_targets_of(library) if t.startswith("sm_"))),
        ("scan-ptx", ", ".join(ptx)),
        ("scan-other", ", ".join(other)),
        ("scan-sections", " ".join(dict.fromkeys(c.section for c in library.containers))),
        ("scan-packed", ", ".join(sorted({o.compression for o in objects if o.compression}))),
    ]
    screen.out.print()
    screen.out.print(Styled(library.path, style="bold"), soft_wrap=True)
    for key, text in lines:
        if text:
            screen.out.print(Padding(Styled(screen.messages.labelled(key, text), style="dim"), (0, 0, 0, 2)))


def _lacking(
    screen: Screen,
    subject: Subject,
    libraries: Iterable[Library],
    devices: Sequence[ComputeCapability],
    kernels: Kernels,
) -> None:
    """Which containers fall short of a GPU that others of the library serve, and whose kernels they are."""
    for library in libraries:
        total = sum(c.count for c in library.containers)
        falling: dict[tuple[Container, ...], list[ComputeCapability]] = {}
        for device in devices:
            short = lacking(library, device, subject.cuda)
            if 0 < sum(c.count for c in short) < total:
                falling.setdefault(short, []).append(device)
        if falling:
            screen.out.print()
        for short, lacked in falling.items():
            targets = dict.fromkeys(" ".join(str(o.target) for o in c.objects if o.target) for c in short)
            words = {"library": library.name, "count": sum(c.count for c in short), "total": total}
            text = screen.messages.ui("scan-lacking", **words, sm=" ".join(device.sm for device in lacked))
            screen.hanging(screen.mark("warn"), text, indent=0)
            screen.out.print(Padding(Styled("; ".join(targets), style="dim"), (0, 0, 0, 2)))
        if names := kernels.get(library.path, ()):
            text = screen.messages.labelled("scan-kernels", ", ".join(names))
            screen.out.print(Padding(Styled(text, style="dim"), (0, 0, 0, 2)))


def _compilers(screen: Screen, compilers: Sequence[Compiler], devices: Sequence[ComputeCapability]) -> None:
    """What can be compiled for at run time."""
    if compilers:
        screen.out.print()
    for compiler in compilers:
        known = [device for device in devices if compiler.knows(device)]
        words = {
            "path": compiler.path,
            "cuda": str(compiler.release or "?"),
            "targets": " ".join(map(_sm, _runs(known or devices, devices))),
        }
        every = "scan-libdevice" if compiler.kind == "libdevice" else None
        key = every or ("scan-compiler" if known else "scan-compiler-none")
        screen.hanging(screen.mark("good" if known else "warn"), screen.messages.ui(key, **words), indent=0)


def _runs(some: Sequence[ComputeCapability], devices: Sequence[ComputeCapability]) -> list[list[ComputeCapability]]:
    """Neighbours among `devices` together."""
    runs: list[list[ComputeCapability]] = []
    for device in some:
        if runs and devices.index(device) == devices.index(runs[-1][-1]) + 1:
            runs[-1].append(device)
        else:
            runs.append([device])
    return runs


def _sm(group: Sequence[ComputeCapability]) -> str:
    first, last = (device.sm.removeprefix("sm_") for device in (group[0], group[-1]))
    return f"sm_{first}" if len(group) == 1 else f"sm_{first}-{last}"
