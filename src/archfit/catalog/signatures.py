"""What errors look like: the rows of ``signatures.toml``, compiled when first asked for.

Patterns are RE2, which has no backtracking: no text makes them slow. They are matched against squeezed text (see
`squeeze`), in which there is no white space at all, so that a message is found however it was wrapped.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

Role = Literal["error", "warning", "fallout", "decoy"]
_WHITE = b" \t\r\n\x0b\x0c"
_MEMORY = 64 << 20  # bytes RE2 may use for the states of one set; it stays far below


def squeeze(text: str) -> bytes:
    """`text` without white space, as UTF-8: what patterns are matched against."""
    return text.encode("utf-8", "surrogatepass").translate(None, _WHITE)


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """A cause: `area` is what it concerns, `explains` the classes that follow from it, `commands` what cures it."""

    id: str
    area: str
    environment: bool
    explains: frozenset[str]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Patterns:
    """Alternatives, found together; an empty list is found nowhere."""

    texts: tuple[str, ...]

    @cached_property
    def _compiled(self) -> Any:
        return compile_patterns(self.texts)

    def found_in(self, squeezed: bytes) -> bool:
        """Is any of them in this text?"""
        return bool(self.texts) and self._compiled.search(squeezed) is not None

    def spans(self, squeezed: bytes) -> list[tuple[int, int]]:
        """Where they are, from left to right, without overlaps."""
        return [match.span() for match in self._compiled.finditer(squeezed)] if self.texts else []


@dataclass(frozen=True, slots=True)
class Signature:
    """One row: a text and what it means under which conditions; see the head of the file for the fields."""

    id: str
    cause: str
    match: Patterns
    role: Role
    weight: int
    near: Patterns
    not_near: Patterns
    far: Patterns
    not_far: Patterns
    owner: frozenset[str]
    gpu: frozenset[str]
    driver: frozenset[str]
    also: tuple[str, ...]
    culprit: str
    source: str
    yes: str
    no: str


@dataclass(frozen=True)
class Signatures:
    """All rows in order, the classes, the packages with code of their own, and how those without wheels are built again."""

    rows: tuple[Signature, ...]
    classes: dict[str, ErrorClass]
    packages: dict[str, str]
    rebuild: dict[str, tuple[str, ...]]

    @cached_property
    def _set(self) -> Any:
        import re2  # a compiled package: only who reads logs needs it

        options = re2.Options()
        options.max_mem = _MEMORY
        options.log_errors = False
        found = re2.Set.SearchSet(options)
        for _, text in self._anchors:
            found.Add(text)
        found.Compile()
        return found

    @cached_property
    def _anchors(self) -> list[tuple[int, str]]:
        return [(number, anchor_of(text)) for number, row in enumerate(self.rows) for text in row.match.texts]

    def likely(self, squeezed: bytes) -> list[int]:
        """Which rows may match somewhere in this text, by position: one pass looks for a fixed piece of every pattern."""
        return sorted({self._anchors[hit][0] for hit in self._set.Match(squeezed) or ()})


def unspaced(pattern: str) -> str:
    """A pattern as it is matched: a blank in it stands for any white space or none, and the text has none left."""
    return pattern.replace(" ?", "").replace(" ", "")


_MIN_ANCHOR = 5
# A pattern in pieces: escaped letters, escaped signs, character classes, repeats, groups and operators, and plain runs.
_PIECE = re.compile(r"\\[A-Za-z0-9]|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{[^}]*\}|\(|[)|.^$*+?]|[^\\\[(){}|.^$*+?]+")


def anchor_of(pattern: str) -> str:
    """The longest fixed piece that a match of `pattern` must contain, as a pattern; the pattern itself if it has none."""
    pattern = unspaced(pattern)
    pieces = _PIECE.findall(pattern)
    best = run = ""
    depth = 0
    for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
        first = piece[0]
        if first == "|" and depth == 0:
            return pattern
        depth += (first == "(") - (first == ")")
        if depth or first in ")[{.^$*+?|" or (first == "\\" and piece[1].isalnum()):
            run = ""
            continue
        optional = following[:1] in ("?", "*", "{") if following else False
        kept = (
            ""
            if optional and first == "\\"
            else re.escape(piece[:-1])
            if optional
            else piece
            if first == "\\"
            else re.escape(piece)
        )
        run += kept
        best = max(best, run, key=len)
        run = "" if optional else run
    return best if len(best) >= _MIN_ANCHOR else pattern


def compile_patterns(texts: Sequence[str]) -> Any:
    """One RE2 program for all alternatives; raises re2.error for what is no pattern."""
    import re2

    options = re2.Options()
    options.log_errors = False
    return re2.compile(unspaced("|".join(f"(?:{text})" for text in texts)).encode(), options)


@cache
def load_signatures() -> Signatures:
    """The rows that ship with archfit."""
    table = tomllib.loads(Path(__file__).with_name("signatures.toml").read_text("utf-8"))
    classes = {
        name: ErrorClass(
            name, row["area"], row.get("environment", True), frozenset(row["explains"]), tuple(row["commands"])
        )
        for name, row in table["class"].items()
    }
    packages = {name: kind for kind, names in table["packages"].items() for name in names}
    rebuild = {name: tuple(commands) for name, commands in table["rebuild"].items()}
    return Signatures(tuple(_row(row) for row in table["signature"]), classes, packages, rebuild)


def _row(row: dict[str, Any]) -> Signature:
    conditions = {name: Patterns(tuple(row.get(name, ()))) for name in ("match", "near", "not_near", "far", "not_far")}
    return Signature(
        id=row["id"],
        cause=row["class"],
        role=row.get("role", "error"),
        weight=row.get("weight", 0),
        owner=frozenset(row.get("owner", ())),
        gpu=frozenset(row.get("gpu", ())),
        driver=frozenset(row.get("driver", ())),
        also=tuple(row.get("also", ())),
        culprit=row.get("culprit", ""),
        source=row["source"],
        yes=row["yes"],
        no=row["no"],
        **conditions,
    )
