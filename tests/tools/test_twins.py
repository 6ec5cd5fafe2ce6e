"""A document and its Chinese twin say the same: headings, tables, lists, commands, numbers, links.

Words are the translator's; what is no word must be equal. What a reader fills in may be named in Chinese (`clean ENV` and
`clean 环境`), so Chinese words stand for any text when commands are compared. A number written in digits is written in digits
in both, a number written as a word in neither ("eight threads", 八个线程); months are words in English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
# What needs no twin, and why.
ALONE = {"terms": "one table in both languages"}


READMES = (DOCS.parent / "README.md", DOCS.parent / "README.zh.md")
DOCUMENTS = sorted(path for path in DOCS.glob("*.md") if not path.name.endswith(".zh.md"))
SITE = [
    (path, DOCS / "site" / "zh" / path.relative_to(DOCS / "site" / "en"))
    for path in (DOCS / "site" / "en").rglob("*.md")
]
PAIRS = [(path, path.with_suffix(".zh.md")) for path in DOCUMENTS if path.with_suffix(".zh.md").exists()]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`+([^`\n]+)`+")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SWITCH = re.compile(r"^\[(?:中文|English)\]\((\S+)\)$", re.MULTILINE)
_CHINESE = re.compile(r"[　-〿㐀-鿿＀-￯“”…]+")
_REMARK = re.compile(r"\s+# .*|^# .*")  # in a block of code; its words are prose
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)*")


def read(path: Path) -> str:
    return path.read_text("utf-8")


def prose(text: str) -> str:
    """A document without its blocks of code."""
    return _BLOCK.sub("", text)


def unwrapped(text: str) -> str:
    """Prose with each paragraph on one line: code may be wrapped, too."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", prose(text))


def paragraphs(text: str) -> int:
    return sum(not re.match(r"#+ |<a id=|\||\* |\d+\. ", part) for part in re.split(r"\n{2,}", prose(text).strip()))


def headings(text: str) -> list[str]:
    return re.findall(r"^#+(?= )", prose(text), re.MULTILINE)


def tables(text: str) -> list[list[int]]:
    """The number of cells of each row of each table."""
    found = re.findall(r"(?:^\|.*\n)+", prose(text), re.MULTILINE)
    return [[len(re.findall(r"(?<!\\)\|", line)) - 1 for line in table.splitlines()] for table in found]


