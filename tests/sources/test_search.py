"""A folder of source: bounded, tolerant, with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archfit.catalog.changes import load_changes
from archfit.errors import UsageError
from archfit.sources import search_source

LOADS = "import torch\ntorch.load(path)\n"
CHANGES = load_changes()


def write(root: Path, name: str, text: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def places(root: Path) -> list[tuple[str, str, int]]:
    return [(hit.change, hit.file, hit.line) for hit in search_source(root, CHANGES).hits]


def test_hits_have_file_line_and_code(tmp_path: Path) -> None:
    write(tmp_path, "train.py", LOADS)
    write(tmp_path, "pkg/amp.py", "from torch.cuda.amp import autocast\n")
    found = search_source(tmp_path, CHANGES)
    assert [(hit.change, hit.file, hit.line, hit.code) for hit in found.hits] == [
        ("torch-load", "train.py", 2, "torch.load(path)"),
        ("torch-cuda-amp", "pkg/amp.py", 1, "from torch.cuda.amp import autocast"),
    ]
    assert (found.files, found.unreadable, found.cut) == (2, (), False)


def test_environments_and_installed_packages_are_passed_over(tmp_path: Path) -> None:
    for name in (
        "venv/lib/x.py",
        "env3/lib/x.py",
        ".git/x.py",
        "build/site-packages/x.py",
        "node_modules/x.py",
        "c/x.py",
    ):
        write(tmp_path, name, LOADS)
    write(tmp_path, "venv/pyvenv.cfg", "")
    write(tmp_path, "env3/conda-meta/history", "")
    assert places(tmp_path) == [("torch-load", "c/x.py", 2)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("two.py", "print 'Python 2'\n"),
        ("nul.py", b"x = 1\0\n"),
        ("deep.py", "x = " + "(" * 3000 + ")" * 3000 + "\n"),
        ("big.py", b"#" * (5 << 20)),
        ("broken.ipynb", "{"),
        ("list.ipynb", "[1]"),
    ],
)
def test_what_cannot_be_parsed_is_named_and_the_rest_read(tmp_path: Path, name: str, content: str | bytes) -> None:
    write(tmp_path, name, content)
    write(tmp_path, "good.py", LOADS)
    found = search_source(tmp_path, CHANGES)
    assert (found.unreadable, len(found.hits)) == ((name,), 1)


def test_odd_escapes_do_not_warn(tmp_path: Path) -> None:
    write(tmp_path, "a.py", 'x = "\\d"\n')
    assert search_source(tmp_path, CHANGES).unreadable == ()


def test_notebooks_are_read_cell_by_cell(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["torch.load(x)"]},
        {
            "cell_type": "code",
            "source": ["%matplotlib inline\n", "!pip install x\n", "import torch\n", "torch.load(x)"],
        },
    ]
    write(tmp_path, "nb.ipynb", json.dumps({"cells": cells}))
    assert places(tmp_path) == [("torch-load", "nb.ipynb[2]", 4)]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "a/x.py", LOADS)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert places(tmp_path) == [("torch-load", "a/x.py", 2)]


def test_one_file_can_be_named(tmp_path: Path) -> None:
    write(tmp_path, "a.py", LOADS)
    assert places(tmp_path / "a.py") == [("torch-load", "a.py", 2)]


def test_more_files_than_anyone_reads_are_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archfit.sources.search._MOST_FILES", 2)
    for number in range(3):
        write(tmp_path, f"{number}.py", LOADS)
    found = search_source(tmp_path, CHANGES)
    assert (found.files, found.cut, len(found.hits)) == (2, True, 2)


def test_progress_counts_files(tmp_path: Path) -> None:
    write(tmp_path, "a.py", LOADS)
    write(tmp_path, "b.py", LOADS)
    told: list[tuple[int, int]] = []
    search_source(tmp_path, CHANGES, lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="source-missing"):
        search_source(tmp_path / "none", CHANGES)
