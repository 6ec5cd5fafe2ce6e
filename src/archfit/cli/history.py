"""archfit history, archfit rollback and archfit clean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from archfit import api
from archfit.cli.answer import answer, confirmed
from archfit.cli.options import PLAIN, Force, Manner, Target, Yes
from archfit.errors import ExitCode, UsageError
from archfit.model import History
from archfit.report import json_v1
from archfit.report.history_screen import show_history, show_removal
from archfit.report.markdown import render_history
from archfit.session import Session, error_door


def rollback(
    target: Target = None,
    state: Annotated[int | None, Parameter(help="option.state")] = None,
    /,
    *,
    force: Force = False,
    manner: Manner = PLAIN,
) -> int:
    """Bring an earlier state of the environment back, in an instant; the present one is kept and can come back too."""
    session = manner.session()
    with error_door(session):
        manner.check_output(".json")
        if state is None and target and target.isdigit() and not Path(target).exists():
            story = api.rollback(None, int(target), force=force)  # `archfit rollback 1`: the active environment
        else:
            story = api.rollback(target, state, force=force)
        answer(
            session,
            manner,
            show=lambda: _say_rolled_back(session, story),
            document=lambda: json_v1.history_document(story),
        )
    return int(ExitCode.OK)


def history(target: Target = None, /, *, manner: Manner = PLAIN) -> int:
    """Show the states of an environment: what was changed when and why, how it was verified, what is kept of the old ones."""
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md")
        story = api.history(target)
        kept = api.kept_bytes(story)
        answer(
            session,
            manner,
            show=lambda: show_history(session.screen, story, kept),
            document=lambda: json_v1.history_document(story, kept),
            markdown=lambda: render_history(session.messages, story),
        )
    return int(ExitCode.OK)


def clean(
    target: Target = None,
    /,
    *,
    keep: Annotated[int, Parameter(help="option.keep-states")] = 0,
    yes: Yes = False,
    manner: Manner = PLAIN,
) -> int:
    """Free the disk of old states, after asking; the environment itself and its records stay."""
    session = manner.session()
    with error_door(session):
        manner.check_output(".json")
        if keep < 0:
            raise UsageError("keep-negative", count=keep)
        story = api.history(target)
        old = [s for s in reversed(story.states) if s.path and not s.live][keep:]
        kept = api.kept_bytes(story)
        if old and not manner.as_json:
            show_removal(session.screen, old, kept, api.freed_bytes([s.path for s in old if s.path]))
        if old and not (yes or confirmed(session, session.messages.ui("clean-confirm"))):
            session.talk.print(session.messages.ui("not-confirmed"))
            return int(ExitCode.INTERRUPTED)
        left = api.give_up(story, old) if old else story
        answer(
            session,
            manner,
            show=lambda: session.screen.say(
                session.messages.ui("clean-done" if old else "clean-nothing", target=left.root)
            ),
            document=lambda: json_v1.history_document(left, {n: kept[n] for n in kept if n not in {s.id for s in old}}),
        )
    return int(ExitCode.OK)


def _say_rolled_back(session: Session, story: History) -> None:
    live = story.live
    words = {"id": live.id, "label": live.label} if live else {"id": "-", "label": "-"}
    key = "rollback-done" if story.entries[-1]["event"] == "done" else "rollback-undone"
    session.screen.out.print(session.messages.ui(key, target=story.root, **words), soft_wrap=True)
