"""docs/terms.md holds: where an English sentence has a term, its Chinese twin has the Chinese one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from test_texts import EN, ZH

TABLE = Path(__file__).parents[2] / "docs" / "terms.md"

# English words with more senses than that of the table: no one Chinese word serves all their sentences.
MANY_SENSES = frozenset(
    {
        "build",
        "target",
        "check",
        "finding",
        "option",
        "step",
        "state",
        "cause",
        "subject",
        "record",
        "plan",
        "policy",
        "code",
    }
)
# Terms that stand in Chinese text as they are, with the Chinese word behind them only where they are introduced.
LATIN = frozenset({"SASS", "PTX", "cubin", "fatbin"})


def terms() -> dict[str, str]:
    """English term -> Chinese term."""
    found: dict[str, str] = {}
    for line in TABLE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) == 3 and cells[0] not in ("English", "---"):
            english = re.sub(r" \(.*\)", "", cells[0]).split(", ")
            chinese = cells[1].split("、")
            assert len(english) == len(chinese), line
            found |= dict(zip(english, chinese, strict=True))
    return found


TERMS = {e: c for e, c in terms().items() if e not in MANY_SENSES and e not in LATIN}


NAMES = re.compile(
    r"\{\w+\}|archfit \w+|--\w[\w-]*|`[^`]*`|'[^'\n]*'|\w+\(\)|NVIDIA Container Toolkit"
    r"|doctor, plan, upgrade, verify, history|\b[A-Z_]{4,}\b|(?<![\w ])-\w+"
)


def prose(sentence: str) -> str:
    """A sentence without placeholders, commands, options and what stands in quotes: there words are names."""
    return NAMES.sub("", re.sub(r"(?m)^(?:archfit|python|source) .*?(?= # |$)", "", sentence))


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_always_translated_alike(term: str) -> None:
    word = re.compile(rf"(?<![\w.-]){term}(?:s|d|es|ed)?(?![\w.-])", re.IGNORECASE)
    sentences = [key for key in EN if word.search(prose(EN[key])) and not key.startswith(("reason.", "cause."))]
    assert {key: ZH[key] for key in sentences if TERMS[term].replace(" ", "") not in ZH[key].replace(" ", "")} == {}
