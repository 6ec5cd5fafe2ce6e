"""Laws over all rows of recipes.toml, and what is read out of them."""

from __future__ import annotations

import datetime
import re
import string
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from archfit.arch import CudaVersion
from archfit.catalog import recipes
from archfit.catalog.recipes import find_recipe, standard_for, toolchain_for
from archfit.rebuild.make import raise_standard

TABLE: dict[str, Any] = tomllib.loads((Path(recipes.__file__).parent / "recipes.toml").read_text("utf-8"))
ROWS = [*TABLE["recipe"], *TABLE["toolchain"], *TABLE["standard"]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(next(iter(row.values()))))
def test_every_row_has_a_source_a_date_and_a_confidence(row: dict[str, Any]) -> None:
    assert row["source"]
    assert isinstance(row["date"], datetime.date)
    assert row["confidence"] in ("measured", "documented", "inferred")


def test_every_package_has_one_row_and_a_normalised_name() -> None:
    names = Counter(name for row in TABLE["recipe"] for name in row["packages"])
    assert {name for name, count in names.items() if count > 1} == set()
    assert {name for name in names if name != canonicalize_name(name)} == set()


@pytest.mark.parametrize("row", [TABLE["generic"], *TABLE["recipe"]], ids=str)
def test_values_hold_known_placeholders_and_requirements_are_requirements(row: dict[str, Any]) -> None:
    used = {n for value in row.get("env", {}).values() for _, n, _, _ in string.Formatter().parse(value) if n}
    assert used <= {"arch_list", "sm_list", "jobs"}
    assert all(Requirement(text) for text in [*row.get("requires", ()), *row.get("constraints", ())])
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", name) for name in row.get("env", {}))


def test_standards_rise_with_torch() -> None:
    assert [standard_for(torch) for torch in ("1.4.0", "2.0.1", "2.1.0", "2.13.0+cu130", "2.14.0", "2.15.0")] == [
        11, 14, 17, 17, 20, 20,
    ]  # fmt: skip


def test_a_package_without_a_row_is_built_as_all_are() -> None:
    recipe = find_recipe("somebodys-extension")
    assert not recipe.known
    assert recipe.env["TORCH_CUDA_ARCH_LIST"] == "{arch_list}"
    assert recipe.env["FORCE_CUDA"] == "1"


def test_mmcv_needs_an_old_setuptools_its_operators_and_its_extension() -> None:
    recipe = find_recipe("mmcv")
    assert recipe.known
    assert recipe.constraints == ("setuptools<82",)
    assert recipe.env["MMCV_WITH_OPS"] == "1"
    assert recipe.holds == ("mmcv/_ext*",)


def test_the_memory_of_a_job_does_not_change_what_is_built() -> None:
    assert find_recipe("mmcv").digest != find_recipe("onedl-mmcv").digest
    assert find_recipe("x").digest == find_recipe("y").digest


def test_pypi_has_the_whole_compiler_from_cuda_13_on() -> None:
    row = toolchain_for(CudaVersion(13, 2))
    assert row is not None
    assert "nvidia-cuda-nvcc" in row.packages
    assert toolchain_for(CudaVersion(12, 8)) is None
    assert toolchain_for(CudaVersion(99, 0)) is None


@pytest.mark.parametrize(
    ("before", "standard", "after"),
    [
        ("'-std=c++14'", 17, "'-std=c++17'"),
        ("'-std=c++17'", 20, "'-std=c++20'"),
        ("'-std=gnu++0x'", 17, "'-std=gnu++17'"),
        ("'/std:c++14'", 20, "'/std:c++20'"),
        ("'-std=c++20'", 17, "'-std=c++20'"),
        ("'-std=c++17'", 14, "'-std=c++17'"),
        ("-std=c99", 17, "-std=c99"),
        ("'-std=c++170'", 20, "'-std=c++170'"),
    ],
)
def test_standards_are_raised_never_lowered(before: str, standard: int, after: str) -> None:
    assert raise_standard(before, standard) == after


def test_the_edit_of_mmcv_is_python_that_still_tells_the_version(tmp_path: Path) -> None:
    """As setup.py of mmcv 2.2.0 has it; on Python 3.13 the old text is a KeyError."""
    edit = find_recipe("mmcv").edits[0]
    (tmp_path / "version.py").write_text("__version__ = '2.2.0'\n", "utf-8")
    file = str(tmp_path / "version.py")
    setup = f"def get_version():\n    version_file = {file!r}\n    with open(version_file) as f:\n        "
    scope: dict[str, Any] = {}
    exec((setup + edit.old + "\n").replace(edit.old, edit.new), scope)
    assert scope["get_version"]() == "2.2.0"
