"""How every command answers: on the screen or as one document, and into a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archfit.cli.options import Manner
from archfit.errors import ExitCode, UsageError
from archfit.model import Status
from archfit.report import json_v1
from archfit.report.screen import size
from archfit.session import Session

if TYPE_CHECKING:
    from archfit.report.heatmap import HeatMap
    from archfit.report.share import Members

CODE_OF = {Status.OK: ExitCode.OK, Status.PROBLEMS: ExitCode.PROBLEMS, Status.UNDECIDED: ExitCode.UNDECIDED}


def answer(
    session: Session,
    manner: Manner,
    *,
    show: Callable[[], None],
    document: Callable[[], json_v1.Document],
    markdown: Callable[[], str] | None = None,
    more: Mapping[str, Callable[[], str | bytes]] | None = None,
    dump: Callable[[json_v1.Document], str] = json_v1.dump,
) -> None:
    """To the screen or as one document, and into a file if one was named; `dump` writes a document that may be large."""
    try:
        if manner.as_json:
            session.print_text(dump(document()))
        else:
            show()
            session.flush()
    except BrokenPipeError:
        session.let_go()  # whoever read us has left; the answer, and so the exit code, stands
    if manner.output:
        renderers: dict[str, Callable[[], str | bytes]] = {".json": lambda: dump(document())}
        renderers |= {".md": markdown} if markdown else {}
        session.write(manner.output, renderers | dict(more or {}))


def share(session: Session, members: Members) -> None:
    """Write a bundle into this folder, and say what is in it."""
    from archfit.report.share import render_bundle

    path = Path(f"archfit-{datetime.now().astimezone():%Y%m%d-%H%M%S}.zip")
    session.write(path, {".zip": lambda: render_bundle(members)})
    for name, text in members.items():
        session.talk.print(f"  {name}  {size(len(text.encode()))}", markup=False)
    session.talk.print(session.messages.ui("share-look"), markup=False)


PICTURES = (".svg", ".png")


def pictures(session: Session, heat: Callable[[], HeatMap], subject: str) -> dict[str, Callable[[], str | bytes]]:
    """The renderers of a heat map; `subject` is what it shows. Drawn only if such a file is asked for."""

    def draw(suffix: str) -> str | bytes:
        from archfit.report.picture import render_png, render_svg

        title = session.messages.ui("picture-title", subject=subject)
        return (render_png if suffix == ".png" else render_svg)(heat(), title, session.messages)

    return {suffix: partial(draw, suffix) for suffix in PICTURES}


def page(session: Session, command: str, **parts: Any) -> str:
    """One HTML file that needs no network; `parts` are those of `archfit.report.html.Page`."""
    from archfit.report.html import Page, render_page

    return render_page(Page(command, **parts), session.messages, datetime.now().astimezone())


_YES, _NO = frozenset({"y", "yes", "是", "好"}), frozenset({"", "n", "no", "否", "不"})


def confirmed(session: Session, question: str) -> bool:
    """Ask the person until the answer is yes or no.

    Raises:
        UsageError: nobody is there to be asked.
    """
    if not sys.stdin.isatty():
        raise UsageError("needs-yes")
    while (said := session.talk.input(question + " [y/N] ", markup=False).strip().lower()) not in _YES | _NO:
        pass
    return said in _YES
