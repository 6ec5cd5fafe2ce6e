"""The rows of the probes and the functions they name; the page that lists them."""

from __future__ import annotations

import ast
from importlib import resources
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from archfit.catalog.probes import ProbeRow, load_probes
from archfit.report.messages import Messages
from archfit.verify.judge import SKIPS

TARGET = Path(str(resources.files("archfit.target")))
DOCS = Path(__file__).parents[2] / "docs"


def functions(module: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((TARGET / f"{module}.py").read_text("utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", load_probes(), ids=lambda row: row.name)
def test_every_row_names_a_function_that_is_there(row: ProbeRow) -> None:
    module, _, name = row.entry.partition(":")
    assert [a.arg for a in functions(module)[name].args.args] == ["kit"]


def test_every_public_function_of_a_probe_file_that_takes_a_kit_has_a_row() -> None:
    named = {row.entry for row in load_probes()}
    found = {
        f"{page.stem}:{name}"
        for page in TARGET.glob("probe_*.py")
        for name, node in functions(page.stem).items()
        if not name.startswith("_") and [a.arg for a in node.args.args] == ["kit"]
    }
    assert found == named


@pytest.mark.parametrize("row", [r for r in load_probes() if r.kind == "extension"], ids=lambda row: row.name)
def test_an_extension_row_is_whole(row: ProbeRow) -> None:
    assert row.packages
    assert all(canonicalize_name(p) == p for p in row.packages if not set(p) & set("*?"))
    assert row.proven in ("cuda", "cpu", "never")
    assert row.alone == row.entry.startswith("probe_frameworks:")


def test_a_helper_package_is_not_taken_for_the_framework() -> None:
    rows = {row.name: row for row in load_probes()}
    assert rows["tensorflow-product"].belongs_to("tensorflow")
    assert not rows["tensorflow-product"].belongs_to("tensorflow-estimator")
    assert rows["spconv-submanifold"].belongs_to("spconv-cu126")
    assert not rows["onnxruntime-session"].belongs_to("onnxruntime-extensions")


def test_every_reason_to_skip_has_a_sentence() -> None:
    known = Messages("en")._table["text"]
    assert {key for key in SKIPS if key not in known} == set()


def test_every_reason_that_a_probe_gives_is_known() -> None:
    given = {
        node.args[0].value
        for page in TARGET.glob("probe_*.py")
        for node in ast.walk(ast.parse(page.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "Skip"
        and isinstance(node.args[0], ast.Constant)
    }
    assert given <= SKIPS


@pytest.mark.parametrize(("name", "never"), [("verify.md", "never run"), ("verify.zh.md", "从未运行")])
def test_the_page_lists_every_probe_and_where_it_has_run(name: str, never: str) -> None:
    page = (DOCS / name).read_text("utf-8")
    missing = [row.name for row in load_probes() if f"`{row.name}`" not in page]
    words = {"cuda": "GPU", "cpu": "CPU", "never": never}
    wrong = [
        row.name
        for row in load_probes()
        if row.kind == "extension" and f"| `{row.name}` | {words[row.proven]} |" not in page
    ]
    assert (missing, wrong) == ([], [])
