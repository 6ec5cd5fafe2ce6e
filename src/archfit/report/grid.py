"""A heat map in the terminal: a grid of signs, or a list where the terminal is too narrow for one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text as Styled

from archfit.arch import Verdict
from archfit.report.heatmap import LOOKS, SHOWN, HeatMap, Row
from archfit.report.screen import Screen

_WIDEST_NAME, _GAP = 40, 2


def sign(screen: Screen, verdict: Verdict) -> Styled:
    """The sign of a verdict in its colour."""
    look = LOOKS[verdict]
    return Styled(look.sign if screen.unicode else look.letter, style=look.style)


def draw_grid(screen: Screen, heat: HeatMap, *, indent: int = 0) -> None:
    """Row by row; labels of more than 40 columns lose their end."""
    heat = heat.merged()
    labels = [column.label for column in heat.columns]
    names = min(_WIDEST_NAME, max(cell_len(row.label) for row in heat.rows))
    room = screen.out.width - indent
    gap = next((g for g in (_GAP, 1) if names + sum(g + len(label) for label in labels) <= room), None)
    if gap is None:
        for row in heat.rows:
            screen.out.print(Padding(row.label, (0, 0, 0, indent)), soft_wrap=True)
            screen.out.print(Padding(_short(screen, heat, row), (0, 0, 0, indent + 2)))
        return
    table = Table.grid(padding=(0, gap, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", width=names)
    for label in labels:
        table.add_column(justify="center", no_wrap=True, width=len(label))
    heads = (Styled(c.label, style="bold" if c.here else "dim") for c in heat.columns)
    table.add_row(Styled(heat.corner, style="dim"), *heads)
    for row in heat.rows:
        table.add_row(_shortened(screen, row.label, names), *(sign(screen, verdict) for verdict in row.cells))
    screen.out.print(Padding(table, (0, 0, 0, indent)))


def draw_legend(screen: Screen, verdicts: Iterable[Verdict], *, indent: int = 2) -> None:
    """What the signs mean, in the order from best to worst."""
    wanted = set(verdicts)
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold", style="dim")
    for verdict in (v for v in SHOWN if v in wanted):
        name = Styled.assemble(sign(screen, verdict), (f" {verdict.value}", "dim"))
        grid.add_row(name, screen.messages.ui(f"scan-{verdict.value}"))
    if grid.row_count:
        screen.out.print(Padding(grid, (0, 0, 0, indent)))


def draw_list(screen: Screen, heat: HeatMap, held: Mapping[str, str]) -> None:
    """Row by row below each other, with what each holds; for labels that no grid has room for."""
    heat = heat.merged()
    for row in heat.rows:
        screen.out.print(Padding(row.label, (0, 0, 0, 2)), soft_wrap=True)
        screen.hanging(_short(screen, heat, row), Styled(held.get(row.label, ""), style="dim"), indent=4)


def folded(heat: HeatMap, label: Callable[[int], str], belongs: str = "nvidia-") -> HeatMap:
    """Rows of NVIDIA's own packages that say the same become one; `label` is what to call so many of them."""
    rows: dict[object, list[Row]] = {}
    for row in heat.rows:
        rows.setdefault(row.cells if row.label.startswith(belongs) else row, []).append(row)
    return replace(heat, rows=tuple(_fold(group, label) for group in rows.values()))


def _fold(group: list[Row], label: Callable[[int], str]) -> Row:
    return group[0] if len(group) == 1 else Row(label(len(group)), group[0].cells)


def _shortened(screen: Screen, label: str, room: int) -> str:
    if cell_len(label) <= room:
        return label
    mark = "…" if screen.unicode else "..."
    return label[: room - len(mark)] + mark


def _short(screen: Screen, heat: HeatMap, row: Row) -> Styled:
    """The signs with the GPUs that get them: ``● 90   ✗ 100-121``."""
    parts: list[Styled | str] = []
    for verdict in SHOWN:
        labels = [c.label for c, cell in zip(heat.columns, row.cells, strict=True) if cell is verdict]
        parts += [sign(screen, verdict), f" {' '.join(labels)}", "   "] if labels else []
    return Styled.assemble(*parts[:-1])
