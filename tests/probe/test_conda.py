"""What conda's records of a prefix say; tests/e2e/test_conda.py reads those of the real programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archfit.model import CondaPrefix
from archfit.probe.conda import read_conda

SITE = "lib/python3.11/site-packages"


def record(root: Path, name: str, *files: str, there: bool = True) -> None:
    """conda's record of a package; its files are there unless pip has replaced them."""
    (root / "conda-meta").mkdir(exist_ok=True)
    told = {"name": name, "version": "1", "files": [*files, "lib/liba.so"]}
    (root / f"conda-meta/{name}-1-0.json").write_text(json.dumps(told), "utf-8")
    for file in files if there else ():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("", "utf-8")


def test_what_conda_did_not_make_has_no_records(tmp_path: Path) -> None:
    assert read_conda(tmp_path) is None


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("typing_extensions-4.12.2.dist-info/METADATA", "typing-extensions"),
        ("torch-2.4.1-py3.11.egg-info/PKG-INFO", "torch"),
        ("PyYAML-5.4.1-py3.11.egg-info", "pyyaml"),  # distutils wrote a file
    ],
)
def test_python_packages_by_their_metadata(tmp_path: Path, file: str, name: str) -> None:
    record(tmp_path, "of-conda", f"{SITE}/{file}")
    assert read_conda(tmp_path) == CondaPrefix(frozenset({"of-conda"}), {name: "of-conda"})


def test_what_pip_has_put_in_the_place_of_condas_is_pips(tmp_path: Path) -> None:
    record(tmp_path, "numpy", f"{SITE}/numpy-1.26.4.dist-info/METADATA", there=False)
    assert read_conda(tmp_path) == CondaPrefix(frozenset({"numpy"}), {})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "a"}', '{"files": 3, "name": "a"}'])
def test_a_damaged_record_is_no_reason_to_fail(tmp_path: Path, text: str) -> None:
    record(tmp_path, "whole", f"{SITE}/whole-1.dist-info/METADATA")
    (tmp_path / "conda-meta/damaged-1-0.json").write_text(text, "utf-8")
    assert read_conda(tmp_path) == CondaPrefix(frozenset({"whole"}), {"whole": "whole"})
