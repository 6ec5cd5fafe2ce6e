"""archfit schema."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter

from archfit.cli.options import PLAIN, Manner
from archfit.errors import ExitCode
from archfit.schemas import load_schema, schema_names
from archfit.session import error_door


def schema(
    name: Annotated[
        str | None, Parameter(help="A document: doctor, archfit.doctor/1. Without it all names are listed.")
    ] = None,
    /,
    *,
    manner: Manner = PLAIN,
) -> int:
    """Print the JSON Schema of a document that archfit writes.

    ```
    archfit schema
    archfit schema doctor
    archfit schema archfit.plan/1
    ```
    """
    session = manner.session()
    with error_door(session):
        if name is None:
            names = schema_names()
            session.print_text(json.dumps(names, indent=1) + "\n" if manner.as_json else "\n".join(names) + "\n")
        else:
            session.print_text(json.dumps(load_schema(name), indent=1, ensure_ascii=False) + "\n")
    return int(ExitCode.OK)
