"""MMCV 2.2.0 after the upgrade: an answer of its own for each torch from 2.4 to the newest, and the page that tells it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_ways import EXTENSIONS, extension, goal

from archfit.catalog import load_catalog
from archfit.model import Way
from archfit.planner.ways import way_of

ROOT = Path(__file__).parents[3]
MMCV = extension("mmcv", "2.2.0")


def answer(torch: str, cuda: str, python_tag: str = "cp311", gpus: str = "5090") -> Way:
    found = way_of(goal(gpus, torch, cuda, python_tag=python_tag, installed={"mmcv": "2.2.0"}), MMCV, EXTENSIONS)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("torch", "cuda", "python_tag", "gpus", "kind", "changes"),
    [
        ("2.4.1", "12.1", "cp311", "4090", "rebuild", 0),
        ("2.4.1", "11.8", "cp310", "4090", "replace", 0),
        ("2.5.1", "12.4", "cp311", "4090", "rebuild", 0),
        ("2.6.0", "12.6", "cp311", "4090", "rebuild", 0),
        ("2.7.1", "12.8", "cp311", "5090", "rebuild", 0),
        ("2.8.0", "12.8", "cp311", "5090", "rebuild", 0),
        ("2.8.0", "12.8", "cp310", "5090", "replace", 0),
        ("2.9.0", "12.9", "cp312", "5090", "replace", 0),
        ("2.9.1", "12.8", "cp312", "5090", "rebuild", 0),
        ("2.10.0", "12.9", "cp312", "5090", "replace", 0),
        ("2.11.0", "13.0", "cp312", "5090", "rebuild", 0),
        ("2.12.0", "13.0", "cp312", "5090", "replace", 0),
        ("2.12.1", "13.0", "cp312", "5090", "rebuild", 0),
        ("2.13.0", "13.0", "cp312", "5090", "rebuild", 0),
        ("2.13.0", "13.0", "cp313", "5090", "rebuild", 1),  # KeyError: '__version__'
        ("2.14.1", "13.0", "cp312", "5090", "rebuild", 1),  # C++20
        ("2.15.0", "13.2", "cp312", "5090", "rebuild", 1),
        ("2.15.0", "13.2", "cp314", "5090", "rebuild", 2),  # both
    ],
)
def test_the_answer(torch: str, cuda: str, python_tag: str, gpus: str, kind: str, changes: int) -> None:
    found = answer(torch, cuda, python_tag, gpus)
    assert (found.kind, sum("sed -i" in command for command in found.pip)) == (kind, changes)


def test_every_release_from_2_4_on_has_an_answer() -> None:
    builds = [b for b in load_catalog().builds if b.order >= (2, 4, 0) and b.cuda and b.platform == "linux_x86_64"]
    assert {answer(b.torch, str(b.cuda)).kind for b in builds} <= {"rebuild", "replace"}
    for build in builds:
        found = answer(build.torch, str(build.cuda))
        assert ("-std=c++20" in " ".join(found.pip)) == (build.order >= (2, 14, 0))


def test_a_gpu_that_the_successors_wheels_leave_out_is_compiled_for() -> None:
    assert answer("2.8.0", "12.8", "cp310", "v100").kind == "rebuild"
    assert answer("2.8.0", "12.8", "cp310", "b200").kind == "rebuild"


@pytest.mark.parametrize("page", ["mmcv.md", "mmcv.zh.md"])
def test_the_page_tells_what_the_planner_says(page: str) -> None:
    """Each row of the table: torch, CUDA, Python, and the word for the way."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    rows = re.findall(r"^\| (\d[\d.]+) \| (\d[\d.]+) \| (3\.\d+) \| `(\w+)` \|", text, re.MULTILINE)
    assert len(rows) >= 15
    told = {(t, c, p): kind for t, c, p, kind in rows}
    assert told == {(t, c, p): answer(t, c, f"cp{p.replace('.', '')}", "4090").kind for t, c, p in told}
    releases = {b.torch for b in load_catalog().builds if b.order >= (2, 4, 0) and b.on_pypi}
    assert {t.rpartition(".")[0] for t, _, _ in told} == {t.rpartition(".")[0] for t in releases}
