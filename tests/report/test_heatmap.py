"""The heat map: one record; the grid, the picture and the list say the same of it."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from rich.cells import cell_len
from test_goldens import OLD_STORY, drawn

from archfit.arch import Verdict
from archfit.errors import UsageError
from archfit.report import picture
from archfit.report.grid import draw_grid, draw_legend, folded
from archfit.report.heatmap import LOOKS, SHOWN, Column, HeatMap, Row, map_environment
from archfit.report.messages import Language, Messages

Golden = Callable[[str, str], None]
SVG = "{http://www.w3.org/2000/svg}"
N, C, J, P, X, E = Verdict
HEAT = HeatMap(
    (Column("80"), Column("86"), Column("90"), Column("120", "GeForce RTX 5090", here=True)),
    (
        Row("torch 2.4.1", (N, N, N, X), ("", "", "", "libtorch_cuda.so")),
        Row("nvidia-cublas-cu12 12.1.3.1", (N, N, N, J)),
        Row("nvidia-cudnn-cu12 9.1.0.70", (N, N, N, J)),
        Row("flash-attn <2>", (C, C, P, E)),
    ),
)


def test_verdicts_that_are_shown_have_a_look_and_a_sentence() -> None:
    assert set(LOOKS) == set(Verdict)
    assert [Messages("en").ui(f"scan-{verdict.value}") for verdict in SHOWN]


def test_neighbours_that_nothing_tells_apart_share_a_column() -> None:
    merged = HEAT.merged()
    assert [column.label for column in merged.columns] == ["80-86", "90", "120"]
    assert [row.cells for row in merged.rows][-1] == (C, P, E)


def test_a_gpu_of_this_machine_keeps_its_own_column() -> None:
    heat = HeatMap((Column("90"), Column("120", here=True)), (Row("a", (N, N)),))
    assert [column.label for column in heat.merged().columns] == ["90", "120"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_packages_of_nvidia_that_say_the_same_share_a_row(golden: Golden, language: Language) -> None:
    messages = Messages(language)

    def draw(screen: object) -> None:
        draw_grid(screen, folded(HEAT, lambda count: messages.ui("coverage-vendor", count=count)))  # type: ignore[arg-type]
        draw_legend(screen, HEAT.verdicts)  # type: ignore[arg-type]

    golden(f"grid.{language}.txt", drawn(draw, language, 60))


@pytest.mark.parametrize("width", [30, 60])
def test_no_line_of_a_grid_is_wider_than_the_screen(width: int) -> None:
    text = drawn(lambda s: draw_grid(s, HEAT), "zh", width)
    assert max(map(cell_len, text.splitlines())) <= width


def test_a_grid_in_ascii_says_the_same_in_letters() -> None:
    lines = drawn(lambda s: draw_grid(s, HEAT), "en", encoding="ascii").splitlines()
    assert lines[1].split()[-3:] == ["N", "N", "x"]


# --- the picture -----------------------------------------------------------------------------------------------------


def cells_of(svg: str) -> list[str]:
    """What hovering says, for each cell of the map."""
    root = ET.fromstring(svg)
    titles = [group.findtext(f"{SVG}title") or "" for group in root.iter(f"{SVG}g")]
    return [title for title in titles if ", sm_" in title]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_picture(golden: Golden, language: Language) -> None:
    golden(f"heatmap.{language}.svg", picture.render_svg(HEAT, "a & <b>", Messages(language)))


def test_every_cell_of_the_picture_says_what_it_is() -> None:
    said = cells_of(picture.render_svg(HEAT, "title", Messages("en")))
    assert len(said) == len(HEAT.rows) * len(HEAT.columns)
    assert "torch 2.4.1, sm_120 GeForce RTX 5090: none (libtorch_cuda.so)" in said


def test_nothing_of_the_picture_comes_from_elsewhere() -> None:
    svg = picture.render_svg(HEAT, "title", Messages("en")).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not any(word in svg for word in ("http", "url(", "@import", "<script", "href"))


def test_an_empty_map_is_a_picture_too() -> None:
    assert cells_of(picture.render_svg(HeatMap((), ()), "nothing", Messages("en"))) == []


def test_pixels_have_the_size_of_the_drawing() -> None:
    if not picture._fonts():
        pytest.skip("no font here")
    root = ET.fromstring(picture.render_svg(HEAT, "title", Messages("en")))
    data = picture.render_png(HEAT, "title", Messages("en"), zoom=2)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    wide, high = struct.unpack(">II", data[16:24])
    assert (wide, high) == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))


def test_without_a_font_the_picture_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture, "_FONT_FOLDERS", ())
    with pytest.raises(UsageError, match="png-no-font"):
        picture.render_png(HEAT, "title", Messages("en"))


def test_an_environment_is_mapped_package_by_package_torch_first() -> None:
    heat = map_environment(OLD_STORY)
    assert [(row.label, row.cells) for row in heat.rows] == [("torch 2.4.1", (X,)), ("torchvision 0.19.1", (X,))]
    assert [column.here for column in heat.columns] == [True]
