"""How pages are made: templates that escape by default, one style sheet, scripts that the page names by their hash.

Everything stands in one file, in both languages, and nothing is loaded from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfit import __version__
from archfit.coverage import base_targets_of
from archfit.report import html_words as words
from archfit.report.alternatives import alternatives_of, by_hand_of
from archfit.report.areas import first_with_targets, mark_of
from archfit.report.build_screen import build_lines
from archfit.report.heatmap import LOOKS
from archfit.report.messages import Language, Messages
from archfit.report.screen import size
from archfit.report.source_screen import change_sentence, search_remarks
from archfit.report.ways_screen import (
    MARKS,
    compiled,
    option_with_ways,
    reasons,
    rebuilt,
    unsolved_of,
    wanted_of,
    way_title,
)

if TYPE_CHECKING:
    from jinja2 import Environment as Templates

_FOLDER = Path(__file__).with_name("templates")
_LANGUAGES: tuple[tuple[Language, str], ...] = (("en", "en"), ("zh", "zh-Hans"))


@dataclass(frozen=True, slots=True)
class Sheet:
    """The page in one language; `tag` is the language as browsers call it."""

    language: Language
    tag: str
    messages: Messages
    title: str


def render(
    template: str, messages: Messages, when: datetime, *, title: Any, scripts: Sequence[str] = (), **values: Any
) -> str:
    """A template with both languages, the style sheet and the scripts of `templates/` in it; `title` is made of Messages."""
    sheets = [_sheet(language, tag, messages, title) for language, tag in _LANGUAGES]
    texts = [_asset(name) for name in ("page.js", *scripts)]
    return (
        _templates()
        .get_template(template)
        .render(
            sheets=sheets,
            first=next(sheet for sheet in sheets if sheet.language == messages.language),
            style=_asset("page.css"),
            scripts={"texts": texts, "policy": " ".join(map(_hash, texts))},
            version=__version__,
            when=when.isoformat(sep=" ", timespec="minutes"),
            **values,
        )
    )


def _sheet(language: Language, tag: str, messages: Messages, title: Callable[[Messages], str]) -> Sheet:
    own = messages if messages.language == language else Messages(language, messages.program)
    return Sheet(language, tag, own, title(own))


@cache
def _templates() -> Templates:
    from jinja2 import Environment as Templates
    from jinja2 import FileSystemLoader, StrictUndefined

    made = Templates(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    made.globals |= {
        "signs": {verdict.value: look.sign for verdict, look in LOOKS.items()},
        "size": size,
        "facts_of": words.facts_of,
        "status_of": words.status_of,
        "others_of": words.others_of,
        "mark_of": mark_of,
        "first_with_targets": first_with_targets,
        "said_of": words.said_of,
        "steps_of": words.steps_of,
        "verdict_of": words.verdict_of,
        "reasons": reasons,
        "needs_of": words.needs_of,
        "targets_of": base_targets_of,
        "option_with_ways": option_with_ways,
        "unsolved_of": unsolved_of,
        "wanted_of": wanted_of,
        "compiled": compiled,
        "rebuilt": rebuilt,
        "alternatives_of": alternatives_of,
        "by_hand_of": by_hand_of,
        "way_marks": MARKS,
        "way_title": way_title,
        "build_lines": build_lines,
        "change_sentence": change_sentence,
        "search_remarks": search_remarks,
    }
    return made


@cache
def _asset(name: str) -> Any:
    """A style sheet or a script of ours, which needs no escaping."""
    from markupsafe import Markup

    return Markup((_FOLDER / name).read_text("utf-8"))


def _hash(script: str) -> str:
    """The page runs this script and no other: not even one that a hostile name smuggled in."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
