"""What is read from PyPI: transcripts of the README, and a compiler that can be asked itself."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from archfit.arch import CudaVersion
from archfit.binary.compilers import read_compiler
from archfit.cli import run
from archfit.uv import run_uv

pytestmark = [pytest.mark.e2e, pytest.mark.network]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "language"), [("README.md", "en"), ("README.zh.md", "zh")])
def test_scans_and_audits_in_the_readme_print_what_stands_there(
    name: str, language: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reads torch 2.4.1 from PyPI, 800 MB."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    blocks = [b for b in (ROOT / name).read_text("utf-8").split("```") if b.startswith("\n$ archfit scan")]
    parts = re.split(r"^\$ archfit (.+)\n", blocks[0].lstrip("\n"), flags=re.MULTILINE)[1:]
    for command, printed in zip(parts[::2], parts[1::2], strict=True):
        run([*shlex.split(command), "--lang", language])
        assert capsys.readouterr().out.strip() == printed.strip()


def test_a_real_ptxas_knows_what_it_says_it_knows(tmp_path: Path) -> None:
    where = ["--target", str(tmp_path), "--python-platform", "x86_64-manylinux_2_40", "--python", sys.executable]
    done = run_uv(["pip", "install", "--no-deps", *where, "nvidia-cuda-nvcc-cu12==12.4.131"])
    assert done.returncode == 0, done.stderr
    path = tmp_path / "nvidia" / "cuda_nvcc" / "bin" / "ptxas"
    path.chmod(0o755)
    page = subprocess.run([path, "--help"], capture_output=True, text=True, check=True).stdout
    told = set(re.findall(r"'compute_(\d+[af]?)'", page[page.index("--gpu-name") :]))
    found = read_compiler(path)
    assert {str(t).removeprefix("compute_") for t in found.targets} == told
    assert found.release == CudaVersion(12, 4)
