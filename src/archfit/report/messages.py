"""The sentences: looked up by key in one language and filled with values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from archfit.errors import ArchfitError, FormatError
from archfit.model import Evidence, Finding, Rejected, Text, Values

Language = Literal["en", "zh"]


def language_of(environ: Mapping[str, str]) -> Language:
    """The language of the locale: Chinese for ``zh_*``, English for all others. `LC_ALL` beats `LC_MESSAGES` beats `LANG`."""
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environ.get(variable):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def spoken_language(wish: str | None, environ: Mapping[str, str], encoding: str | None) -> Language:
    """The language of a run: the one that was asked for, else that of the locale; English where Chinese cannot be shown."""
    language: Language = "zh" if wish == "zh" else "en" if wish == "en" else language_of(environ)
    return language if can_write("中文", encoding) else "en"


def can_write(text: str, encoding: str | None) -> bool:
    """Can a stream of this encoding show `text`?"""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


_COMMANDS = (
    "doctor|explain|run|scan|matrix|fleet|plan|upgrade|rollback|history|clean|verify|audit|demo|schema|completion|"
    "COMMAND"
)
_COMMAND = re.compile(rf"\barchfit (?=(?:{_COMMANDS})\b|--help\b)")


_REASONS = frozenset({"cause", "text"})
"""The placeholders that are filled with reasons as they arose."""


class Messages:
    """All sentences of one language; commands in them are spelled so that this reader can run them.

    `program` is how archfit was called: ``archfit``, or ``./run`` from a checkout.
    """

    def __init__(self, language: Language, program: str = "archfit") -> None:
        self.language = language
        self.program = program
        self._table = _load(language)

    def runnable(self, text: str) -> str:
        """Commands of archfit in `text` as this reader would call them."""
        return _COMMAND.sub(lambda _: self.program + " ", text)

    def _fill(self, sentence: object, values: Mapping[str, object]) -> str:
        return self.runnable(str(sentence).format(**values))

    def ui(self, key: str, **values: object) -> str:
        """A sentence of the interface itself."""
        return self._fill(self._table["ui"][key], values)

    def page(self, key: str, **values: object) -> str:
        """A sentence of the pages."""
        return self._fill(self._table["page"][key], values)

    def labelled(self, key: str, text: str) -> str:
        """``label: text``, with the colon of the language."""
        return self.ui("labelled", label=self.ui(key), text=text)

    def rejected(self, rejected: Rejected) -> str:
        """What was rejected, and why."""
        return self.ui("labelled", label=self.text(rejected.option), text=self.text(rejected.why))

    def text(self, text: Text) -> str:
        """The sentence of a `Text`."""
        return self._fill(self._table["text"][text.key], self.values(text.values))

    def values(self, values: Values) -> dict[str, str]:
        """Values as words: a sentence among them is filled first."""
        return {name: self.text(v) if isinstance(v, Text) else self._value(name, v) for name, v in values.items()}

    def _value(self, name: str, value: str) -> str:
        return self.reason(value) if name in _REASONS else value

    def reason(self, reason: str) -> str:
        """A reason as it arose, in this language where it is a known one: of ``NVML: not found; x: denied`` each part."""
        if self.language == "en":
            return reason
        for key, pattern in _reason_patterns():
            if match := pattern.fullmatch(reason):
                words = {name: self.reason(value) for name, value in match.groupdict().items()}
                return str(self._table["reason"][key]).format(**words)
        for mark, own in (("; ", "；"), (": ", "：")):
            head, found, tail = reason.partition(mark)
            if found and (said := (self.reason(head), self.reason(tail))) != (head, tail):
                return own.join(said)
        return reason

    def because(self, evidence: Evidence) -> str:
        """Why a probe ended as it did; empty where there is nothing to say."""
        if evidence.reason:
            return self.text(evidence.reason)
        return self.title(evidence.finding) if evidence.finding else ""

    def check(self, name: str) -> str:
        """What a check is called."""
        return str(self._table["check"][name])

    def help(self, key: str) -> str:
        """A word of the help itself."""
        return str(self._table["help"][key])

    def command(self, name: str, part: str) -> str:
        """Of a command its summary, text or examples; empty where there is none."""
        return str(self._table["command"].get(name, {}).get(part, ""))

    def option(self, key: str) -> str:
        """What an argument or option is for."""
        return str(self._table["option"][key])

    def exit_codes(self) -> dict[str, str]:
        """What each exit code means."""
        return dict(self._table["exit-code"])

    def section(self, name: str) -> dict[str, dict[str, str]]:
        """All sentences of ``finding`` or ``cause`` by id, with what is to be filled in: for the documentation."""
        return {key: dict(row) for key, row in self._table[name].items()}

    def variables(self) -> dict[str, str]:
        """What the variables of the environment mean that archfit reads."""
        return dict(self._table["variable"])

    def area(self, name: str) -> str:
        """What an area of checks is called."""
        return str(self._table["area"][name])

    def title(self, finding: Finding) -> str:
        """A finding in one line."""
        return self._fill(self._table["finding"][finding.id]["title"], self.values(finding.values))

    def detail(self, finding: Finding) -> str:
        """A finding explained."""
        return self._fill(self._table["finding"][finding.id]["detail"], self.values(finding.values))

    def violation(self, rule: str, values: Values) -> str:
        """A rule of an audit that is not met."""
        return self._fill(self._table["ui"][f"audit-{rule}"], self.values(values))

    def cause(self, cause: str, part: str) -> str:
        """What a log shows, by its class: `part` is title, means or fix."""
        return self.runnable(str(self._table["cause"][cause][part]))

    def error(self, error: ArchfitError) -> str:
        """What went wrong, in one sentence."""
        table = "text" if isinstance(error, FormatError) else "error"
        values = {
            name: self.text(v) if isinstance(v, Text) else self._value(name, v) if isinstance(v, str) else v
            for name, v in error.values.items()
        }
        return self._fill(self._table[table][error.key], values)

    def hint(self, error: ArchfitError) -> str | None:
        """What to try, if there is something to try."""
        sentence = self._table["hint"].get(error.key)
        return self._fill(sentence, error.values) if sentence else None


@lru_cache(maxsize=1)
def _reason_patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The known reasons, the longest first; a placeholder takes what stands in its place."""
    sentences = dict(sorted(_load("en")["reason"].items(), key=lambda row: -len(row[1])))
    return tuple(
        (key, re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(sentence)), re.DOTALL))
        for key, sentence in sentences.items()
    )


_TEXTS = Path(__file__).with_name("texts")


@lru_cache(maxsize=2)
def _load(language: Language) -> dict[str, Any]:
    """The tables of all files of a language; which file a sentence stands in is only a matter of order."""
    tables: dict[str, Any] = {}
    for path in sorted((_TEXTS / language).glob("*.toml")):
        for name, table in tomllib.loads(path.read_text("utf-8")).items():
            merged = tables.setdefault(name, {})
            if twice := merged.keys() & table.keys():
                raise ValueError(f"{path}: {name}.{min(twice)} stands in another file, too")
            merged |= table
    return tables
