"""archfit rollback and archfit history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from archfit import api
from archfit.cli.answer import answer
from archfit.cli.options import PLAIN, Manner, Target
from archfit.errors import ExitCode
from archfit.model import History
from archfit.report import json_v1
from archfit.report.proof_screen import show_history
from archfit.session import Session, error_door


def rollback(
    target: Target = None,
    state: Annotated[int | None, Parameter(help="A state of `archfit history`; default: the one before.")] = None,
    /,
    *,
    manner: Manner = PLAIN,
) -> int:
    """Bring an earlier state of the environment back, in an instant; the present one is kept and can come back too.

    ```
    archfit rollback
    archfit rollback .venv
    archfit rollback .venv 1
    ```
    """
    session = manner.session()
    with error_door(session):
        manner.check_output(".json")
        if state is None and target and target.isdigit() and not Path(target).exists():
            story = api.rollback(None, int(target))  # `archfit rollback 1`: the active environment, state 1
        else:
            story = api.rollback(target, state)
        answer(
            session,
            manner,
            show=lambda: _say_rolled_back(session, story),
            document=lambda: json_v1.history_document(story),
        )
    return int(ExitCode.OK)


def history(target: Target = None, /, *, manner: Manner = PLAIN) -> int:
    """Show the states of an environment: what was installed when, how it was verified, where the old ones are kept.

    ```
    archfit history .venv
    ```
    """
    session = manner.session()
    with error_door(session):
        manner.check_output(".json")
        story = api.history(target)
        answer(
            session,
            manner,
            show=lambda: show_history(session.screen, story),
            document=lambda: json_v1.history_document(story),
        )
    return int(ExitCode.OK)


def _say_rolled_back(session: Session, story: History) -> None:
    live = story.live
    words = {"id": live.id, "label": live.label} if live else {"id": "-", "label": "-"}
    key = "rollback-done" if story.entries[-1]["event"] == "done" else "rollback-undone"
    session.screen.out.print(session.messages.ui(key, target=story.root, **words), soft_wrap=True)
