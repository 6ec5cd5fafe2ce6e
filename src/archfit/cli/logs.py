"""archfit explain and archfit run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from archfit.cli.options import PLAIN, Lang, Manner, Target
from archfit.session import error_door


def explain(
    log: Annotated[
        Path | None, Parameter(help="A log; - or nothing: what comes in through the pipe or is pasted.")
    ] = None,
    target: Target = None,
    /,
    *,
    redact: Annotated[
        bool | None, Parameter(negative="--no-redact", help="Take out tokens, users, hosts. Default: only in files.")
    ] = None,
    manner: Manner = PLAIN,
) -> int:
    """Say what a pasted log means: cause, evidence, culprit and fix; root first, consequences after.

    ```
    archfit explain train.log
    python train.py 2>&1 | archfit explain -
    archfit explain train.log .venv
    ```
    """
    from archfit.logs_cli import explain_log

    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md", ".html")
        return explain_log(session, log, target, manner.output, redact=redact, verbose=manner.verbose)


def run_(
    *command: Annotated[str, Parameter(help="The command and its arguments, after --.", allow_leading_hyphen=True)],
    report: Annotated[Path | None, Parameter(help="Save the explanation to this file: .md or .json.")] = None,
    redact: Annotated[
        bool | None, Parameter(negative="--no-redact", help="Take out tokens, users, hosts. Default: only in files.")
    ] = None,
    lang: Annotated[Lang | None, Parameter(help="Language of the output; default from the locale.")] = None,
    no_color: Annotated[bool, Parameter(help="No colour.")] = False,
) -> int:
    """Run a command with the terminal untouched; if it dies of a GPU or environment problem, explain it.

    Passes on the command's own exit code.

    ```
    archfit run -- python train.py
    archfit run --report why.md -- torchrun --nproc-per-node 8 train.py
    ```
    """
    from archfit.logs_cli import run_and_explain

    session = Manner(lang, no_color=no_color).session()
    with error_door(session):
        Manner(output=report).check_output(".json", ".md")
        return run_and_explain(session, command, report, redact=redact)
