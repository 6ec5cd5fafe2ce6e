"""What the tests of the data set share. They run in the environment of the training workload: train-test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def synthetic_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default synthetic set."""
    root = tmp_path_factory.mktemp("synthetic") / "set"
    subprocess.run([sys.executable, "-m", "nuscenes_bev.synthetic", str(root)], check=True)
    return root


@pytest.fixture(scope="session")
def table(synthetic_root: Path) -> Callable[[str], list[dict]]:
    """The rows of a table of it."""
    return lambda name: json.loads((synthetic_root / "v1.0-mini" / f"{name}.json").read_text())
