"""A person with a project: torch 2.4.1, torchvision, mmcv-lite, numpy, an editable package with a script. A new GPU comes.

The environment is upgraded, the script still runs; rolled back, the script still runs; old states are given up at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from archfit.transaction.installer import create_environment
from archfit.uv import run_uv

pytestmark = [pytest.mark.e2e, pytest.mark.network]

SPECS = ["torch==2.4.1", "torchvision==0.19.1", "numpy<2", "mmcv-lite==2.2.0", "setuptools<82"]
NEW_GPU = ("--gpu", "RTX 5090", "--driver", "580.65.06")
SCRIPT = """
import sys

import mmcv
import numpy
import torch
import torchvision


def main():
    grid = torch.from_numpy(numpy.arange(6, dtype="float32")).reshape(2, 3)
    releases = [package.__version__.split("+")[0] for package in (torch, torchvision, mmcv)]
    print(*releases, float(grid.sum()), sys.prefix)
"""
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "bev-project"
version = "1"
dependencies = ["torch"]

[project.scripts]
bev-run = "bev_project:main"

[tool.setuptools]
py-modules = ["bev_project"]
"""

Run = subprocess.CompletedProcess[str]


def archfit(*arguments: str) -> Run:
    """Run archfit as a person would."""
    return subprocess.run([sys.executable, "-m", "archfit", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "project").mkdir()
    (folder / "project/pyproject.toml").write_text(PROJECT, "utf-8")
    (folder / "project/bev_project.py").write_text(SCRIPT, "utf-8")
    create_environment(folder / "env", "3.11", SPECS)
    done = run_uv(
        ["pip", "install", "--python", str(folder / "env/bin/python"), "--no-deps", "-e", str(folder / "project")]
    )
    assert done.returncode == 0, done.stderr
    return folder


def said(home: Path) -> list[str]:
    """What the person's own script prints."""
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([home / "env/bin/bev-run"], capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_upgraded_and_back(home: Path) -> None:
    env = str(home / "env")
    old = ["2.4.1", "0.19.1", "2.2.0", "15.0", env]
    assert said(home) == old

    up = archfit("upgrade", env, *NEW_GPU, "--yes", "--json", "--lang", "en")
    assert (up.returncode, "Traceback" in up.stderr) == (0, False), up.stderr + up.stdout
    told = json.loads(up.stdout)
    changes = {change["package"]: change["to"] for change in told["changes"]}
    new = [changes["torch"], changes["torchvision"], "2.2.0", "15.0", env]
    assert said(home) == new
    assert archfit("doctor", env, *NEW_GPU).returncode == 0

    record = json.loads(Path(told["record"]).with_suffix(".json").read_text("utf-8"))
    assert (record["schema"], record["previous_state"]) == ("archfit.record/1", 1)
    assert all(len(change["sha256"]) == 64 and change["index"] for change in record["changes"])
    assert record["rollback"] == f"archfit rollback {env} 1"

    assert archfit("rollback", env).returncode == 0
    assert said(home) == old
    assert archfit("rollback", env).returncode == 0
    assert said(home) == new

    cleaned = archfit("clean", env, "--yes", "--lang", "en")
    assert cleaned.returncode == 0
    assert said(home) == new
    assert sorted(path.name for path in home.glob("env*")) == ["env", "env.archfit"]