def items(text: str) -> list[str]:
    """What each entry of a list begins with."""
    return re.findall(r"^ *(\*|\d+\.)(?= )", prose(text), re.MULTILINE)


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Language and lines of each block."""
    return [(language, inside.splitlines()) for language, inside in _BLOCK.findall(text)]


def codes(text: str) -> set[str]:
    return set(_CODE.findall(unwrapped(text)))


def numbers(text: str) -> set[str]:
    """Every number outside of code and of addresses."""
    plain = re.sub(r"\d+ 月", "", _LINK.sub("]", _CODE.sub("", unwrapped(text))))
    return {number.rstrip(",") for number in _NUMBER.findall(plain)}


def links(text: str) -> set[str]:
    return set(_LINK.findall(_SWITCH.sub("", text)))


def alike(english: str, chinese: str) -> bool:
    """Is the Chinese text the English one, if each run of Chinese may be anything?"""
    wanted, given = (_REMARK.sub(" #", line).replace(" --lang zh", "").split() for line in (english, chinese))
    pattern = ".+".join(re.escape(piece.strip()) for piece in _CHINESE.split(" ".join(given)))
    return re.fullmatch(pattern, " ".join(wanted)) is not None


def unlike(english: set[str], chinese: set[str]) -> tuple[list[str], list[str]]:
    """What is in one set only, where Chinese may stand for anything."""
    rest, lost = english - chinese, []
    # what fits the fewest chooses first
    for text in sorted(chinese - english, key=lambda text: -len(_CHINESE.sub("", text))):
        mate = next((one for one in sorted(rest) if alike(one, text)), None)
        if mate is None:
            lost.append(text)
        rest.discard(mate or "")
    return sorted(rest), sorted(lost)


def differing_lines(english: str, chinese: str) -> Iterator[tuple[str, str]]:
    for (_, left), (_, right) in zip(blocks(english), blocks(chinese), strict=True):
        yield from ((a, b) for a, b in zip(left, right, strict=True) if not alike(a, b))


def test_every_document_has_a_twin() -> None:
    assert {path.stem for path in DOCUMENTS} - {path.stem for path, _ in PAIRS} == set(ALONE)
    assert {path.name for path in DOCS.glob("*.zh.md")} == {twin.name for _, twin in PAIRS}


def test_the_chinese_readme_leads_to_chinese_documents() -> None:
    linked = links(read(READMES[1]))
    assert {f"docs/{path.name}" for path, _ in PAIRS} & linked == set()
    assert f"docs/{PAIRS[0][1].name}" in linked


@pytest.mark.parametrize(("path", "twin"), [*PAIRS, READMES, *sorted(SITE)], ids=lambda path: path.name)
class TestWords:
    def test_have_the_same_headings_tables_lists_and_paragraphs(self, path: Path, twin: Path) -> None:
        english, chinese = read(path), read(twin)
        assert headings(chinese) == headings(english)
        assert tables(chinese) == tables(english)
        assert items(chinese) == items(english)
        assert paragraphs(chinese) == paragraphs(english)

    def test_have_the_same_code_in_the_text(self, path: Path, twin: Path) -> None:
        assert unlike(codes(read(path)), codes(read(twin))) == ([], [])

    def test_have_the_same_numbers(self, path: Path, twin: Path) -> None:
        english, chinese = numbers(read(path)), numbers(read(twin))
        assert (sorted(english - chinese), sorted(chinese - english)) == ([], [])


@pytest.mark.parametrize(("path", "twin"), PAIRS, ids=lambda path: path.name)
class TestTwins:
    def test_have_the_same_blocks_of_code(self, path: Path, twin: Path) -> None:
        english, chinese = read(path), read(twin)
        shapes = [[(language, len(lines)) for language, lines in blocks(text)] for text in (english, chinese)]
        assert shapes[0] == shapes[1]
        assert list(differing_lines(english, chinese)) == []

    def test_lead_to_the_same_places_in_their_own_language(self, path: Path, twin: Path) -> None:
        both = {f"{mate.stem}.zh.md" for mate, _ in PAIRS}
        here = {re.sub(r"^([\w-]+)\.md", r"\1.zh.md", link) for link in links(read(path))}
        expected = {link if link.partition("#")[0] in both else link.replace(".zh.md", ".md") for link in here}
        assert links(read(twin)) == expected

    def test_lead_to_each_other(self, path: Path, twin: Path) -> None:
        assert _SWITCH.findall(read(path)) == [twin.name]
        assert _SWITCH.findall(read(twin)) == [path.name]


class TestTheRuler:
    """What the comparison must see, and what it must let pass."""

    def test_chinese_stands_for_what_a_reader_fills_in(self) -> None:
        assert alike("archfit clean ENV --keep 1", "archfit clean 环境 --keep 1")
        assert alike("archfit plan   # on 2 GPUs, this machine", "archfit plan # 本机，2 块 GPU")
        assert not alike("archfit plan   # this machine", "archfit plan")

    def test_another_command_is_seen(self) -> None:
        assert not alike("archfit clean ENV --keep 1", "archfit clean 环境 --keep 2")
        assert unlike({"--keep N", "-v"}, {"--keep 数量", "-q"}) == (["-v"], ["-q"])

    def test_a_lost_row_and_a_lost_cell_are_seen(self) -> None:
        assert tables("| a | b |\n|---|---|\n| 1 | 2 |\n") == [[2, 2, 2]]
        assert tables("| a |\n|---|\n\n| b |\n") == [[1, 1], [1]]

    def test_numbers_are_read_whole_and_outside_of_code(self) -> None:
        assert numbers("12.8, 22,253 and `7`; 2024 年 4 月, [a](b1.md)") == {"12.8", "22,253", "2024"}

    def test_blocks_hide_what_looks_like_a_heading(self) -> None:
        assert headings("# a\n```\n# b\n```\n## c\n") == ["#", "##"]
