"""A heat map as a picture: SVG that stands alone (light, dark, with words for who cannot see it), and PNG drawn from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from rich.cells import cell_len

from archfit.arch import Verdict
from archfit.errors import UsageError
from archfit.report.heatmap import LOOKS, HeatMap, Row
from archfit.report.messages import Messages

_CHAR_PX, _MARGIN_PX, _CELL_WIDTH_PX, _CELL_HEIGHT_PX, _LINE_PX = 7.3, 24, 34, 24, 22
_MOST_LABEL_CHARS = 56
_STYLE = """
 text { fill: #1f2328;
  font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans CJK SC", monospace }
 .title { font-size: 17px; font-weight: 600 } .dim { fill: #59636e } .here { font-weight: 700 }
 .paper { fill: #ffffff } .frame { fill: none; stroke: #1f2328; stroke-width: 2 }
 @media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .dim { fill: #9198a1 } .paper { fill: #0d1117 } .frame { stroke: #e6edf3 } }
"""


def render_svg(heat: HeatMap, title: str, messages: Messages) -> str:
    """The picture as text; every cell says on hovering which verdict it is, for which GPU, and why if `heat` says so."""
    return "\n".join(_Drawing(heat, title, messages).lines()) + "\n"


def render_png(heat: HeatMap, title: str, messages: Messages, *, zoom: float = 2.0) -> bytes:
    """The same as pixels, `zoom` for each unit of the SVG, in the light colours.

    Raises:
        UsageError: this machine has no font to write the labels with.
    """
    from resvg_py import svg_to_bytes

    fonts = _fonts()
    if not fonts:
        raise UsageError("png-no-font")
    if messages.language == "zh" and not any(_is_chinese(font) for font in fonts):
        messages = Messages("en", messages.program)  # boxes in place of characters tell nobody anything
    return svg_to_bytes(svg_string=render_svg(heat, title, messages), zoom=zoom, monospace_family="DejaVu Sans Mono")


class _Drawing:
    """The geometry: a title, a column of labels, cells, a legend; all numbers in units of the SVG."""

    def __init__(self, heat: HeatMap, title: str, messages: Messages) -> None:
        self.heat, self.title, self.messages = heat, title, messages
        self.labels_px = _CHAR_PX * max((len(_cut(row.label)) for row in heat.rows), default=8) + 12
        self.left = _MARGIN_PX + self.labels_px
        self.top = _MARGIN_PX + 58
        self.bottom = self.top + _CELL_HEIGHT_PX * len(heat.rows)
        self.legend = [(v, f"{v.value}: {messages.ui(f'scan-{v.value}')}") for v in heat.verdicts]
        here = any(column.here for column in heat.columns)
        self.notes = [messages.ui("picture-here")] if here else []
        lines = len(self.legend) + len(self.notes)
        words = max((cell_len(text) for text in [*(text for _, text in self.legend), *self.notes]), default=0)
        grid = self.left + _CELL_WIDTH_PX * len(heat.columns)
        self.width = max(grid, _MARGIN_PX + 30 + words * _CHAR_PX, _MARGIN_PX + cell_len(title) * 10.4) + _MARGIN_PX
        self.height = self.bottom + 18 + _LINE_PX * lines + _MARGIN_PX

    def lines(self) -> Iterator[str]:
        """The SVG, line by line."""
        size = f'width="{self.width:.0f}" height="{self.height:.0f}" viewBox="0 0 {self.width:.0f} {self.height:.0f}"'
        yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(self.title)}>'
        yield f"<title>{escape(self.title)}</title>"
        yield f"<style>{_STYLE}</style>"
        yield f'<rect class="paper" width="{self.width:.0f}" height="{self.height:.0f}" rx="8"/>'
        yield _text(_MARGIN_PX, _MARGIN_PX + 16, self.title, "title")
        yield _text(self.left - 8, self.top - 9, self.heat.corner, "dim", "end")
        for number, column in enumerate(self.heat.columns):
            x = self.left + _CELL_WIDTH_PX * number + _CELL_WIDTH_PX / 2
            yield _text(x, self.top - 9, column.label, "here" if column.here else "dim", "middle", column.name)
        for number, row in enumerate(self.heat.rows):
            yield from self._row(row, self.top + _CELL_HEIGHT_PX * number)
        yield from self._frames()
        yield from self._words()
        yield "</svg>"

    def _row(self, row: Row, y: float) -> Iterator[str]:
        yield _text(self.left - 8, y + 16, _cut(row.label), "", "end", row.label)
        for number, verdict in enumerate(row.cells):
            column = self.heat.columns[number]
            note = row.notes[number] if row.notes else ""
            said = f"{row.label}, {self.heat.corner}{column.label} {column.name}: {verdict.value}"
            yield from _cell(self.left + _CELL_WIDTH_PX * number, y, verdict, f"{said} ({note})" if note else said)

    def _frames(self) -> Iterator[str]:
        for number, column in enumerate(self.heat.columns):
            if column.here and self.heat.rows:
                x, height = self.left + _CELL_WIDTH_PX * number, self.bottom - self.top
                size = f'width="{_CELL_WIDTH_PX}" height="{height:.1f}"'
                yield f'<rect class="frame" x="{x:.1f}" y="{self.top:.1f}" {size} rx="5"/>'

    def _words(self) -> Iterator[str]:
        y = self.bottom + 18
        for verdict, text in self.legend:
            yield from _cell(_MARGIN_PX, y, verdict, text, width=24)
            yield _text(_MARGIN_PX + 32, y + 15, text)
            y += _LINE_PX
        for note in self.notes:
            yield f'<rect class="frame" x="{_MARGIN_PX + 2}" y="{y + 2:.1f}" width="20" height="16" rx="4"/>'
            yield _text(_MARGIN_PX + 32, y + 15, note)
            y += _LINE_PX


def _cell(x: float, y: float, verdict: Verdict, said: str, width: float = _CELL_WIDTH_PX) -> Iterator[str]:
    look = LOOKS[verdict]
    yield f"<g><title>{escape(said)}</title>"
    box = f'x="{x + 1.5:.1f}" y="{y + 1.5:.1f}" width="{width - 3:.1f}" height="{_CELL_HEIGHT_PX - 3}" rx="4"'
    yield f'<rect {box} fill="{look.fill}"/>'
    if look.sign.strip():
        place = f'x="{x + width / 2:.1f}" y="{y + 16.5:.1f}" text-anchor="middle"'
        yield f'<text {place} style="fill:{look.ink}">{look.sign}</text>'
    yield "</g>"


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start", said: str = "") -> str:
    title = f"<title>{escape(said)}</title>" if said and said != text else ""
    look = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{look}>{title}{escape(text)}</text>'


def _cut(label: str) -> str:
    """The end of a path tells more than its beginning."""
    return label if len(label) <= _MOST_LABEL_CHARS else "…" + label[1 - _MOST_LABEL_CHARS :]


_FONT_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.fonts",
    "~/.local/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)
_CHINESE_FONTS = (
    "cjk",
    "sourcehan",
    "wqy",
    "msyh",
    "simsun",
    "simhei",
    "pingfang",
    "fallback",
    "uming",
    "ukai",
    "hans",
)


def _fonts() -> list[str]:
    """File names of the fonts of this machine, small letters."""
    folders = (Path(folder).expanduser() for folder in _FONT_FOLDERS)
    return [p.name.lower() for f in folders if f.is_dir() for p in f.rglob("*") if p.suffix.lower() in _FONT_SUFFIXES]


_FONT_SUFFIXES = {".ttf", ".ttc", ".otf"}


def _is_chinese(font: str) -> bool:
    return any(part in font for part in _CHINESE_FONTS)
