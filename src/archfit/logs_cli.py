"""What `archfit explain` and `archfit run` do once their words are parsed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from archfit import logs
from archfit.errors import UsageError
from archfit.model import Explanation
from archfit.report import json_v1
from archfit.report.explanation import render_explanation, show_explanation

if TYPE_CHECKING:
    from archfit.logs import Ended
    from archfit.report.messages import Messages
    from archfit.session import Session


def explain_log(
    session: Session,
    log: Path | None,
    target: str | None,
    output: Path | None,
    *,
    redact: bool | None,
    verbose: bool,
    bundle: Callable[[Session, Mapping[str, str]], None] | None = None,
) -> int:
    """Read, explain, look at the environment, print; 4 where it is a GPU or environment problem, 3 where nobody can tell.

    `bundle` writes what is to be shared.
    """
    found = _read(session, log)
    with session.counting("reading", in_bytes=True) as on_read:
        found = logs.join_environment(found, target, on_read)
    shown = logs.redacted(found) if redact else found
    if session.as_json:
        session.print_text(json_v1.dump(json_v1.explain_document(shown, session.messages)))
    else:
        _show(session, shown, verbose=verbose)
    if output:
        saved = found if redact is False else logs.redacted(found)
        session.write(output, _documents(session, saved))
    if bundle:
        from archfit.report.share import explanation_members

        bundle(session, explanation_members(found, session.messages, log))
    return int(logs.exit_code(found))


def run_and_explain(session: Session, command: Sequence[str], report: Path | None, *, redact: bool | None) -> int:
    """Run the command; where it failed of something that archfit explains, explain it below its own output."""
    ended = logs.run(command)
    return say_ended(session, ended, command, report, redact=redact)


def say_ended(
    session: Session, ended: Ended, command: Sequence[str], report: Path | None, *, redact: bool | None
) -> int:
    """Explain the end of a command below its output, if there is something to explain; returns its exit code."""
    found = logs.explain_ended(ended, command)
    if found is None:
        return ended.code
    session.talk.print()
    session.talk.print(session.messages.ui("run-failed", code=ended.code), style="bold", markup=False)
    show_explanation(session.messages, session.talk, logs.redacted(found) if redact else found)
    if report:
        saved = found if redact is False else logs.redacted(found)
        session.write(report, _documents(session, saved, _spelled(command, redact), ended.code))
    return ended.code


def _spelled(command: Sequence[str], redact: bool | None) -> Sequence[str]:
    from archfit.redact import redact as take_out

    return command if redact is False else [take_out(word) for word in command]


def _documents(
    session: Session, found: Explanation, command: Sequence[str] = (), code: int | None = None
) -> dict[str, Callable[[], str]]:
    messages = session.messages
    document = {"command": list(command), "exit_code": code} if command else {}
    return {
        ".json": lambda: json_v1.dump(json_v1.explain_document(found, messages) | document),
        ".md": lambda: render_explanation(messages, found, command, code),
        ".html": lambda: _page(messages, found),
    }


def _page(messages: Messages, found: Explanation) -> str:
    from archfit.report.html import Page, render_page

    return render_page(Page("explain", explanation=found), messages, datetime.now().astimezone())


def _read(session: Session, log: Path | None) -> Explanation:
    if log is not None and str(log) != "-":
        with session.counting("explain-scanning", in_bytes=True) as on_read:
            return logs.explain_file(log, on_read)
    if sys.stdin.isatty():
        session.talk.print(session.messages.ui("explain-paste"), style="dim", markup=False)
    found = logs.explain_stream(sys.stdin.buffer)
    if not any(cause.evidence for cause in found.causes):
        raise UsageError("log-empty", path="-")
    return found


def _show(session: Session, found: Explanation, *, verbose: bool) -> None:
    out = session.screen.out
    try:
        show_explanation(session.messages, out, found, verbose=verbose)
        session.flush()
    except BrokenPipeError:
        session.let_go()
