"""A cache of the tests' own, and a folder of wheels to serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from index import make_wheel


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return tmp_path / "cache" / "archfit" / "scan"


@pytest.fixture
def wheelhouse(tmp_path: Path) -> Path:
    """One release of a package with kernels for two Pythons and three platforms, each with code of its own."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    for python, platform, fixture in (
        ("cp311", "manylinux_2_28_x86_64", "libserver.so"),
        ("cp312", "manylinux_2_28_x86_64", "libpartial.so"),
        ("cp312", "manylinux_2_28_aarch64", "libaarch64.so"),
        ("cp312", "win_amd64", "code.dll"),
    ):
        make_wheel(folder, f"kernels-1.0-{python}-{python}-{platform}.whl", {"kernels/_C.so": fixture})
    return folder
