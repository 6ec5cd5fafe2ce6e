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
    gpu: Annotated[str, Parameter(help="The GPU to pretend.")] = "RTX 5090",
    driver: Annotated[str, Parameter(help="The driver to pretend.")] = "580.65.06",
    python: Annotated[str | None, Parameter("--python", help="The Python of the scratch environment: 3.11.")] = None,
    keep: Annotated[Path | None, Parameter(help="Keep the environment and the record in this folder.")] = None,
    lang: Annotated[Lang | None, Parameter(help="Language of the output; default from the locale.")] = None,
    no_color: Annotated[bool, Parameter(help="No colour.")] = False,
) -> int:
    """Show the whole story on a scratch environment that really is broken: doctor, plan, upgrade, verify, history.

    ```
    archfit demo
    archfit demo --keep /tmp/demo
    archfit demo --lang zh
    ```
    """
    from archfit.demo import run_demo

    session = Manner(lang, no_color=no_color).session()
    with error_door(session):
        run_demo(session, gpu=gpu, driver=driver, python=python, keep=keep)
    return int(ExitCode.OK)
