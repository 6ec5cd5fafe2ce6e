"""archfit fleet: many machines."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from archfit.cli.answer import answer
from archfit.cli.options import PLAIN, Manner
from archfit.errors import ExitCode, UsageError
from archfit.fleet import assemble, check, compare, read_nodes
from archfit.fleet.carry import write_program
from archfit.model import Fleet, Node, Severity, Status
from archfit.report.fleet_record import render_diff, render_fleet
from archfit.report.fleet_rows import finding_title, short_status
from archfit.report.fleet_screen import show_diff, show_fleet
from archfit.report.fleet_v1 import diff_document, dump_large, fleet_document
from archfit.session import Session, error_door

fleet = App(name="fleet", help="Many machines: one picture, one plan.", result_action="return_value")

Image = Annotated[bool, Parameter(help="option.fleet-image")]
_SUFFIXES = (".json", ".md")
_PAGE = ".html"
LEVELS = ("static", "import", "kernels")
_SHORTEST_SECONDS = 10.0


@fleet.command(name="check")
def check_(
    *,
    ray: Annotated[str, Parameter(help="option.fleet-ray")] = "auto",
    target: Annotated[str | None, Parameter(help="option.fleet-target")] = None,
    level: Annotated[str | None, Parameter(help="option.fleet-level")] = None,
    busy_gpus: Annotated[bool, Parameter(help="option.fleet-busy-gpus")] = False,
    timeout: Annotated[float | None, Parameter(help="option.fleet-timeout")] = None,
    image: Image = False,
    manner: Manner = PLAIN,
) -> int:
    """Run the doctor on every node of a running Ray cluster: pinned to each, nothing left behind, bounded in time."""
    session = manner.session()
    with error_door(session):
        manner.check_output(*_SUFFIXES, _PAGE)
        if level is not None and level not in LEVELS:
            raise UsageError("level-unknown", spec=level, known=", ".join(LEVELS))
        if timeout is not None and timeout < _SHORTEST_SECONDS:
            raise UsageError("fleet-timeout", seconds=timeout, least=_SHORTEST_SECONDS)
        with session.counting("fleet-asking") as on_count:

            def on_node(node: Node, done: int, total: int) -> None:
                on_count(done, total)
                said = session.messages.ui("fleet-heard", name=node.name, said=short_status(node, session.messages))
                session.talk.print(said, markup=False, soft_wrap=True)

            with redirect_stdout(sys.stderr):  # Ray prints what happens in the cluster
                nodes = check(ray, target=target, level=level, busy_gpus=busy_gpus, timeout_s=timeout, on_node=on_node)
        return int(
            _tell(session, manner, assemble(nodes, image=image, title_of=partial(finding_title, session.messages)))
        )


@fleet.command
def merge(
    *reports: Annotated[
        str,
        Parameter(
            help="option.fleet-reports",
            allow_leading_hyphen=True,  # a hyphen alone is the pipe
        ),
    ],
    image: Image = False,
    manner: Manner = PLAIN,
) -> int:
    """Put the reports of many machines together: what breaks where, what differs, and one plan for all."""
    session = manner.session()
    with error_door(session):
        manner.check_output(*_SUFFIXES, _PAGE)
        if not reports:
            raise UsageError("fleet-nothing-named")
        with session.counting("fleet-reading") as on_read:
            nodes = read_nodes(reports, sys.stdin.buffer, on_read)
        return int(
            _tell(session, manner, assemble(nodes, image=image, title_of=partial(finding_title, session.messages)))
        )


@fleet.command
def diff(
    old: Annotated[str, Parameter(help="option.fleet-old")],
    new: Annotated[str, Parameter(help="option.fleet-new")],
    /,
    *,
    manner: Manner = PLAIN,
) -> int:
    """Compare two runs: nodes that came and went, problems that began and ended, what else changed."""
    session = manner.session()
    with error_door(session):
        manner.check_output(*_SUFFIXES)
        before, after = (read_nodes([place], sys.stdin.buffer) for place in (old, new))
        found = compare(before, after, partial(finding_title, session.messages))
        answer(
            session,
            manner,
            show=lambda: show_diff(session.screen, found),
            document=lambda: diff_document(found),
            markdown=lambda: render_diff(session.messages, found),
        )
        worse = any(cause.severity is Severity.ERROR for cause in found.began)
        return int(ExitCode.PROBLEMS if worse else ExitCode.OK)


@fleet.command
def carry(
    path: Annotated[Path, Parameter(help="option.fleet-program")],
    /,
    *,
    manner: Manner = PLAIN,
) -> int:
    """Write archfit as one file that runs on any machine with Python 3.11 or newer: nothing has to be installed there."""
    session = manner.session()
    with error_door(session):
        write_program(path)
        session.talk.print(session.messages.ui("written", path=path), soft_wrap=True, markup=False)
    return int(ExitCode.OK)


def _tell(session: Session, manner: Manner, found: Fleet) -> ExitCode:
    answer(
        session,
        manner,
        show=lambda: show_fleet(session.screen, found, verbose=manner.verbose),
        document=lambda: fleet_document(found, session.messages),
        markdown=lambda: render_fleet(session.messages, found),
        more={_PAGE: lambda: _page(session, found)},
        dump=dump_large,
    )
    return _code_of(found)


def _page(session: Session, found: Fleet) -> str:
    from archfit.report.fleet_page import render_fleet_page

    return render_fleet_page(found, session.messages, datetime.now().astimezone())


def _code_of(found: Fleet) -> ExitCode:
    """Problems weigh more than what is missing; an older report of a node that answered is neither."""
    if any(_has_problems(node) for node in found.reported):
        return ExitCode.PROBLEMS
    undecided = any(node.status is not Status.OK for node in found.reported)
    return ExitCode.UNDECIDED if undecided or found.missing or not found.reported else ExitCode.OK


def _has_problems(node: Node) -> bool:
    return node.status is Status.PROBLEMS or (node.proof is not None and node.proof.status == "failed")
