"""archfit matrix."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from cyclopts import Parameter
from packaging.utils import canonicalize_name

from archfit import api
from archfit.arch import CudaVersion
from archfit.cli.answer import PICTURES, answer, pictures
from archfit.cli.options import PLAIN, GpuSpecs, Manner, platform_tag, python_version
from archfit.errors import ExitCode, UsageError
from archfit.matrix import Filter, answers, choose, newest_builds
from archfit.model import DriverRelease
from archfit.report.matrix_screen import heat_of_matrix, render_matrix_markdown, show_matrix, show_summary
from archfit.report.matrix_v1 import matrix_document
from archfit.session import Session, error_door


def matrix(
    *packages: Annotated[str, Parameter(help="option.packages")],
    gpu: GpuSpecs = (),
    driver: Annotated[str | None, Parameter(help="option.driver-matrix")] = None,
    cuda: Annotated[str | None, Parameter(help="option.cuda-matrix")] = None,
    python: Annotated[str | None, Parameter("--python", help="option.python-matrix")] = None,
    platform: Annotated[str | None, Parameter(help="option.platform-matrix")] = None,
    every: Annotated[bool, Parameter("--all", help="option.all-builds")] = False,
    manner: Manner = PLAIN,
) -> int:
    """Say which release of which package runs on which GPU, from the catalog: a table, a page, a picture."""
    session = manner.session()
    with error_door(session):
        manner.check_output(".json", ".md", ".html", *PICTURES)
        names = tuple(canonicalize_name(name) for name in packages)
        release, toolkit = _driver(driver), _cuda(cuda)
        wanted = Filter(names, toolkit, release, python_version(python), platform_tag(platform), runs=not every)
        with session.counting("judging") as on_row:
            whole = api.matrix(gpu, names, on_row)
        chosen = choose(whole, wanted)
        told = answers(chosen, whole, names)
        subject = session.messages.ui("separator").join(names) or session.messages.page("all-packages")
        drawn = chosen if names else newest_builds(chosen)  # a picture of thousands of builds shows nothing

        def show() -> None:
            if names:
                show_matrix(session.screen, chosen, told, release, verbose=manner.verbose)
            else:
                show_summary(session.screen, chosen, told, release)

        answer(
            session,
            manner,
            show=show,
            document=lambda: matrix_document(chosen),
            markdown=lambda: render_matrix_markdown(session.messages, chosen, told),
            more=pictures(session, lambda: heat_of_matrix(drawn), subject)
            | {".html": lambda: _page(session, wanted, gpu)},
        )
        return int(ExitCode.OK if chosen.rows else ExitCode.PROBLEMS)


def _page(session: Session, wanted: Filter, gpus: Sequence[str]) -> str:
    """Everything there is; the page filters itself and begins with what was asked for."""
    from archfit.report.matrix_page import render_matrix_page, wanted_of

    now = datetime.now().astimezone()
    with session.counting("judging") as on_row:
        whole = api.matrix((), (), on_row)
    return render_matrix_page(whole, session.messages, now, wanted_of(wanted, gpus))


def _driver(text: str | None) -> DriverRelease | None:
    try:
        return DriverRelease.parse(text) if text else None
    except ValueError:
        raise UsageError("driver-unknown", spec=text) from None


def _cuda(text: str | None) -> CudaVersion | None:
    try:
        return CudaVersion.parse(text) if text else None
    except ValueError:
        raise UsageError("cuda-unknown", spec=text) from None
