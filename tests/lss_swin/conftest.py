"""What the tests of the training workload share. Those marked `torch` run in an environment of their own: train-test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = "configs/baseline/lss_swin_tiny.py"
Run = subprocess.CompletedProcess[str]

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the workload keeps its synthetic set during the tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def tool(cache: Path) -> Callable[..., Run]:
    """Run a script of tools/ as a person would, with two training scenes and one of validation."""

    def run(name: str, *arguments: object, start: tuple[str, ...] = (), **env: str) -> Run:
        command = [sys.executable, *start, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
        full = {**os.environ, "XDG_CACHE_HOME": str(cache), "PATH": "/usr/bin:/bin", **env}
        return subprocess.run(command, capture_output=True, text=True, env=full, check=False, cwd="/")

    return run


@pytest.fixture(scope="session")
def synthetic_root(cache: Path) -> Path:
    """The default synthetic set."""
    from nuscenes_bev import synthetic

    os.environ["XDG_CACHE_HOME"] = str(cache)
    return synthetic.ensure(synthetic.Options(), lambda text: None)
