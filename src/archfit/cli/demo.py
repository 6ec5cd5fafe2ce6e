"""archfit demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from archfit.cli.options import Lang, Manner
from archfit.errors import ExitCode
from archfit.session import error_door


def demo(
    *,
    gpu: Annotated[str, Parameter(help="option.gpu-demo")] = "RTX 5090",
    driver: Annotated[str, Parameter(help="option.driver-demo")] = "580.65.06",
    python: Annotated[str | None, Parameter("--python", help="option.python-demo")] = None,
    keep: Annotated[Path | None, Parameter(help="option.keep")] = None,
    lang: Annotated[Lang | None, Parameter(help="option.lang")] = None,
    no_color: Annotated[bool, Parameter(help="option.no-color")] = False,
) -> int:
    """Show the whole story on a scratch environment that really is broken: doctor, plan, upgrade, verify, history."""
    from archfit.demo import run_demo

    session = Manner(lang, no_color=no_color).session()
    with error_door(session):
        run_demo(session, gpu=gpu, driver=driver, python=python, keep=keep)
    return int(ExitCode.OK)
