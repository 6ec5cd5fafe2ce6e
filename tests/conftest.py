"""What all tests share: golden files and an environment on the disk."""

from __future__ import annotations

from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path

import pytest

from worlds import CUBLAS_12_1, TORCH_2_4_1, VISION_0_19_1, build_environment

GOLDEN = Path(__file__).parent / "report" / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew; read the difference")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with the golden file of this name, or write it with ``--update-golden``."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.write_text(text, "utf-8")
        kept = path.read_text("utf-8") if path.is_file() else ""
        if text != kept:
            lines = unified_diff(kept.splitlines(), text.splitlines(), f"golden/{name}", "now", lineterm="", n=2)
            pytest.fail("\n".join([*lines, "", "if this is meant: pytest tests/report --update-golden"]), pytrace=False)

    return compare


@pytest.fixture(scope="session")
def old_env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with torch 2.4.1 for CUDA 12.1, torchvision and cuBLAS. Read only: it is shared."""
    root = tmp_path_factory.mktemp("worlds") / "old"
    return build_environment(root, TORCH_2_4_1, VISION_0_19_1, CUBLAS_12_1)


@pytest.fixture(autouse=True)
def plain_process(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No language, no active environment and no colour of whoever runs the tests; logs go to a folder of the tests."""
    for name in ("LC_ALL", "LC_MESSAGES", "VIRTUAL_ENV", "CONDA_PREFIX", "FORCE_COLOR", "COLUMNS", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))
