"""Each change is found where it is needed, and nowhere else: one row has code that must be found and code that must not."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

from archfit.catalog.changes import Change, changes_between, load_changes
from archfit.sources.match import match_module

CASES = tomllib.loads(Path(__file__).with_name("cases.toml").read_text("utf-8"))


def found(change_id: str, code: str) -> list[int]:
    change = next(row for row in load_changes() if row.id == change_id)
    return sorted({line for _, line in match_module(ast.parse(code), [change])})


def test_every_change_has_both_kinds_of_code() -> None:
    assert CASES.keys() == {row.id for row in load_changes()}


@pytest.mark.parametrize("change", CASES)
def test_code_that_needs_it_is_found(change: str) -> None:
    assert [code for code in CASES[change]["yes"] if not found(change, code)] == []


@pytest.mark.parametrize("change", CASES)
def test_code_that_does_not_need_it_is_left_alone(change: str) -> None:
    assert [code for code in CASES[change]["no"] if found(change, code)] == []


def test_the_line_is_that_of_the_use() -> None:
    code = "import torch\n\n\nmodel = build(\n    torch.load(path),\n)\n"
    assert found("torch-load", code) == [5]


def test_a_dotted_name_counts_once() -> None:
    change = next(row for row in load_changes() if row.id == "torch-tf32")
    tree = ast.parse("import torch\ntorch.backends.cudnn.allow_tf32 = True")
    assert len(list(match_module(tree, [change]))) == 1


class TestLaws:
    @pytest.mark.parametrize("row", load_changes(), ids=lambda row: row.id)
    def test_a_row_is_whole(self, row: Change) -> None:
        assert (row.source != "", row.read.startswith("20")) == (True, True)
        assert (bool(row.pattern), bool(row.names)) == ((row.kind == "text"), (row.kind != "text"))

    def test_ids_are_unique(self) -> None:
        ids = [row.id for row in load_changes()]
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("2.4.1", "2.5.1", False),
        ("2.4.1", "2.6.0", True),
        ("2.5.1", "2.8.0", True),
        ("2.6.0", "2.8.0", False),
        ("2.8.0", "2.4.1", False),
        (None, "2.8.0", True),
        (None, "2.5.1", False),
        ("2.6.0.dev20241112", "2.8.0", False),
    ],
)
def test_a_jump_brings_what_lies_between(before: str | None, after: str, expected: bool) -> None:
    ids = {row.id for row in changes_between({"torch": (before, after)})}
    assert ("torch-load" in ids) is expected
