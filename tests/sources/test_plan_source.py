"""``archfit plan --source``: what the change asks of the user's own code, in every form of the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archfit.cli import run

WORDS = ("--gpu", "RTX 5090", "--driver", "580.65.06", "--offline")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "train.py").write_text("import torch\n# torch.load(x)\nmodel = torch.load(path)\n")
    (root / "old.py").write_text("print 'Python 2'\n")
    return root


def test_the_document_has_file_and_line(old_env: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(old_env), *WORDS, "--source", str(project), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = {row["id"]: row for row in document["source_changes"]}
    assert rows["torch-load"]["found"] == [{"file": "train.py", "line": 3, "code": "model = torch.load(path)"}]
    assert (rows["torch-load"]["since"], rows["torch-load"]["effect"]) == ("2.6.0", "breaks")
    assert rows["torch-scheduler-verbose"]["found"] == []
    assert "torch-cuda-amp" not in rows  # torch 2.4.1 warns of that already
    assert document["source"] == {"root": str(project), "files": 2, "unreadable": ["old.py"], "cut": False}


def test_without_source_the_changes_are_listed_all_the_same(old_env: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["plan", str(old_env), *WORDS, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["source"] is None
    assert {row["id"] for row in document["source_changes"]} >= {"torch-load", "torch-scheduler-verbose"}
    assert all(row["found"] == [] for row in document["source_changes"])


def test_the_screen_shows_the_places(old_env: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["plan", str(old_env), *WORDS, "--source", str(project)])
    shown = " ".join(capsys.readouterr().out.split())
    assert "train.py:3: model = torch.load(path)" in shown
    assert "Places to change: 1, in 1 of them." in shown
    assert "1, first old.py" in shown


def test_markdown_has_them_too(old_env: Path, project: Path, tmp_path: Path) -> None:
    run(["plan", str(old_env), *WORDS, "--source", str(project), "-o", str(tmp_path / "plan.md"), "--lang", "zh"])
    text = (tmp_path / "plan.md").read_text("utf-8")
    assert "  - `train.py:3`: `model = torch.load(path)`" in text
    assert "会报错" in text


def test_a_folder_that_is_not_there(old_env: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(old_env), *WORDS, "--source", str(tmp_path / "none")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_where_nothing_changes_nothing_is_asked(old_env: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["plan", str(old_env), "--gpu", "RTX 4090", "--driver", "580.65.06", "--offline", "--json"])
    assert json.loads(capsys.readouterr().out)["source_changes"] == []
