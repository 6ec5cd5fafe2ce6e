"""What a jump to newer releases asks of source code, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archfit.model.facts import Text

ChangeEffect = Literal["breaks", "changes", "warns"]


@dataclass(frozen=True, slots=True)
class SourceChange:
    """What is different from release `since` of `package` on: `text` says it, and what to write instead."""

    id: str
    package: str
    since: str
    effect: ChangeEffect
    text: Text
    source: str


@dataclass(frozen=True, slots=True)
class SourceHit:
    """A line that a change touches: `file` is relative to the folder that was looked through, ``nb.ipynb[3]`` for cell 3."""

    change: str
    file: str
    line: int
    code: str


@dataclass(frozen=True, slots=True)
class SourceSearch:
    """What was found below `root`: `files` were read but for `unreadable`; `cut` if there were more than anyone reads."""

    root: Path
    files: int
    hits: tuple[SourceHit, ...]
    unreadable: tuple[str, ...] = ()
    cut: bool = False

    def of(self, change: str) -> tuple[SourceHit, ...]:
        """The lines that one change touches."""
        return tuple(hit for hit in self.hits if hit.change == change)
