"""Write the second part of docs/findings.md and docs/findings.zh.md: what `archfit explain` knows, a section for each class.

    python tools/make_findings.py

The sentences are those of the program (report/texts/*/causes.toml). The lines of logs are what the explainer quotes from the
samples in catalog/signatures.toml. What stands above the mark is written by hand; classes explained there are left out below.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from archfit.catalog.signatures import ErrorClass, load_signatures
from archfit.explainer.explain import explain_text
from archfit.report.messages import Language, Messages

DOCS = Path(__file__).parents[1] / "docs"
PAGES: dict[Language, Path] = {"en": DOCS / "findings.md", "zh": DOCS / "findings.zh.md"}
MARK = "<!-- From here on written by tools/make_findings.py. -->\n"
SAMPLES, WIDTH = 3, 150
CONCERNS: dict[Language, dict[bool, str]] = {
    "en": {True: "environment", False: "no environment problem"},
    "zh": {True: "环境", False: "不是环境问题"},
}


def main() -> int:
    """Write both pages."""
    for language, path in PAGES.items():
        path.write_text(page(path.read_text("utf-8"), language), "utf-8")
    return 0


def page(text: str, language: Language) -> str:
    """The page with its second part made anew."""
    by_hand = text.partition(MARK)[0]
    explained = set(re.findall(r"^## `([\w-]+)`$", by_hand, re.MULTILINE))
    classes = load_signatures().classes
    sections = ["\n".join(section(name, classes[name], language)) for name in classes if name not in explained]
    return by_hand + MARK + "\n" + "\n".join(sections)


def section(name: str, kind: ErrorClass, language: Language) -> Iterator[str]:
    """One class: what it concerns, what it means, what helps, and how it looks in a log."""
    words = Messages(language)
    title, means, fix = (words.cause(name, part) for part in ("title", "means", "fix"))
    yield f"## `{name}`\n"
    yield f"*{CONCERNS[language][kind.environment]}* · **{title}**\n"
    # Chinese has no blanks at which a line could end
    yield textwrap.fill(f"{means} {fix}", 130, break_on_hyphens=False) if language == "en" else means + fix
    yield "\n```"
    yield from samples(name)
    yield "```\n"


def samples(name: str) -> Iterator[str]:
    """What the explainer quotes where a row of this class decides, from the sample logs of the first rows."""
    rows = [row for row in load_signatures().rows if row.cause == name and row.role != "decoy"]
    quoted = [quotes for row in rows if (quotes := quotes_of(row.id, row.yes))]
    for text in dict.fromkeys(line for quotes in quoted[:SAMPLES] for line in quotes):
        yield text if len(text) <= WIDTH else f"{text[:WIDTH]}..."


def quotes_of(row: str, log: str) -> list[str]:
    """The lines that the row is told by; none where others are surer."""
    return [quote.text for cause in explain_text(log).causes if cause.row == row for quote in cause.evidence]


if __name__ == "__main__":
    sys.exit(main())
