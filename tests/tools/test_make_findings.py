"""The second part of docs/findings.md and its twin is what tools/make_findings.py writes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from archfit.catalog.signatures import load_signatures

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_findings", ROOT / "tools" / "make_findings.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_pages_are_as_the_program_says(tool: ModuleType, language: str) -> None:
    """When this fails, a sentence or a signature has changed: run `python tools/make_findings.py`."""
    text = tool.PAGES[language].read_text("utf-8")
    assert tool.page(text, language) == text


@pytest.mark.parametrize("name", load_signatures().classes)
def test_every_class_shows_what_it_looks_like(tool: ModuleType, name: str) -> None:
    lines = list(tool.samples(name))
    assert lines
    assert [line for line in lines if not line.strip() or len(line) > tool.WIDTH + 3] == []


def test_a_class_explained_by_hand_has_no_second_section(tool: ModuleType) -> None:
    page = tool.page("# Findings\n\n## `oom`\n\nBy hand.\n\n" + tool.MARK, "en")
    assert page.count("## `oom`") == 1
    assert page.count("\n## `") == len(load_signatures().classes)
