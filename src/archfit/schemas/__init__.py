"""JSON Schemas (draft 2020-12) of every document that archfit writes: ``doctor-1.json`` describes ``archfit.doctor/1``.

A schema requires the keys that others rely on and allows more, since keys are added and never renamed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archfit.errors import UsageError

Schema = dict[str, Any]
_FOLDER = Path(__file__).parent


def schema_names() -> tuple[str, ...]:
    """``archfit.audit/1``, …: every document that has a schema."""
    files = (path.stem.rpartition("-") for path in sorted(_FOLDER.glob("*-*.json")))
    return tuple(f"archfit.{name}/{version}" for name, _, version in files)


def load_schema(name: str) -> Schema:
    """The schema of ``archfit.doctor/1``, or of ``doctor``: whole in itself, with the definitions that it uses.

    Raises:
        UsageError: there is no such document.
    """
    wanted = re.fullmatch(r"(?:archfit\.)?([a-z-]+)(?:/(\d+))?", name)
    path = _FOLDER / f"{wanted[1]}-{wanted[2] or 1}.json" if wanted else None
    if path is None or not path.is_file():
        raise UsageError("schema-unknown", name=name, known=", ".join(schema_names()))
    schema: Schema = json.loads(path.read_text("utf-8"))
    shared = json.loads((_FOLDER / "common.json").read_text("utf-8"))["$defs"]
    return {**schema, "$defs": {name: shared[name] for name in sorted(_used(schema, shared))}}


def _used(schema: object, shared: Schema) -> set[str]:
    """The names of definitions that `schema` refers to, and that those refer to in turn."""
    found: set[str] = set()
    waiting = list(_references(schema))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _references(shared[name])
    return found


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix("#/$defs/")
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
