"""Every sentence is there in both languages, with the same placeholders; every key is used, every used key is there."""

from __future__ import annotations

import ast
import re
import string
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import pytest

from archfit.arch import Verdict
from archfit.audit import RULES
from archfit.buildscript import Choice
from archfit.catalog.changes import load_changes
from archfit.catalog.extensions import load_extensions
from archfit.catalog.signatures import load_signatures
from archfit.checks import CHECKS, PRIMARY_ORDER
from archfit.errors import ApplyError, ArchfitError
from archfit.model import ChangeEffect, ChoiceKind, NodeState, PlaceKind, Proof, Status, SubjectKind, Text, WayKind
from archfit.planner.builds import REFUSED
from archfit.rebuild.records import BuildError, Stage
from archfit.report.messages import Messages, language_of

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "archfit"

# Functions and methods whose first string names a sentence, by section of the texts; the position of that string.
SPEAKERS = {
    "Text": ("text", 0),
    "Finding": ("finding", 0),
    "_finding": ("finding", 0),
    "FormatError": ("text", 0),
    "passed": ("text", 1),
    "undecided": ("text", 1),
    "not_applicable": ("text", 1),
    "ui": ("ui", 0),
    "counting": ("ui", 0),
    "_list": ("ui", 0),
}
TABLE_COLUMNS = "_table"


