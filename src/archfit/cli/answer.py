"""How every command answers: on the screen or as one document, and into a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from archfit.cli.options import Manner
from archfit.errors import ExitCode
from archfit.model import Status
from archfit.report import json_v1
from archfit.session import Session

CODE_OF = {Status.OK: ExitCode.OK, Status.PROBLEMS: ExitCode.PROBLEMS, Status.UNDECIDED: ExitCode.UNDECIDED}


def answer(
    session: Session,
    manner: Manner,
    *,
    show: Callable[[], None],
    document: Callable[[], json_v1.Document],
    markdown: Callable[[], str] | None = None,
    more: Mapping[str, Callable[[], str]] | None = None,
) -> None:
    """To the screen or as one document, and into a file if one was named."""
    try:
        if manner.as_json:
            session.print_text(json_v1.dump(document()))
        else:
            show()
            session.flush()
    except BrokenPipeError:
        session.let_go()  # whoever read us has left; the answer, and so the exit code, stands
    if manner.output:
        renderers = {".json": lambda: json_v1.dump(document()), **({".md": markdown} if markdown else {})}
        renderers |= more or {}
        session.write(manner.output, renderers)
