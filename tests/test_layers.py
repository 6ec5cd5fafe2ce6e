"""The house: who may import whom. An arrow may only point down."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "archfit"

# From the top: each floor may import all floors below it.
FLOORS = (
    {
        "__main__",
        "bars",
        "cli",
        "demo",
        "flow",
        "scanning",
        "compiling",
        "bundling",
        "session",
        "quick",
        "logs_cli",
        "excepthook",
    },
    {"api"},
    {"extensions", "bundle"},
    {"logs", "fleet"},
    {
        "probe",
        "checks",
        "planner",
        "rebuild",
        "resolver",
        "scan",
        "transaction",
        "verify",
        "report",
        "explainer",
        "runner",
        "sources",
    },
    {"matrix"},
    {"binary", "catalog", "child", "schemas", "together", "uv"},
    {"audit"},
    {"coverage", "requirements"},
    {"model"},
    {"buildscript"},
    {"indexes"},
    {"standin"},
    {"arch", "errors", "redact", "tether"},
    {"archfit"},
)
DOOR = FLOORS[0]
ROOMS = next(floor for floor in FLOORS if "report" in floor)
"""The door: its modules may use one another, but of the rooms they enter only `report`; the rest goes through the api."""
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def room_of(module: str) -> str:
    """archfit.checks.torch -> checks; archfit itself -> archfit."""
    return module.split(".")[1] if "." in module else module


def module_of(path: Path) -> str:
    parts = ("archfit", *path.relative_to(SRC).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_of(path): path for path in sorted(SRC.rglob("*.py"))}


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in MODULES else str(node.module)


EDGES = sorted(
    {(module, name) for module, path in MODULES.items() for name in imported(path) if name.split(".")[0] == "archfit"}
)
BETWEEN_ROOMS = [(a, b) for a, b in EDGES if room_of(a) != room_of(b)]


def test_every_module_has_a_floor() -> None:
    assert {room_of(module) for module in MODULES} == FLOOR_OF.keys() | {"target"}


FRONT = ("archfit", "archfit.logs")
"""``archfit.explain`` for Python programs: loaded when first asked for, so importing archfit imports nothing."""


def test_arrows_point_down() -> None:
    arrows = [(a, b) for a, b in BETWEEN_ROOMS if not {room_of(a), room_of(b)} <= DOOR and (a, b) != FRONT]
    assert [f"{a} -> {b}" for a, b in arrows if FLOOR_OF[room_of(a)] >= FLOOR_OF[room_of(b)]] == []


def test_the_door_enters_no_room_but_report() -> None:
    rooms = ROOMS - {"report"}
    assert [f"{a} -> {b}" for a, b in BETWEEN_ROOMS if room_of(a) in DOOR and room_of(b) in rooms] == []


def test_no_cycle() -> None:
    """Inside a room too: every module can be read knowing only what it imports."""
    below = {module: {b for a, b in EDGES if a == module} for module in MODULES}
    while ready := [module for module, needs in below.items() if not needs & below.keys()]:
        for module in ready:
            del below[module]
    assert below == {}


@pytest.mark.parametrize("path", sorted((SRC / "target").glob("*.py")), ids=lambda path: path.name)
class TestTheTarget:
    def test_uses_the_standard_library_and_torch_only(self, path: Path) -> None:
        siblings = {page.stem for page in path.parent.glob("probe_*.py")}
        known = {*sys.stdlib_module_names, "torch", *siblings}
        assert [n for n in imported(path) if n.split(".")[0] not in known] == []

    def test_has_the_syntax_of_python_3_6(self, path: Path) -> None:
        assert isinstance(ast.parse(path.read_text("utf-8"), feature_version=(3, 6)), ast.Module)

    def test_is_imported_by_nobody(self, path: Path) -> None:
        assert [f"{a} -> {b}" for a, b in EDGES if b == module_of(path)] == []


# The training workload, its operators and the data set that it trains on, three houses of their own: from the top, each floor
# may import all floors below it, and every floor of the workload all of the operators and of the data set.
WORKLOAD_FLOORS = {
    "lss_swin": (
        {"__main__"},
        {"train", "visualize"},
        {"loop"},
        {"trainer"},
        {"evaluate", "graph"},
        {"model", "data"},
        {"swin", "command"},
        {"runtime"},
        {"config"},
        {"lss_swin"},
    ),
    "bev_ops": (
        {"backend"},
        {"splat", "window"},
        {"splat_triton", "window_triton"},
        {"dispatch", "library", "window_reference", "cells", "upsample"},
        {"bev_ops"},
    ),
    "nuscenes_bev": (
        {"samples", "pictures", "synthetic"},
        {"frames"},
        {"geometry", "errors"},
        {"nuscenes_bev"},
    ),
}


def workload_imports(package: str) -> list[tuple[str, str]]:
    found = []
    home = SRC.parent / package
    for path in sorted(home.rglob("*.py")):
        parts = path.relative_to(home).with_suffix("").parts
        room = parts[0] if parts != ("__init__",) else package
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(room, name) for name in names]
    return found


def test_archfit_and_the_workload_never_import_each_other() -> None:
    arrows = [arrow for package in WORKLOAD_FLOORS for arrow in workload_imports(package)]
    assert [f"{room} -> {name}" for room, name in arrows if name.split(".")[0] == "archfit"] == []
    assert {
        module for module, path in MODULES.items() for name in imported(path) if name.split(".")[0] in WORKLOAD_FLOORS
    } == set()


@pytest.mark.parametrize(
    ("package", "needs"),
    [
        ("lss_swin", {"bev_ops", "nuscenes_bev", "torch", "numpy"}),
        ("bev_ops", {"torch", "triton"}),
        ("nuscenes_bev", {"numpy", "PIL"}),
    ],
)
def test_the_workload_needs_no_more_than(package: str, needs: set[str]) -> None:
    known = {*sys.stdlib_module_names, package, "__future__", *needs}
    assert [f"{room} -> {name}" for room, name in workload_imports(package) if name.split(".")[0] not in known] == []


@pytest.mark.parametrize("package", WORKLOAD_FLOORS)
def test_arrows_of_the_workload_point_down(package: str) -> None:
    floor = {room: number for number, rooms in enumerate(WORKLOAD_FLOORS[package]) for room in rooms}
    arrows = [(a, name.split(".")[1]) for a, name in workload_imports(package) if name.startswith(f"{package}.")]
    assert [f"{a} -> {b}" for a, b in arrows if a != b and floor[a] >= floor[b]] == []


def test_the_documentation_shows_these_floors() -> None:
    text = (SRC.parents[1] / "docs" / "design.md").read_text("utf-8")
    picture = next(block for block in text.split("```") if "__main__" in block)
    shown = [{*re.findall(r"\w+", floor)} for floor in picture.split("->")]
    assert shown == [floor - {"archfit"} for floor in FLOORS if floor != {"archfit"}]