def flat(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """finding.jit-only.title -> sentence."""
    for key, value in table.items():
        if isinstance(value, str):
            yield prefix + key, value
        elif isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")


def texts(language: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted((SRC / "report" / "texts" / language).glob("*.toml")):
        sentences = dict(flat(tomllib.loads(path.read_text("utf-8"))))
        assert not found.keys() & sentences.keys(), f"{path.name} repeats a key"
        found |= sentences
    return found


EN, ZH = texts("en"), texts("zh")


def test_both_languages_have_the_same_files() -> None:
    files = {lang: {p.name for p in (SRC / "report" / "texts" / lang).iterdir()} for lang in ("en", "zh")}
    assert files["en"] == files["zh"]


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


# --- what the source says --------------------------------------------------------------------------------------------


def spoken() -> set[str]:
    """Every key that is written out in the source, as section.key."""
    found: set[str] = set()
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                found |= set(keys_of(node))
    return found


ERRORS = {c.__name__ for c in (*ArchfitError.__subclasses__(), ArchfitError, BuildError)} - {"FormatError"}


def keys_of(call: ast.Call) -> Iterator[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    if name == TABLE_COLUMNS:
        yield from (f"ui.{key}" for argument in call.args for key in strings(argument))
    section, position = SPEAKERS.get(name, ("error", 0) if name in ERRORS else ("", 0))
    if section and len(call.args) > position:
        yield from (f"{section}.{key}" for key in strings(call.args[position]))


def strings(node: ast.expr) -> Iterator[str]:
    """The strings that an expression can be: itself, or either branch of a condition."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from strings(node.body)
        yield from strings(node.orelse)


def assigned() -> set[str]:
    """All other strings of the source, but for keys of JSON: what travels through a variable before it is looked up."""
    paths = (path for path in SRC.rglob("*.py") if path.name not in ("json_v1.py", "load.py"))
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


SPOKEN = spoken()
ASSIGNED = assigned()
FLEET_ATTRIBUTES = ("state", "status", "gpus", "driver", "kernel-module", "python", "libc", "torch", "package")
BUILD_SCRIPT = (SRC / "report/templates/build_torch.sh").read_text("utf-8")
BUILD_FACTS = {"release", "cuda", "python", "file"}
FAMILIES = {
    "ui": {
        *(f"why-{reason}" for reason in ("named", "VIRTUAL_ENV", "CONDA_PREFIX", "PATH")),
        *(f"status-{status.value}" for status in Status),
        *(f"step-{step}" for step in ("clone", "install", "verify", "exchange", "prove")),
        *(f"rebuild-{stage}" for stage in get_args(Stage)),
        *(proof.value for proof in Proof),
        *(f"scan-kind-{kind}" for kind in get_args(SubjectKind)),
        *(f"scan-{verdict.value}" for verdict in Verdict if verdict is not Verdict.NO_GPU_CODE),
        *(f"build-{choice}" for choice in get_args(Choice)),
        *(f"build-torch-{name}" for name in re.findall(r"@([a-z-]+)@", BUILD_SCRIPT) if name not in BUILD_FACTS),
        *(f"way-kind-{kind}" for kind in get_args(WayKind)),
        *(f"source-effect-{effect}" for effect in get_args(ChangeEffect)),
        *(f"audit-{rule}" for rule in RULES),
        *(f"audit-rule-{rule}" for rule in RULES),
        *(f"explain-surer-{kind.area}" for kind in load_signatures().classes.values()),
        *(f"fleet-state-{state}" for state in get_args(NodeState) if state != "reported"),
        *(f"fleet-count-{word}" for word in (*get_args(NodeState), *Status) if word != "reported"),
        *(f"fleet-is-{status}" for status in Status),
        *(f"fleet-kind-{kind}" for kind in get_args(ChoiceKind)),
        *(f"fleet-place-{kind}" for kind in get_args(PlaceKind)),
        *(f"fleet-column-{name}" for name in ("nodes", "gpus", "driver", "python", "torch", "causes")),
        *(f"fleet-what-{what}" for what in FLEET_ATTRIBUTES),
    },
    "text": {"targets", "targets-sass", "targets-ptx"}
    | {f"resolver-{state}" for state in REFUSED}
    | {f"build-{confidence}" for confidence in ("measured", "documented", "inferred")}
    | {f"risk-{confidence}" for confidence in ("documented", "inferred")}
    | {change.says for change in load_changes()}
    | {told.says for row in load_extensions().by_name.values() for told in (*row.cases, *row.refusals)},
    "check": {name for name, _ in CHECKS},
}
FAMILY_KEYS = {f"{section}.{key}" for section, keys in FAMILIES.items() for key in keys}
FINDINGS = {key.split(".")[1] for key in EN if key.startswith("finding.")}


# --- both languages --------------------------------------------------------------------------------------------------


def test_both_languages_have_the_same_keys() -> None:
    assert EN.keys() == ZH.keys()


def test_both_languages_fill_the_same_placeholders() -> None:
    assert {key: placeholders(EN[key]) for key in EN} == {key: placeholders(ZH[key]) for key in ZH}


def test_placeholders_have_names() -> None:
    assert [key for key, sentence in (EN | ZH).items() if not all(map(str.isidentifier, placeholders(sentence)))] == []


def test_chinese_is_chinese() -> None:
    """A sentence that has words in English has Chinese characters in Chinese; names and bare placeholders do not."""
    names = {
        "area.gpu",
        "area.python",
        "area.torch",
        "check.interpreter",
        "check.gpu",
        "check.torch",
        "text.torch",
        "ui.record-gpu",
        "ui.requires-python",
        "hint.target-cut-off",
        "hint.policy-empty",
        "ui.scan-kind-wheel",
        "ui.scan-ptx",
        "ui.scan-sass",
    }
    worded = [key for key in EN if re.search("[a-z]{2}", re.sub(r"\{\w+\}", "", EN[key]), re.IGNORECASE)]
    assert {key for key in worded if not re.search("[\u4e00-\u9fff]", ZH[key])} == names


def test_english_is_not_chinese() -> None:
    assert [key for key, sentence in EN.items() if re.search("[\u4e00-\u9fff]", sentence)] == []


def test_chinese_uses_its_own_punctuation_between_chinese_characters() -> None:
    wrong = re.compile("[\u4e00-\u9fff][,;:!?(][\u4e00-\u9fff]")
    assert {key: sentence for key, sentence in ZH.items() if wrong.search(sentence)} == {}


# --- source and sentences --------------------------------------------------------------------------------------------


def sections(*names: str) -> set[str]:
    return {".".join(key.split(".")[:2]) for key in EN if key.split(".")[0] in names}


def test_every_key_in_the_source_has_a_sentence() -> None:
    assert (SPOKEN | FAMILY_KEYS) - sections("ui", "text", "error", "check", "finding") == set()


def test_every_sentence_is_used() -> None:
    unused = sections("ui", "text", "error", "check", "finding") - SPOKEN - FAMILY_KEYS
    assert {key for key in unused if key.split(".", 1)[1] not in ASSIGNED} == set()


def test_every_hint_belongs_to_an_error() -> None:
    assert {k.removeprefix("hint.") for k in sections("hint")} - {
        k.removeprefix("error.") for k in sections("error")
    } == set()


def test_a_hint_needs_no_more_than_its_error_tells() -> None:
    """The same values fill both; what only the hint uses must be told by whoever raises the error."""
    only_hint = {
        k: placeholders(EN[f"hint.{k}"]) - placeholders(EN[f"error.{k}"]) for k in (h[5:] for h in sections("hint"))
    }
    told = {
        "gpu-unknown-name": {"near"},
        "gpu-unknown-capability": {"known"},
        "fleet-empty-folder": {"suffixes"},
        "level-unknown": {"known"},
        "probe-unknown": {"near"},
        "driver-first": {"command"},
        "driver-window": {"command"},
        "bundle-nothing": {"command"},
        "mirror-unknown": {"known"},
        "internal": {"log"},
        "no-state": {"target"},
        "not-verified-packages": {"options"},
        "refuse-conda-owned": {"command"},
        "nothing-to-apply": {"command"},
        "jetpack": {"command"},
        "plan-undecided": {"command"},
        "schema-unknown": {"known"},
        "package-unknown": {"near"},
        "shell-unknown": {"known"},
        **{key.removeprefix("hint."): {"see"} for key in EN if key.startswith("hint.usage-")},
    }
    assert {key: names for key, names in only_hint.items() if names and names != told.get(key)} == {}


def test_every_finding_has_a_title_and_a_detail() -> None:
    assert {key.split(".")[2] for key in EN if key.startswith("finding.")} == {"title", "detail"}
    assert {i for i in FINDINGS if {f"finding.{i}.title", f"finding.{i}.detail"} <= EN.keys()} == FINDINGS


def test_the_order_of_causes_names_findings() -> None:
    assert [finding for finding in PRIMARY_ORDER if finding not in FINDINGS] == []


@pytest.mark.parametrize("page", ["findings.md", "findings.zh.md"])
def test_every_finding_is_explained(page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    headings = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert {f for f in FINDINGS if not re.search(rf"(?<![\w-]){re.escape(f)}(?![\w-])", headings)} == set()


# --- looking sentences up --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "ZH_cn"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "en_US.UTF-8", "LC_ALL": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
    ],
)
def test_the_language_is_that_of_the_locale(environ: dict[str, str], language: str) -> None:
    assert language_of(environ) == language


def test_a_sentence_among_the_values_is_filled_first() -> None:
    inner = Text("file-cut", {"offset": "64", "what": "header", "found": "3", "expected": "64"})
    outer = Text("files-unreadable", {"count": "1", "first": "a.so", "cause": inner})
    assert Messages("en").text(outer) == (
        "1 could not be read, first a.so: the file ends at offset 64, inside its header: 3 of 64 bytes"
    )


def test_braces_in_a_value_stay() -> None:
    assert Messages("en").text(Text("child-failed", {"cause": "{not} a {placeholder}"})) == (
        "it said: {not} a {placeholder}"
    )


@pytest.mark.parametrize(
    ("error", "sentence", "hint"),
    [
        (
            ApplyError("locked", target="/env", owner="pid 7"),
            "another archfit is at work on /env (pid 7)",
            "wait for it, or end that process",
        ),
        (ApplyError("refuse-mount", target="/env"), "/env is a mount point, which cannot be exchanged", None),
    ],
)
def test_errors_speak(error: ArchfitError, sentence: str, hint: str | None) -> None:
    messages = Messages("en")
    assert (messages.error(error), messages.hint(error)) == (sentence, hint)


# --- what the sentences tell people to type --------------------------------------------------------------------------

# Options of other programs that sentences quote, and of archfit as a whole.
FOREIGN = frozenset({"--help", "--tail", "--nproc-per-node", "--clone", "--name", "--python"})


@pytest.mark.parametrize("sentences", [EN, ZH], ids=["en", "zh"])
def test_options_in_sentences_are_those_there_are(sentences: dict[str, str]) -> None:
    from archfit.cli import COMMANDS, app
    from archfit.cli.manuals import command_paths, manual_of

    messages = Messages("en")
    entries = (
        e for path in command_paths(app, COMMANDS) for _, rows in manual_of(app, path, messages).parts for e in rows
    )
    known = {word.rstrip(",") for entry in entries for word in entry.spelling.split() if word.startswith("--")}
    said = {
        (key, option)
        for key, sentence in sentences.items()
        if "archfit" in sentence or key.startswith(("hint.", "error."))
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", sentence)
    }
    assert {(key, option) for key, option in said if option not in known | FOREIGN} == set()
