"""The short way to `archfit explain` and `archfit run`: what draws or parses at length is imported when it is needed.

It knows the plain forms of the command line only; for everything else, and for every error of usage, it steps aside and the
full command line answers.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Words:
    """A plain command line, parsed."""

    log: Path | None = None
    target: str | None = None
    as_json: bool = False
    verbose: bool = False
    redact: bool | None = None
    lang: str = ""


_SWITCHES = {
    "--json": ("as_json", True),
    "--verbose": ("verbose", True),
    "-v": ("verbose", True),
    "--no-color": ("", True),
}
_SWITCHES |= {"--redact": ("redact", True), "--no-redact": ("redact", False)}


def parse(words: Sequence[str]) -> Words | None:
    """The words behind ``archfit explain``; None where they are not plain."""
    found: dict[str, object] = {}
    places: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in _SWITCHES:
            name, value = _SWITCHES[word]
            found |= {name: value} if name else {}
        elif word == "--lang" and rest and rest[0] in ("en", "zh"):
            found["lang"] = rest.pop(0)
        elif word != "-" and word.startswith("-"):
            return None
        else:
            places.append(word)
    if len(places) > 2:
        return None
    log = Path(places[0]) if places and places[0] != "-" else None
    return Words(log, places[1] if len(places) > 1 else None, **found)  # type: ignore[arg-type]


def explain(words: Sequence[str]) -> int | None:
    """Answer ``archfit explain WORDS``; None where the full command line has to."""
    parsed = parse(words)
    if parsed is None or parsed.target or (sys.stdout.isatty() and not parsed.as_json):
        return None
    if sys.stdin.isatty() if parsed.log is None else not parsed.log.is_file():
        return None
    from archfit.errors import ArchfitError

    try:
        return _answer(parsed)
    except ArchfitError:
        return None  # the full command line meets it again, and knows how to say it
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _answer(words: Words) -> int | None:
    from archfit import logs
    from archfit.report.messages import Messages, spoken_language

    found = logs.explain_file(words.log) if words.log else logs.explain_stream(sys.stdin.buffer)
    if not any(cause.evidence for cause in found.causes):
        return None
    found = logs.join_environment(found, None)
    shown = logs.redacted(found) if words.redact else found
    language = spoken_language(words.lang or None, os.environ, sys.stdout.encoding)
    messages = Messages(language, os.environ.get("ARCHFIT_PROGRAM", "archfit"))
    if words.as_json:
        from archfit.report import json_v1

        text = json_v1.dump(json_v1.explain_document(shown, messages))
    else:
        from archfit.report.explanation import plain_explanation

        text = plain_explanation(messages, shown, verbose=words.verbose)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.stdout.write(text)
    sys.stdout.flush()
    return int(logs.exit_code(found))


def run(words: Sequence[str]) -> int | None:
    """Do ``archfit run WORDS``; None where the full command line has to, and nothing was started."""
    options, report, command = _split(words)
    parsed = parse(options)
    if not command or parsed is None or parsed.log or parsed.as_json or parsed.verbose:
        return None
    if report and report.suffix.lower() not in (".md", ".json"):
        return None
    from archfit import logs
    from archfit.errors import UsageError

    try:
        ended = logs.run(command)
    except UsageError:
        return None
    if not logs.failed(ended):
        return ended.code
    from archfit.logs_cli import say_ended
    from archfit.session import Session, error_door

    session = Session(parsed.lang or None, color="--no-color" not in options, as_json=False)
    with error_door(session):
        say_ended(session, ended, command, report, redact=parsed.redact)
    return ended.code


def _split(words: Sequence[str]) -> tuple[list[str], Path | None, list[str]]:
    """Options of archfit, the file of the report, and the command behind the dashes; no command where it is not plain."""
    before: list[str] = list(words)
    command: list[str] = []
    if "--" in before:
        at = before.index("--")
        before, command = before[:at], before[at + 1 :]
    if "--report" not in before:
        return before, None, command
    at = before.index("--report")
    name = before[at + 1 : at + 2]
    return before[:at] + before[at + 2 :], Path(name[0]) if name else None, command if name else []
