"""The README says what is: exit codes, commands, the two ways to start; and its Chinese twin says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from archfit import __version__, api
from archfit.cli import COMMANDS as MODULES
from archfit.errors import ArchfitError, ExitCode

ROOT = Path(__file__).parents[1]
READMES = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh.md")}
COMMANDS = set(MODULES)


def subclasses(kind: type[ArchfitError]) -> set[type[ArchfitError]]:
    return {kind} | {below for sub in kind.__subclasses__() for below in subclasses(sub)}


def test_exit_codes_are_the_contract() -> None:
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 6, 7, 130]


def test_every_error_ends_with_a_code_of_the_table() -> None:
    assert {kind.exit_code for kind in subclasses(ArchfitError)} <= set(ExitCode)


@pytest.mark.parametrize("name", READMES)
def test_readme_lists_every_exit_code(name: str) -> None:
    table = re.findall(r"^\| (\d+) \| \S", READMES[name], re.MULTILINE)
    assert [int(code) for code in table] == [int(code) for code in ExitCode]


@pytest.mark.parametrize("name", READMES)
def test_the_two_commands_stand_first(name: str) -> None:
    first_block = READMES[name].split("```")[1]
    assert re.findall(r"^\./run (\w+)", first_block, re.MULTILINE) == ["demo", "test"]


@pytest.mark.parametrize("name", READMES)
def test_readme_names_no_command_that_is_not_there(name: str) -> None:
    named = set(re.findall(r"(?:`|\$ )archfit ([a-z]+)", READMES[name]))
    assert named <= COMMANDS
    assert {"doctor", "plan", "upgrade", "rollback", "verify", "history", "scan", "audit"} <= named


def test_the_chinese_twin_has_the_same_sections() -> None:
    headings = {name: re.findall(r"^(#+) ", text, re.MULTILINE) for name, text in READMES.items()}
    assert headings["README.md"] == headings["README.zh.md"]


@pytest.mark.parametrize("name", READMES)
def test_levels_in_the_readme_are_those_there_are(name: str) -> None:
    assert f"--level {','.join(api.LEVELS)}" in READMES[name]


def test_ci_runs_the_readmes_test_command_then_the_story() -> None:
    ci = (ROOT / ".ci/run").read_text("utf-8")
    assert re.findall(r"^\./run (\w+)$", ci, re.MULTILINE) == ["test", "docs", "e2e"]


def test_the_changelog_knows_this_version() -> None:
    assert f"## {__version__} " in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_links_in_the_documentation_lead_somewhere() -> None:
    pages = [ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    pages += (ROOT / "docs").glob("*.md")
    links = [(p, link) for p in pages for link in re.findall(r"\]\(([^)#:]+)\)", p.read_text("utf-8"))]
    assert [f"{p.name}: {link}" for p, link in links if not (p.parent / link).exists()] == []
