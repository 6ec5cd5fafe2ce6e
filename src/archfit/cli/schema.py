"""archfit schema."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter

from archfit.cli.options import Lang, Manner
from archfit.errors import ExitCode
from archfit.schemas import load_schema, schema_names
from archfit.session import error_door


def schema(
    name: Annotated[str | None, Parameter(help="option.schema-name")] = None,
    /,
    *,
    lang: Annotated[Lang | None, Parameter(help="option.lang")] = None,
) -> int:
    """Print the JSON Schema of a document that archfit writes."""
    session = Manner(lang).session()
    with error_door(session):
        if name is None:
            session.print_text("\n".join(schema_names()) + "\n")
        else:
            session.print_text(json.dumps(load_schema(name), indent=1, ensure_ascii=False) + "\n")
    return int(ExitCode.OK)
