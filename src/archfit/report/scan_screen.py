"""``archfit scan`` in the terminal: a grid of libraries and GPUs, or a list where the terminal is too narrow for one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.padding import Padding
from rich.table import Table
from rich.text import Text as Styled

from archfit.arch import ComputeCapability, Verdict
from archfit.catalog import load_catalog
from archfit.coverage import PackageCoverage, base_targets_of, judge_subject, lacking
from archfit.model import Compiler, Coverage, Library, Subject
from archfit.report.text import Screen

_LETTERS = {
    Verdict.NATIVE: ("●", "N", "green"),
    Verdict.COMPATIBLE: ("○", "C", "green"),
    Verdict.JIT: ("j", "J", "yellow"),
    Verdict.PARTIAL: ("!", "P", "yellow"),
    Verdict.NONE: ("✗", "x", "red"),
    Verdict.NO_GPU_CODE: (" ", " ", "dim"),
}
_SHOWN = (Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT, Verdict.PARTIAL, Verdict.NONE)
_CELL_COLUMNS, _NAME_COLUMNS = 4, 26

Kernels = Mapping[str, Sequence[str]]
"""By path of a library: readable names of kernels in the containers that lack a GPU."""


def show_subject(
    screen: Screen, subject: Subject, devices: Sequence[ComputeCapability], *, verbose: bool, kernels: Kernels
) -> None:
    """What one thing holds, and what of it runs where."""
    judged = {device: judge_subject(subject, device, load_catalog().loading_of) for device in devices}
    tools = load_catalog().is_tool
    with_code = [
        lib
        for lib in subject.libraries
        if lib.containers and (verbose or not tools(lib.name) or subject.kind == "library")
    ]
    _heading(screen, subject, with_code)
    if with_code:
        wide = screen.out.width >= _NAME_COLUMNS + _CELL_COLUMNS * len(devices)
        rows = [(lib, [judged[d].libraries[lib.path] for d in devices]) for lib in with_code]
        rows = [row for row in rows if any(c.verdict is not Verdict.NO_GPU_CODE for c in row[1])]
        (_grid if wide else _list)(screen, rows, judged)
        _legend(screen, rows, judged)
    for library in with_code if verbose or len(with_code) == 1 else ():
        _details(screen, library)
    if verbose:
        _lacking(screen, subject, with_code, devices, kernels)
    for compiler in subject.compilers:
        _compiler(screen, compiler, devices)
    for library in with_code:
        for odd in library.odd:
            screen.hanging(screen.mark("warn"), f"{library.path}: {screen.messages.text(odd)}")
    for name, why in subject.unreadable:
        screen.hanging(screen.mark("bad"), f"{name}: {screen.messages.text(why)}")


def _heading(screen: Screen, subject: Subject, with_code: Sequence[Library]) -> None:
    words = {
        "files": len(subject.libraries) + len(subject.compilers),
        "with_code": len(with_code),
        "containers": f"{sum(c.count for lib in with_code for c in lib.containers):,}",
        "objects": f"{sum(c.count * len(c.objects) for lib in with_code for c in lib.containers):,}",
    }
    kind = screen.messages.ui(f"scan-kind-{subject.kind}")
    name = subject.name if subject.file in ("", subject.name) or subject.kind != "requirement" else subject.file
    screen.out.print(Styled.assemble((name, "bold"), (f"  {kind}", "dim")), soft_wrap=True)
    screen.out.print(screen.messages.ui("scan-sum" if with_code else "scan-nothing", **words), style="dim")
    if subject.cached:
        screen.out.print(screen.messages.ui("scan-cached"), style="dim")


def _grid(
    screen: Screen,
    rows: Sequence[tuple[Library, Sequence[Coverage]]],
    judged: Mapping[ComputeCapability, PackageCoverage],
) -> None:
    table = Table(box=None, padding=(0, 0), pad_edge=False, collapse_padding=True)
    table.add_column("", overflow="ellipsis", no_wrap=True, max_width=screen.out.width - _CELL_COLUMNS * len(judged))
    for device in judged:
        table.add_column(f"{device.major}{device.minor}", justify="right", width=_CELL_COLUMNS, no_wrap=True)
    for library, coverages in rows:
        table.add_row(library.name, *(_cell(screen, c.verdict) for c in coverages))
    if len(rows) > 1:
        verdicts = [_cell(screen, package.verdict) for package in judged.values()]
        table.add_row(Styled(screen.messages.ui("scan-whole"), style="bold"), *verdicts)
    screen.out.print(table)


def _list(
    screen: Screen,
    rows: Sequence[tuple[Library, Sequence[Coverage]]],
    judged: Mapping[ComputeCapability, PackageCoverage],
) -> None:
    for library, coverages in rows:
        screen.out.print(library.name, soft_wrap=True)
        _by_verdict(screen, list(zip(judged, (c.verdict for c in coverages), strict=True)))
    if len(rows) > 1:
        screen.out.print(screen.messages.ui("scan-whole"), style="bold")
        _by_verdict(screen, [(device, package.verdict) for device, package in judged.items()])


def _by_verdict(screen: Screen, pairs: Sequence[tuple[ComputeCapability, Verdict]]) -> None:
    for verdict in _SHOWN:
        devices = [f"{d.major}{d.minor}" for d, v in pairs if v is verdict]
        if devices:
            screen.out.print(Padding(Styled.assemble(_cell(screen, verdict), "  ", " ".join(devices)), (0, 0, 0, 2)))


def _cell(screen: Screen, verdict: Verdict) -> Styled:
    pretty, plain, style = _LETTERS[verdict]
    return Styled(pretty if screen.unicode else plain, style=style)


def _legend(
    screen: Screen,
    rows: Sequence[tuple[Library, Sequence[Coverage]]],
    judged: Mapping[ComputeCapability, PackageCoverage],
) -> None:
    seen = {c.verdict for _, coverages in rows for c in coverages} | {p.verdict for p in judged.values()}
    parts: list[Styled | str] = []
    for verdict in (v for v in _SHOWN if v in seen):
        parts += [_cell(screen, verdict), f" {screen.messages.ui(f'scan-{verdict.value}')}", "   "]
    screen.out.print(Styled.assemble(*parts[:-1]), style="dim")


def _details(screen: Screen, library: Library) -> None:
    objects = [o for c in library.containers for o in c.objects]
    ptx = dict.fromkeys(f"{o.target} (ISA {o.isa})" for o in objects if o.kind == "ptx")
    lto = dict.fromkeys(str(o.target or o.kind) for o in objects if o.kind in ("lto", "tile", "index", "unknown"))
    sections = dict.fromkeys(c.section for c in library.containers)
    packed = sorted({o.compression for o in objects if o.compression})
    base = " ".join(t for t in base_targets_of(library) if t.startswith("sm_"))
    lines = [
        ("scan-sass", base),
        ("scan-ptx", ", ".join(ptx)),
        ("scan-other", ", ".join(lto)),
        ("scan-sections", " ".join(sections)),
        ("scan-packed", ", ".join(packed)),
    ]
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
        for device in devices:
            short = lacking(library, device, subject.cuda)
            total = sum(c.count for c in library.containers)
            count = sum(c.count for c in short)
            if short and count < total:
                targets = dict.fromkeys(" ".join(str(o.target) for o in c.objects if o.target) for c in short)
                words = {"library": library.name, "count": count, "total": total, "sm": device.sm}
                screen.hanging(screen.mark("warn"), screen.messages.ui("scan-lacking", **words))
                screen.out.print(Padding(Styled("; ".join(targets), style="dim"), (0, 0, 0, 4)))
        names = kernels.get(library.path, ())
        if names:
            text = screen.messages.labelled("scan-kernels", ", ".join(names))
            screen.out.print(Padding(Styled(text, style="dim"), (0, 0, 0, 4)))


def _compiler(screen: Screen, compiler: Compiler, devices: Sequence[ComputeCapability]) -> None:
    known = [device for device in devices if compiler.knows(device)]
    values = {
        "path": compiler.path,
        "cuda": str(compiler.release or "?"),
        "targets": " ".join(f"{d.major}{d.minor}" for d in known) or "-",
    }
    key = "scan-libdevice" if compiler.kind == "libdevice" else "scan-compiler"
    screen.hanging(screen.mark("good" if known else "warn"), screen.messages.ui(key, **values))
