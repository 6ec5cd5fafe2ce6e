"""The api as a Python program sees it: names are there, and each is loaded only when it is asked for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from archfit import api

SOURCE = ast.parse(Path(api.__file__).read_text("utf-8"))
CHECKED = {
    alias.name: node.module
    for block in SOURCE.body
    if isinstance(block, ast.If)
    for node in block.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}


def test_what_checkers_see_is_what_programs_get() -> None:
    found = {name: home for home, names in api._HOMES.items() for name in names}
    assert found == CHECKED
    assert all(getattr(api, name) is not None for name in found)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        api.no_such_name


@pytest.mark.parametrize(
    ("name", "unneeded"),
    [
        ("doctor", ("planner", "resolver", "scan", "rebuild", "sources", "bundle", "matrix")),
        ("matrix", ("transaction", "planner", "verify", "scan")),
        ("scan", ("planner", "resolver", "verify", "transaction", "rebuild")),
    ],
)
def test_a_command_pays_for_the_rooms_it_enters(name: str, unneeded: tuple[str, ...]) -> None:
    code = f"import sys; from archfit import api; api.{name}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {f"archfit.{room}" for room in unneeded} & set(done.stdout.split())
