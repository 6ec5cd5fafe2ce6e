"""Every stream gets what it can show: Unicode or not, Chinese or not, wide or narrow, a terminal or a pipe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from rich.cells import cell_len
from test_goldens import DRAWINGS, LANGUAGES, drawn

from archfit.report.messages import Language, can_write, spoken_language
from archfit.report.prose import Prose, breaks
from archfit.report.screen import NEAREST

WORDS = ["doctor", "--gpu", "sm_120", "--driver", "580.65.06"]


def archfit(env: Path, *more: str, **variables: str) -> bytes:
    """What the doctor prints, as bytes."""
    kept = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "PYTHONIOENCODING", "COLUMNS")}
    command = [sys.executable, "-m", "archfit", WORDS[0], str(env), *WORDS[1:], *more]
    done = subprocess.run(command, env=kept | variables, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (4, b"")
    return done.stdout


@pytest.mark.parametrize(
    ("variables", "encoding", "marks", "chinese"),
    [
        ({"LANG": "en_US.UTF-8", "PYTHONIOENCODING": "utf-8"}, "utf-8", True, False),
        ({"LANG": "zh_CN.UTF-8", "PYTHONIOENCODING": "utf-8"}, "utf-8", True, True),
        ({"LANG": "C", "PYTHONIOENCODING": "ascii"}, "ascii", False, False),
        ({"LANG": "zh_CN.UTF-8", "PYTHONIOENCODING": "ascii"}, "ascii", False, False),
        ({"LANG": "zh_CN.GBK", "PYTHONIOENCODING": "gbk"}, "gbk", False, True),
        ({"LANG": "zh_CN.GB18030", "PYTHONIOENCODING": "gb18030"}, "gb18030", True, True),
        ({"LANG": "en_US.ISO-8859-1", "PYTHONIOENCODING": "latin-1"}, "latin-1", False, False),
    ],
)
def test_signs_and_language_follow_the_encoding(
    old_env: Path, variables: dict[str, str], encoding: str, marks: bool, chinese: bool
) -> None:
    text = archfit(old_env, **variables).decode(encoding)
    assert ("✗" in text, "╭" in text, "首要原因" in text) == (marks, encoding == "utf-8", chinese)
    assert ("\\u" in text, "?" in text) == (False, False)


@pytest.mark.parametrize("columns", ["60", "80", "200"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_line_of_prose_is_wider_than_the_terminal(old_env: Path, columns: str, lang: str) -> None:
    lines = archfit(old_env, "--lang", lang, COLUMNS=columns, PYTHONIOENCODING="utf-8").decode().splitlines()
    loose = [
        line for line in lines if str(old_env) in line or line.startswith("   $ ")
    ]  # paths and commands stay whole
    assert [line for line in lines if line not in loose and cell_len(line) > int(columns)] == []


@pytest.mark.parametrize(("variables", "words"), [({"NO_COLOR": "1"}, ()), ({}, ("--no-color",)), ({}, ())])
def test_a_pipe_gets_no_colour(old_env: Path, variables: dict[str, str], words: tuple[str, ...]) -> None:
    assert b"\x1b" not in archfit(old_env, *words, PYTHONIOENCODING="utf-8", **variables)


def test_lines_of_a_pipe_end_with_their_last_word(old_env: Path) -> None:
    lines = archfit(old_env, PYTHONIOENCODING="utf-8").decode().splitlines()
    assert [line for line in lines if line != line.rstrip()] == []


# --- breaking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two three", 8, ["one two ", "three"]),
        ("机器码和容器", 6, ["机器码", "和容器"]),
        ("机器码，和容器", 6, ["机器", "码，和", "容器"]),
        ("torch 没有代码", 9, ["torch 没", "有代码"]),
        ("用（CUDA）编译", 8, ["用", "（CUDA）", "编译"]),
        ("libtorch_cuda.so", 6, ["libtor", "ch_cud", "a.so"]),
        ("", 5, [""]),
    ],
)
def test_lines_break_where_both_languages_break(text: str, width: int, lines: list[str]) -> None:
    places = [0, *breaks(text, width), len(text)]
    assert [text[a:b] for a, b in pairwise(places)] == lines


@pytest.mark.parametrize("width", range(2, 30))
def test_nothing_is_lost_and_no_line_is_too_wide(width: int) -> None:
    text = "torch 2.4.1（CUDA 12.1）的 libtorch_cuda.so 只含 5.0 6.0 的机器码，所以跑不起来。"
    places = [0, *breaks(text, width), len(text)]
    parts = [text[a:b] for a, b in pairwise(places)]
    assert "".join(parts) == text
    wide = [part for part in parts if cell_len(part.rstrip()) > width]
    assert [part for part in wide if width >= 12 and cell_len(part.rstrip("，。）")) > width] == []


def test_prose_keeps_its_styles() -> None:
    from rich.console import Console

    console = Console(width=10)
    lines = Prose.assemble(("机器码", "red"), "和容器").wrap(console, 8)
    assert [[str(span.style) for span in line.spans] for line in lines] == [["red"], []]


# --- language and signs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "encoding", "language"),
    [("zh", "utf-8", "zh"), ("zh", "ascii", "en"), (None, "gbk", "zh"), ("en", "utf-8", "en"), ("zh", None, "en")],
)
def test_chinese_is_spoken_where_it_can_be_shown(wish: str | None, encoding: str | None, language: str) -> None:
    assert spoken_language(wish, {"LANG": "zh_CN.UTF-8"}, encoding) == language


def test_an_encoding_that_nobody_knows_can_show_nothing() -> None:
    assert not can_write("a", "no-such-encoding")


def test_the_nearest_sign_takes_the_place_of_what_an_encoding_lacks() -> None:
    assert "a → b … “c” 中".encode("ascii", NEAREST) == b'a -> b ... "c" \\u4e2d'


# --- every screen fits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", DRAWINGS)
def test_every_screen_fits(name: str, language: Language, width: int) -> None:
    """Only what is copied (commands) and what stands for itself (a path, a file name) may be wider than the screen."""
    lines = drawn(DRAWINGS[name], language, width).splitlines()
    whole = re.compile(r"^ *\$ |^\S*$|: archfit |：archfit |/env")
    assert [line for line in lines if cell_len(line) > width and not whole.search(line)] == []
