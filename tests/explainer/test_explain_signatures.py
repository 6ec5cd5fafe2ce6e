"""Laws over all rows of signatures.toml: texts, samples, conditions, and that no pattern can be slow."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest

from archfit.catalog.signatures import Signature, anchor_of, compile_patterns, load_signatures, squeeze
from archfit.explainer.facts import read_facts
from archfit.explainer.judge import Judge
from archfit.explainer.lines import clean
from archfit.explainer.log import separate
from archfit.logs import explain
from archfit.report.messages import Messages

ROOT = Path(__file__).parents[2]
SIGNATURES = load_signatures()
ROWS = {row.id: row for row in SIGNATURES.rows}
CLASSES = SIGNATURES.classes
FIELDS = ("match", "near", "not_near", "far", "not_far")
OWNERS = {"torch", "family", "extension", "framework", "cache", "nccl", "triton"}
STANDINGS = {"newer", "older", "covered", "unknown"}


def rows_in(text: str) -> set[str]:
    """Every row that holds somewhere in `text`; decoys by their pattern alone."""
    log = separate(clean(text))
    judge = Judge(log, read_facts(log.whole), SIGNATURES)
    return {hit.row.id for stream in log.streams for hit in judge.hits_in(stream, decoys=True)}


def patterns(row: Signature) -> list[str]:
    return [text for name in FIELDS for text in getattr(row, name).texts]


def test_the_classes_are_the_contract() -> None:
    table = tomllib.loads((ROOT / "src/archfit/catalog/signatures.toml").read_text("utf-8"))
    assert list(table["class"]) == list(CLASSES)
    assert len(CLASSES) == 46


def test_no_id_is_used_twice() -> None:
    assert len(ROWS) == len(SIGNATURES.rows)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_holds_in_its_own_sample(name: str) -> None:
    assert name in rows_in(ROWS[name].yes)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_does_not_hold_in_the_sample_that_looks_like_it(name: str) -> None:
    assert name not in rows_in(ROWS[name].no)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.role != "decoy"])
def test_the_sample_of_a_row_is_explained_by_its_class(name: str) -> None:
    assert explain(ROWS[name].yes).first.id == ROWS[name].cause


def test_every_row_has_a_source_and_both_samples() -> None:
    assert [row.id for row in SIGNATURES.rows if not (row.source and row.yes and row.no and row.match.texts)] == []


def test_rows_name_only_what_there_is() -> None:
    assert {row.cause for row in SIGNATURES.rows} | {a for row in SIGNATURES.rows for a in row.also} <= CLASSES.keys()
    assert {e for kind in CLASSES.values() for e in kind.explains} <= CLASSES.keys()
    assert {o for row in SIGNATURES.rows for o in row.owner} <= OWNERS
    assert {g for row in SIGNATURES.rows for g in row.gpu} <= STANDINGS


def test_every_class_has_a_row() -> None:
    assert CLASSES.keys() - {row.cause for row in SIGNATURES.rows if row.role != "decoy"} == set()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_class_has_its_texts(language: str) -> None:
    messages = Messages("zh" if language == "zh" else "en")
    assert [c for c in CLASSES for part in ("title", "means", "fix") if not messages.cause(c, part).strip()] == []


def test_no_text_is_left_over() -> None:
    table = tomllib.loads((ROOT / "src/archfit/report/texts/en/causes.toml").read_text("utf-8"))
    assert table["cause"].keys() == CLASSES.keys()


def test_every_pattern_is_re2_and_matches_something_squeezed() -> None:
    """RE2 has no backtracking. A pattern that asks for white space could never match, for there is none."""
    texts = {text for row in SIGNATURES.rows for text in patterns(row)}
    for text in texts:
        compile_patterns([text])
    assert [text for text in texts if "\\s" in text or "\\b" in text.replace("\\\\b", "")] == []


def test_the_anchor_of_a_pattern_is_in_every_match() -> None:
    for row in SIGNATURES.rows:
        if row.role == "decoy":
            continue
        squeezed = squeeze("\n".join(line.text for line in clean(row.yes)))
        for text in row.match.texts:
            if compile_patterns([text]).search(squeezed):
                assert compile_patterns([anchor_of(text)]).search(squeezed), text


@pytest.mark.parametrize(
    "piece", ["a", "undefined symbol: ", "CUDA error: ", 'File "/a/b.py", line 1, in x\n', "'", "(" * 7]
)
def test_no_text_makes_a_pattern_slow(piece: str) -> None:
    """Linear in the text: ten times as much takes at most some thirty times as long, whatever the machine does meanwhile."""
    took = []
    for size in (20_000, 200_000):
        text = squeeze(piece * (size // len(piece)))
        began = time.process_time()
        SIGNATURES.likely(text)
        for row in SIGNATURES.rows[::3]:
            row.match.found_in(text)
        took.append(time.process_time() - began)
    assert took[1] < 30 * took[0] + 0.5


@pytest.mark.parametrize("page", ["findings.md", "findings.zh.md"])
def test_every_class_is_explained_in_the_findings(page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    headings = {line.strip("# `") for line in text.splitlines() if line.startswith("## `")}
    assert CLASSES.keys() - headings == set()
