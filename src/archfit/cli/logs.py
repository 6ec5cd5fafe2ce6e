"""archfit explain and archfit run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from archfit.cli.options import PLAIN, Lang, Manner, Target
from archfit.session import error_door


def explain(
    log: Annotated[Path | None, Parameter(help="option.log")] = None,
    target: Target = None,
    /,
    *,
    redact: Annotated[bool | None, Parameter(negative="--no-redact", help="option.redact")] = None,
    share: Annotated[bool, Parameter(help="option.share")] = False,
    manner: Manner = PLAIN,
) -> int:
    """Say what a pasted log means: cause, evidence, culprit and fix; root first, consequences after."""
    from archfit.cli.answer import share as bundle
    from archfit.logs_cli import explain_log

    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md", ".html")
        return explain_log(
            session, log, target, manner.output, redact=redact, verbose=manner.verbose, bundle=bundle if share else None
        )


def run_(
    *command: Annotated[str, Parameter(help="option.command", allow_leading_hyphen=True)],
    report: Annotated[Path | None, Parameter(help="option.report")] = None,
    redact: Annotated[bool | None, Parameter(negative="--no-redact", help="option.redact")] = None,
    lang: Annotated[Lang | None, Parameter(help="option.lang")] = None,
    no_color: Annotated[bool, Parameter(help="option.no-color")] = False,
) -> int:
    """Run a command with the terminal untouched; if it dies of a GPU or environment problem, explain it."""
    from archfit.logs_cli import run_and_explain

    session = Manner(lang, no_color=no_color).session()
    with error_door(session):
        Manner(output=report).check_output(".json", ".md")
        return run_and_explain(session, command, report, redact=redact)
