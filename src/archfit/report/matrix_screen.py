"""``archfit matrix`` in the terminal and in Markdown: the answer in a sentence, then build by build."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.measure import Measurement
from rich.table import Table
from rich.text import Text as Styled

from archfit.arch import Verdict
from archfit.catalog import load_catalog
from archfit.matrix import Answer, Matrix, Row, driver_of, newest_running, undrivable
from archfit.matrix import Column as GpuColumn
from archfit.model import DriverRelease
from archfit.report.grid import draw_legend, sign
from archfit.report.heatmap import LOOKS, Column, HeatMap
from archfit.report.heatmap import Row as HeatRow
from archfit.report.matrix_page import PLATFORMS, said_of_tags
from archfit.report.messages import Messages
from archfit.report.screen import Screen

_COLUMNS = ("cuda", "driver", "python", "platform", "index", "confidence")
_FEWER, _FEWEST = ("cuda", "driver", "platform", "confidence"), ("driver", "confidence")


@dataclass(frozen=True, slots=True)
class Line:
    """Builds that differ only in what they are for: one line, with all their platforms."""

    row: Row
    platforms: tuple[str, ...]


def lines_of(rows: Sequence[Row]) -> list[Line]:
    """Neighbours that say the same but for their platform become one line."""
    groups: dict[tuple[object, ...], list[str]] = {}
    first: dict[tuple[object, ...], Row] = {}
    for row in rows:
        key = (row.package, row.version, row.cuda, row.index, row.tags, row.verdicts, row.drivers, row.confidence)
        first.setdefault(key, row)
        groups.setdefault(key, []).append(PLATFORMS.get(row.platform, row.platform))
    return [Line(first[key], tuple(dict.fromkeys(platforms))) for key, platforms in groups.items()]


def show_matrix(
    screen: Screen, matrix: Matrix, answers: Sequence[Answer], driver: DriverRelease | None, *, verbose: bool = False
) -> None:
    """What runs, in sentences, and every build; `driver` is the one at hand, `verbose` adds where each row comes from."""
    _show_gpus(screen, matrix, driver)
    for answer in answers if matrix.chosen else ():
        screen.hanging(screen.mark(_mark(answer)), say_answer(screen.messages, answer, matrix), indent=0)
    if not matrix.rows:
        screen.say(screen.messages.page("matrix-none"), "yellow")
        return
    lines = lines_of(matrix.rows)
    screen.out.print(_table(screen, matrix, lines))
    if matrix.chosen:
        draw_legend(screen, {verdict for line in lines for verdict in line.row.verdicts})
    if verbose:
        _show_sources(screen, lines)


def show_summary(screen: Screen, matrix: Matrix, answers: Sequence[Answer], driver: DriverRelease | None) -> None:
    """All packages: on GPUs that were asked for the releases that run, else the newest release for each generation."""
    if matrix.chosen:
        _show_gpus(screen, matrix, driver)
        for answer in answers:
            screen.hanging(screen.mark(_mark(answer)), say_answer(screen.messages, answer, matrix), indent=0)
        return
    screen.say(screen.messages.page("newest-that-runs"), "bold")
    table = _plain_table(screen)
    table.show_header = False
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for package, rows in newest_running(matrix).items():
        table.add_row(package, _ranges(screen, rows, matrix))
    screen.out.print(table)


def _ranges(screen: Screen, rows: Sequence[Row | None], matrix: Matrix) -> Styled:
    """``5.0-7.0 2.14.1  7.5-12.1 2.15.0``: neighbouring generations with the same newest release stand together."""
    found = Styled()
    for version, group in groupby(range(len(rows)), key=lambda n: (row := rows[n]) and row.version):
        positions = list(group)
        found.append(_span(matrix, positions[0], positions[-1]), "dim").append(" ").append(
            version or "-", "green" if version else "red"
        ).append("  ")
    return found


def say_answer(messages: Messages, answer: Answer, matrix: Matrix) -> str:
    """Which releases of a package run, in a sentence or two."""
    gpus = " + ".join(column.label for column in matrix.columns)
    if answer.first is None or answer.last is None:
        return messages.page("runs-nowhere", package=answer.package, gpu=gpus)
    platforms = messages.page("listed").join(PLATFORMS.get(name, name) for name in answer.platforms)
    values = {"package": answer.package, "gpu": gpus, "first": answer.first.version, "platforms": platforms}
    one = answer.first.version == answer.last.version
    said = [
        messages.page("runs-one", **values) if one else messages.page("runs-range", **values, last=answer.last.version),
        messages.page("runs-driver", driver=answer.driver) if answer.driver else "",
        messages.page("runs-ended", newest=answer.newest) if answer.newest != answer.last.version else "",
        messages.page(f"runs-{answer.verdict.value}") if answer.verdict is not Verdict.NATIVE else "",
    ]
    return messages.page("and-then").join(filter(None, said))


def render_matrix_markdown(messages: Messages, matrix: Matrix, answers: Sequence[Answer]) -> str:
    """The same to paste into an issue, with the source of every row."""
    heads = [messages.page(f"column-{name}") for name in ("build", *_COLUMNS, "source")]
    heads[1:1] = [column.label for column in matrix.columns]
    said = [f"- {say_answer(messages, answer, matrix)}" for answer in answers] if matrix.chosen else []
    rows = [
        "| "
        + " | ".join(cell.replace("|", "\\|") for cell in _markdown_cells(messages, line, chosen=matrix.chosen))
        + " |"
        for line in lines_of(matrix.rows)
    ]
    table = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows]
    return "\n".join([f"# {messages.page('title-matrix')}", "", *said, *([""] if said else []), *table, ""])


def heat_of_matrix(matrix: Matrix) -> HeatMap:
    """The builds as a picture: a row each; of builds of one name that differ, each is called by its platforms, too."""
    named: dict[str, dict[tuple[Verdict, ...], list[str]]] = {}
    for line in lines_of(matrix.rows):
        named.setdefault(_name(line.row), {}).setdefault(line.row.verdicts, []).extend(line.platforms)
    rows = [
        HeatRow(name if len(kinds) == 1 else f"{name}, {', '.join(dict.fromkeys(platforms))}", verdicts)
        for name, kinds in named.items()
        for verdicts, platforms in kinds.items()
    ]
    columns = (Column(c.capability.sm.removeprefix("sm_"), c.label) for c in matrix.columns)
    return HeatMap(tuple(columns), tuple(rows))


def _show_gpus(screen: Screen, matrix: Matrix, driver: DriverRelease | None) -> None:
    if not matrix.chosen:
        return
    for column in matrix.columns:
        kind, said = say_gpu(screen.messages, column, driver)
        if said:
            screen.hanging(screen.mark(kind), said, indent=0)
    if undrivable(matrix.columns):
        screen.hanging(screen.mark("bad"), screen.messages.page("gpus-apart"), indent=0)


def say_gpu(messages: Messages, column: GpuColumn, driver: DriverRelease | None) -> tuple[str, str]:
    """Which drivers serve a GPU, as a mark and sentences; `driver` is the one at hand."""
    values = {
        "gpu": column.label,
        "driver": column.driver,
        "windows": column.windows_driver,
        "asked": driver,
        "branch": column.last_branch,
    }
    too_old = driver is not None and column.driver is not None and driver < column.driver
    too_new = (
        driver is not None and column.last_branch is not None and load_catalog().branch_of(driver) > column.last_branch
    )
    keys = [
        "driver-too-old" if too_old else "driver-too-new" if too_new else "gpu-needs" if column.driver else "",
        "gpu-needs-windows" if column.driver and column.windows_driver and not (too_old or too_new) else "",
        "gpu-last" if column.last_branch and not too_new else "",
        "gpu-open" if column.open_module else "gpu-closed" if column.closed_module else "",
    ]
    said = messages.page("and-then").join(messages.page(key, **values) for key in keys if key)
    return "bad" if too_old or too_new else "none", said


def _mark(answer: Answer) -> str:
    return {Verdict.NATIVE: "good", Verdict.NONE: "bad"}.get(answer.verdict, "warn")


def _name(row: Row) -> str:
    variant = f" {row.variant}" if row.variant and row.variant not in row.version else ""
    return f"{row.package} {row.version}{variant}"


def _table(screen: Screen, matrix: Matrix, lines: Sequence[Line]) -> Table:
    """As much of the table as the terminal has room for; the cells of GPUs always stay."""
    forms = ((True, _COLUMNS), (False, _COLUMNS), (False, _FEWER), (False, _FEWEST))
    boundless = screen.out.options.update(max_width=10_000)
    for words, columns in forms:
        table = _table_of(screen, matrix, lines, columns, words=words and matrix.chosen and len(matrix.columns) < 4)
        if Measurement.get(screen.out, boundless, table).maximum <= screen.out.width:
            break
    return table


def _table_of(screen: Screen, matrix: Matrix, lines: Sequence[Line], columns: Sequence[str], *, words: bool) -> Table:
    messages = screen.messages
    table = _plain_table(screen)
    table.add_column(messages.page("column-build"), no_wrap=True)
    for column in matrix.columns if matrix.chosen else ():
        table.add_column(column.label if words else str(column.capability), justify="center", no_wrap=True)
    if not matrix.chosen:
        table.add_column(messages.page("column-runs"), overflow="fold")
    for name in columns:
        table.add_column(messages.page(f"column-{name}"), no_wrap=True)
    for line in lines:
        signs = [_cell(screen, verdict, words=words) for verdict in line.row.verdicts]
        said = _words(messages, line, chosen=matrix.chosen)
        cells = signs if matrix.chosen else [_reach(line.row, matrix)]
        table.add_row(_name(line.row), *cells, *(said[name] for name in columns))
    return table


def _reach(row: Row, matrix: Matrix) -> str:
    """``7.5-9.0 12.0``: the generations on which something of it runs."""
    groups = (list(g) for runs, g in groupby(range(len(row.verdicts)), key=lambda n: row.verdicts[n].runs) if runs)
    return " ".join(_span(matrix, group[0], group[-1]) for group in groups) or "-"


def _span(matrix: Matrix, first: int, last: int) -> str:
    return "-".join(dict.fromkeys(str(matrix.columns[n].capability) for n in (first, last)))


def _plain_table(screen: Screen) -> Table:
    from rich import box

    return Table(box=box.SIMPLE_HEAD if screen.unicode else box.ASCII, pad_edge=False, padding=(0, 1, 0, 0))


def _cell(screen: Screen, verdict: Verdict, *, words: bool) -> Styled:
    return Styled.assemble(sign(screen, verdict), (f" {verdict.value}", LOOKS[verdict].style) if words else "")


def _words(messages: Messages, line: Line, *, chosen: bool) -> dict[str, str]:
    row = line.row
    driver = driver_of(row) if chosen and all(v.runs for v in row.verdicts) else row.driver
    return {
        "cuda": str(row.cuda or "-"),
        "driver": str(driver or (messages.page("unknown") if row.driven else "-")),
        "python": said_of_tags(row.tags),
        "platform": "\n".join(line.platforms),
        "index": row.index.rpartition("/")[2] or row.index,
        "confidence": messages.page(f"confidence-{row.confidence}"),
    }


def _markdown_cells(messages: Messages, line: Line, *, chosen: bool) -> Iterator[str]:
    yield _name(line.row)
    yield from (verdict.value for verdict in line.row.verdicts)
    yield from (text.replace("\n", ", ") for text in _words(messages, line, chosen=chosen).values())
    yield line.row.source


def _show_sources(screen: Screen, lines: Sequence[Line]) -> None:
    names: dict[str, list[str]] = {}
    for line in lines:
        names.setdefault(line.row.source, []).append(_name(line.row))
    for source, builds in names.items():
        screen.hanging(
            screen.mark("none"), screen.messages.ui("labelled", label=", ".join(builds), text=source), indent=0
        )
