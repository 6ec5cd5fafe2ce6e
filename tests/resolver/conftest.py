"""A package index in a folder, and the real uv that sees nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from shelf import WHEELS, write_wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    for name, requires in WHEELS.items():
        write_wheel(folder, *name.split("=="), requires)
    return folder


@pytest.fixture(autouse=True)
def only_these(monkeypatch: pytest.MonkeyPatch, wheels: Path, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith("UV_")]:
        monkeypatch.delenv(name)
    settings = {"CACHE_DIR": tmp_path / "uv", "NO_CONFIG": "1", "DEFAULT_INDEX": wheels.as_uri()}
    for name, value in settings.items():
        monkeypatch.setenv(f"UV_{name}", str(value))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
