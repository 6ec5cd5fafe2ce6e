"""Which release runs where: choosing, answering, and the documents."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builds import RTX_4090, RTX_5090, V100, many, row
from packaging.version import Version
from rich.cells import cell_len
from rich.console import Console

from archfit import api
from archfit.arch import CudaVersion, Verdict
from archfit.catalog.wheels import Wheel
from archfit.cli import run
from archfit.errors import ExitCode
from archfit.matrix import (
    Filter,
    Matrix,
    Row,
    answers,
    arrange,
    choose,
    command_of,
    fits_python,
    newest_running,
    undrivable,
)
from archfit.model import DriverRelease
from archfit.report.matrix_page import render_matrix_page, said_of_tags
from archfit.report.matrix_screen import lines_of, render_matrix_markdown, say_answer, show_matrix, show_summary
from archfit.report.messages import Language, Messages
from archfit.report.screen import Screen
from worlds import CATALOG

WHEN = datetime(2026, 11, 25, 11, 0, tzinfo=UTC)
COLUMNS = (V100, RTX_4090, RTX_5090)
OLD = row("2.6.0", "ncx", cuda="12.4", drivers=("525.60.13", "525.60.13", None))
MIDDLE = row("2.8.0", "ncn", drivers=("525.60.13", "525.60.13", "570.86.16"))
NEW = row("2.15.0", "xcn", cuda="13.0", floor="580.65.06", drivers=(None, "580.65.06", "580.65.06"))
WINDOWS = row("2.15.0", "xcn", platform="win_amd64", floor=None, drivers=(None, None, None))
CPU = row("2.15.0", "---", cuda=None, floor=None, platform="linux_aarch64", tags=("cp312",))
ROWS = (OLD, CPU, NEW, WINDOWS, MIDDLE)


def on(*columns: object, rows: tuple[Row, ...] = ROWS, chosen: bool = True) -> Matrix:
    """A matrix of those columns of `COLUMNS` alone."""
    wanted = [n for n, column in enumerate(COLUMNS) if column in columns]
    from dataclasses import replace

    cut = [
        replace(r, verdicts=tuple(r.verdicts[n] for n in wanted), drivers=tuple(r.drivers[n] for n in wanted))
        for r in rows
    ]
    return arrange([COLUMNS[n] for n in wanted], cut, chosen=chosen)


def names(matrix: Matrix) -> list[str]:
    return [f"{r.version} {r.platform[:5]}" for r in matrix.rows]


def test_rows_stand_newest_first_and_linux_before_windows() -> None:
    order = ["2.15.0 linux", "2.15.0 win_a", "2.15.0 linux", "2.8.0 linux", "2.6.0 linux"]
    assert names(arrange(COLUMNS, ROWS)) == order
    assert [r.package for r in arrange(COLUMNS, [row(package="z"), row(package="a")]).rows] == ["a", "z"]


@pytest.mark.parametrize(
    ("wanted", "columns", "left"),
    [
        (Filter(), COLUMNS, 5),
        (Filter(runs=True), (RTX_5090,), 3),
        (Filter(runs=True), (V100,), 2),
        (Filter(runs=True), (V100, RTX_5090), 1),
        (Filter(cuda=CudaVersion(12, 4)), COLUMNS, 1),
        (Filter(platform="win_amd64"), COLUMNS, 1),
        (Filter(python="3.12"), COLUMNS, 1),
        (Filter(packages=("vllm",)), COLUMNS, 0),
        (Filter(runs=True, driver=DriverRelease.parse("550.54.14")), (RTX_5090,), 0),
        (Filter(runs=True, driver=DriverRelease.parse("550.54.14")), (RTX_4090,), 3),
        (Filter(runs=True, driver=DriverRelease.parse("570.86.16")), (RTX_5090,), 2),
        (Filter(runs=True, driver=DriverRelease.parse("580.65.06")), (RTX_5090,), 3),
        (Filter(runs=True, driver=DriverRelease.parse("580.65.06")), (V100,), 2),
        (Filter(runs=True, driver=DriverRelease.parse("590.44.01")), (V100,), 0),
    ],
)
def test_choosing(wanted: Filter, columns: tuple[object, ...], left: int) -> None:
    assert len(choose(on(*columns), wanted).rows) == left


def test_without_named_gpus_one_that_runs_is_enough() -> None:
    everything = on(*COLUMNS, chosen=False)
    assert len(choose(everything, Filter(runs=True)).rows) == 4
    assert len(choose(everything, Filter(runs=True, driver=DriverRelease.parse("550.54.14"))).rows) == 3


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            (RTX_5090,),
            "torch 2.8.0 to 2.15.0 runs on RTX 5090 (Linux x86_64). Driver 570.86.16 or newer will do. "
            "torch 2.15.0 runs on RTX 5090 (Windows x86_64).",
        ),
        (
            (V100,),
            "torch 2.6.0 to 2.8.0 runs on V100 (Linux x86_64). Driver 525.60.13 or newer will do. "
            "Its newest release, 2.15.0, does not.",
        ),
        (
            (V100, RTX_5090),
            "torch 2.8.0 runs on V100 + RTX 5090 (Linux x86_64). Driver 570.86.16 or newer will do. "
            "Its newest release, 2.15.0, does not.",
        ),
    ],
)
def test_an_answer_in_words(columns: tuple[object, ...], said: str) -> None:
    matrix = on(*columns)
    found = answers(choose(matrix, Filter(runs=True)), matrix)
    assert " ".join(say_answer(Messages("en"), answer, matrix) for answer in found) == said


def test_code_that_only_the_driver_can_compile_answers_where_there_is_no_better() -> None:
    rows = (row("1.0", "xxj"), row("2.0", "xxn"))
    matrix = on(RTX_5090, rows=rows)
    [answer] = answers(matrix, matrix)
    assert (answer.verdict, answer.first and answer.first.version) == (Verdict.NATIVE, "2.0")
    matrix = on(RTX_5090, rows=rows[:1])
    [answer] = answers(matrix, matrix)
    assert (answer.verdict, answer.last and answer.last.version) == (Verdict.JIT, "1.0")
    matrix = on(RTX_5090, rows=(OLD,))
    [answer] = answers(matrix, matrix)
    assert (answer.verdict, answer.first, answer.driver) == (Verdict.NONE, None, None)


def test_gpus_that_no_driver_serves_together() -> None:
    old, new = api.matrix(["V100"]).columns[0], api.matrix(["RTX 5090"]).columns[0]
    assert (undrivable([old]), undrivable([new]), undrivable([old, new])) == (False, False, True)
    assert undrivable(api.matrix(["RTX 4090", "RTX 5090"]).columns) is False


def test_a_package_that_was_asked_for_and_does_not_run_is_answered() -> None:
    matrix = on(RTX_5090, rows=(OLD,))
    [answer] = answers(choose(matrix, Filter(runs=True)), matrix, ["torch"])
    assert say_answer(Messages("en"), answer, matrix) == "No torch that fits runs on RTX 5090."


def test_the_newest_release_for_each_gpu() -> None:
    [(package, found)] = newest_running(on(*COLUMNS, chosen=False)).items()
    assert (package, [r and r.version for r in found]) == ("torch", ["2.8.0", "2.15.0", "2.15.0"])


@pytest.mark.parametrize(
    ("tags", "python", "fits"),
    [
        (("cp310", "cp311"), "3.11", True),
        (("cp310", "cp311"), "3.12", False),
        (("cp313t",), "3.13", False),
        (("cp313t",), "3.13t", True),
        (("cp313",), "3.13t", False),
        (("cp39-abi3",), "3.8", False),
        (("cp39-abi3",), "3.14", True),
        (("py3",), "3.14", True),
        (("py2.py3",), "3.9", True),
        (("cp311-cp311",), "3.11", True),
        ((), "3.11", False),
    ],
)
def test_python_tags(tags: tuple[str, ...], python: str, fits: bool) -> None:
    assert fits_python(tags, python) is fits


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        (("cp310", "cp311", "cp312", "cp313t"), "3.10–3.12"),
        (("cp311",), "3.11"),
        (("cp39-abi3",), "≥3.9"),
        (("py3",), "py3"),
        (("cp36",), "cp36"),
    ],
)
def test_python_tags_in_words(tags: tuple[str, ...], said: str) -> None:
    assert said_of_tags(tags) == said


def test_builds_that_differ_in_their_platform_only_share_a_line() -> None:
    arm = row("2.8.0", "ncn", platform="linux_aarch64", drivers=("525.60.13", "525.60.13", "570.86.16"))
    lines = lines_of([MIDDLE, arm, NEW])
    assert [(line.row.version, line.platforms) for line in lines] == [
        ("2.8.0", ("Linux x86_64", "Linux aarch64")),
        ("2.15.0", ("Linux x86_64",)),
    ]


def test_commands_name_the_index() -> None:
    assert command_of(MIDDLE) == "pip install torch==2.8.0"
    other = row(index="https://download.pytorch.org/whl/cu128")
    assert command_of(other) == "pip install torch==2.8.0 --index-url https://download.pytorch.org/whl/cu128"


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "zh"])
def test_markdown(golden: Callable[[str, str], None], language: Language) -> None:
    matrix = on(V100, RTX_5090)
    page = render_matrix_markdown(Messages(language), matrix, answers(matrix, matrix))
    golden(f"matrix.{language}.md", page)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_screen(golden: Callable[[str, str], None], width: int, language: Language) -> None:
    """As much of the table as there is room for; the answer and the GPUs always."""
    raw = io.BytesIO()
    console = Console(
        file=io.TextIOWrapper(raw, encoding="utf-8"),
        width=width,
        no_color=True,
        highlight=False,
        markup=False,
        emoji=False,
    )
    screen = Screen(Messages(language), console, console)
    for columns, driver in (((RTX_5090,), None), ((V100, RTX_5090), DriverRelease.parse("550.54.14"))):
        matrix = on(*columns)
        show_matrix(screen, matrix, answers(matrix, matrix), driver, verbose=True)
    everything = on(*COLUMNS, chosen=False)
    show_matrix(screen, everything, (), None)
    show_summary(screen, everything, (), None)
    console.file.flush()
    text = "".join(f"{line.rstrip()}\n" for line in raw.getvalue().decode().splitlines())
    golden(f"matrix-{width}.{language}.txt", text)
    assert max(map(cell_len, text.splitlines())) <= width


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_whole(golden: Callable[[str, str], None], language: Language) -> None:
    """The sheet of a language and the sentences that come with the data; products change with the catalog."""
    page = render_matrix_page(arrange(COLUMNS, ROWS), Messages(language), WHEN)
    sheet = re.split(r'(?=<div data-sheet=")|(?=<div id="tip")', page)
    [own] = [part for part in sheet if part.startswith(f'<div data-sheet="{language}"')]
    data = data_of(page)
    data["texts"] = data["texts"][language]  # type: ignore[index]
    del data["products"]
    golden(f"page-matrix.{language}.html", f"{own}{json.dumps(data, ensure_ascii=False, indent=1)}\n")


def data_of(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    loaded: dict[str, object] = json.loads(found[1])
    return loaded


def test_a_script_in_the_data_stays_data() -> None:
    evil = "</script><script>alert(1)</script><!--"
    page = render_matrix_page(arrange(COLUMNS, [row(package=evil, source=evil)]), Messages("en"), WHEN)
    assert len(re.findall(r"<script", page)) == 4
    assert "alert(1)</script>" not in page.replace("alert(1)\\u003c/script", "")
    assert data_of(page)["packages"] == [evil]


def test_the_page_tells_what_the_rows_tell() -> None:
    matrix = many(200)
    data = data_of(render_matrix_page(matrix, Messages("en"), WHEN))
    letters = {"n": "native", "c": "compatible", "j": "jit", "p": "partial", "x": "none", "-": "no-gpu-code"}
    for given, told in zip(matrix.rows, data["rows"], strict=True):  # type: ignore[arg-type]
        package, version, _, cuda, platform, _, index, confidence, source, driver, verdicts, needs = told
        assert (data["packages"][package], version, data["cudas"][cuda]) == (
            given.package,
            given.version,
            str(given.cuda),
        )  # type: ignore[index]
        assert (data["platforms"][platform], data["indexes"][index]) == (given.platform, given.index)  # type: ignore[index]
        assert (confidence, data["sources"][source]) == (given.confidence, given.source)  # type: ignore[index]
        assert data["drivers"][driver] == str(given.driver)  # type: ignore[index]
        assert [letters[v] for v in verdicts] == [v.value for v in given.verdicts]
        known = [data["drivers"][n] if n >= 0 else None for n in data["driverSets"][needs]]  # type: ignore[index]
        assert known == [str(d) if d else None for d in given.drivers]


def test_thousands_of_builds_are_few_bytes() -> None:
    assert len(render_matrix_page(many(5000), Messages("en"), WHEN)) < 1_200_000


# --- the catalog and the command -------------------------------------------------------------------------------------


def test_no_build_runs_with_a_driver_older_than_its_gpu_or_its_code() -> None:
    """Laws over all rows: a driver is never older than the GPU's own or the code's, and stands only where something runs."""
    matrix = api.matrix()
    for build in matrix.rows:
        for verdict, driver, column in zip(build.verdicts, build.drivers, matrix.columns, strict=True):
            assert verdict.runs or driver is None
            known = column.driver_on(build.platform)
            assert driver is None or known is None or driver >= known
            assert driver is None or build.driver is None or driver >= build.driver


def test_every_build_stands_once_and_what_was_read_says_what_was_read() -> None:
    matrix = api.matrix()
    found = {(r.package, r.version, r.platform, r.index, r.variant): r for r in matrix.rows}
    assert len(found) == len(matrix.rows)
    for wheel in CATALOG.wheels:
        [own] = [r for r in matrix.rows if (r.package, r.version, r.platform, r.index) == key_of(wheel)]
        assert own.verdicts == tuple(wheel.verdict(c.capability) for c in matrix.columns)
        assert (own.tags, own.confidence, wheel.file in own.source) == (wheel.python_tags, "measured", True)


def key_of(wheel: Wheel) -> tuple[str, str, str, str]:
    return wheel.package, wheel.version, wheel.platform, wheel.index


def test_what_runs_on_an_rtx_5090() -> None:
    """No build of torch for CUDA 12.4 or older has machine code for it; every one on PyPI for Linux from 2.8.0 on has."""
    [column] = (matrix := api.matrix(["RTX 5090"])).columns
    assert (str(column.driver), str(column.windows_driver)) == ("570.86.16", "570.65")
    for build in (r for r in matrix.rows if r.package == "torch" and r.platform == "linux_x86_64" and r.cuda):
        assert build.cuda is not None
        if build.cuda <= CudaVersion(12, 6):
            assert build.verdicts == (Verdict.NONE,)
        elif build.index == "PyPI" and Version(build.version) >= Version("2.8.0"):
            assert build.verdicts == (Verdict.NATIVE,)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("torch", "--gpu", "RTX 5090"), ExitCode.OK, "GeForce RTX 5090 needs driver 570.86.16 or newer."),
        (("torch", "--gpu", "RTX 5090", "--driver", "550.54.14"), ExitCode.PROBLEMS, "Driver 550.54.14 does not know"),
        (("--gpu", "V100"), ExitCode.OK, "torch 1.13.0 to 2.14.1 runs on V100 (Linux x86_64"),
        ((), ExitCode.OK, "The newest release that runs"),
        (("torch", "--gpu", "RTX 5090", "--lang", "zh"), ExitCode.OK, "能在 GeForce RTX 5090 上运行"),
        (("torch", "--gpu", "RTX 5090", "-v", "--python", "3.12", "--cuda", "12.8"), ExitCode.OK, "torch-2.8.0-cp"),
        (("torch", "--gpu", "RTX 5090", "--python", "3.14t"), ExitCode.OK, "torch 2.9.0 to 2.15.0 runs on"),
    ],
)
def test_the_command_answers(
    words: tuple[str, ...], code: ExitCode, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["matrix", *words]) == code
    assert said in re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("torc",), 'no row of the catalog is about the package "torc"'),
        (("--cuda", "x"), '"x" is no CUDA release'),
        (("--driver", "x"), '"x" is no driver release'),
        (("--gpu", "RTX 9090"), "RTX 9090"),
        (("-o", "a.txt"), "a.txt"),
    ],
)
def test_bad_words_get_a_sentence(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["matrix", *words]) == ExitCode.USAGE
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".html", ".svg", ".json", ".md"])
def test_the_command_writes(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"matrix{suffix}"
    assert run(["matrix", "torch", "--gpu", "RTX 5090", "-o", str(path)]) == ExitCode.OK
    text = path.read_text("utf-8")
    assert "2.15.0" in text
    assert "RTX 5090" in text
    if suffix == ".html":
        assert data_of(text)["wanted"] == {"q": "torch", "gpu": "RTX 5090"}
        assert len(api.matrix().rows) == len(data_of(text)["rows"])  # type: ignore[arg-type]
