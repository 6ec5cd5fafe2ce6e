"""The documentation site: the same pages in both languages, links that lead somewhere, commands that there are."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from archfit.cli import COMMANDS, app
from archfit.cli.manuals import command_paths, manual_of
from archfit.report.messages import Messages

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_tool", ROOT / "tools" / "docs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["en", "zh"])
def pages(request: pytest.FixtureRequest, docs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tomllib

    folder: Path = tmp_path_factory.mktemp("site") / request.param
    words = tomllib.loads((SITE / "site.toml").read_text("utf-8"))[request.param]
    docs.stage(folder, request.param, words)
    return folder


def test_both_languages_have_the_same_pages() -> None:
    found = {lang: {p.relative_to(SITE / lang) for p in (SITE / lang).rglob("*.md")} for lang in ("en", "zh")}
    assert found["en"] == found["zh"]


def test_twins_have_the_same_headings_and_the_same_commands() -> None:
    for path in (SITE / "en").rglob("*.md"):
        twin = SITE / "zh" / path.relative_to(SITE / "en")
        shapes = [re.findall(r"^#+ ", page.read_text("utf-8"), re.MULTILINE) for page in (path, twin)]
        assert shapes[0] == shapes[1], path
        assert commands_in(path) == commands_in(twin), path


def test_every_link_leads_to_a_page(pages: Path) -> None:
    lost = []
    for path in pages.rglob("*.md"):
        for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)", path.read_text("utf-8")):
            if "://" not in target and not (path.parent / target).exists():
                lost.append(f"{path.relative_to(pages)}: {target}")
    assert lost == []


def test_no_guide_keeps_the_line_that_leads_to_its_twin_in_the_repository(pages: Path) -> None:
    texts = [path.read_text("utf-8") for path in (pages / "guides").glob("*.md")]
    assert texts
    assert [text for text in texts if re.search(r"^\[(?:English|中文)\]", text, re.MULTILINE)] == []


def test_every_page_is_in_the_navigation(docs: ModuleType, pages: Path) -> None:
    import tomllib

    words = tomllib.loads((SITE / "site.toml").read_text("utf-8"))[pages.name]
    sections = docs.configuration(pages, pages.name, words)["nav"]
    named = {file for section in sections for rows in section.values() for row in rows for file in row.values()}
    assert named == {str(path.relative_to(pages)) for path in pages.rglob("*.md")}


def test_the_reference_has_every_command_and_every_finding(pages: Path) -> None:
    commands = (pages / "reference" / "commands.md").read_text("utf-8")
    assert set(re.findall(r"^## `archfit ([a-z ]+)`", commands, re.MULTILINE)) == set(command_paths(app, COMMANDS))
    findings = (pages / "reference" / "findings.md").read_text("utf-8")
    assert set(re.findall(r"^## (\S+)", findings, re.MULTILINE)) == set(Messages("en").section("finding"))


def commands_in(path: Path) -> list[str]:
    """What stands in blocks and in code inside the text, without the remark behind it."""
    text = path.read_text("utf-8")
    lines = [line for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", text)
    found = (re.search(r"\barchfit [a-z].*", line.partition("  #")[0]) for line in lines)
    return sorted(match[0].strip() for match in found if match)


@pytest.mark.parametrize("path", sorted((SITE / "en").rglob("*.md")), ids=lambda path: path.stem)
def test_commands_and_options_are_those_there_are(path: Path) -> None:
    messages, paths = Messages("en"), set(command_paths(app, COMMANDS))
    for line in commands_in(path):
        words = re.split(r"\s(?:\||>|&&)\s", line)[0]
        first, *rest = shlex.split(words)[1:]
        name = f"{first} {rest[0]}" if rest and f"{first} {rest[0]}" in paths else first
        assert name in paths, line
        known = " ".join(e.spelling for _, entries in manual_of(app, name, messages).parts for e in entries)
        for option in (word for word in rest if word.startswith("-") and word != "-"):
            assert re.search(rf"(?<!\S){option}\b", known), f"{line}: {option}"


class TestLinksOfGuides:
    def test_between_guides_stay(self, docs: ModuleType) -> None:
        assert docs.linked_inside("[a](verify.md#x)", {"verify"}) == "[a](verify.md#x)"

    def test_to_a_twin_lead_to_the_page_of_this_language(self, docs: ModuleType) -> None:
        assert docs.linked_inside("[a](auditing.zh.md)", {"auditing"}) == "[a](auditing.md)"

    def test_out_of_the_site_become_words(self, docs: ModuleType) -> None:
        assert docs.linked_inside("see [the README](../README.md).", {"verify"}) == "see the README."

    def test_to_findings_lead_to_the_reference_where_there_is_no_guide(self, docs: ModuleType) -> None:
        assert docs.linked_inside("[a](findings.md#jit-only)", {"x"}) == "[a](../reference/findings.md#jit-only)"

    def test_pictures_and_addresses_stay(self, docs: ModuleType) -> None:
        text = "![curve](learning.png) [site](https://example.org/a.md)"
        assert docs.linked_inside(text, {"x"}) == text
