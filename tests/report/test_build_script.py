"""The script that builds torch: written for the target, and it checks everything before it begins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from archfit import api
from archfit.cli import run
from archfit.errors import ProblemError
from archfit.report.build_script import render_build_script
from archfit.report.messages import Language, Messages
from worlds import plan_of, torch, vision, world

OLD = world(torch(), vision(), release="580.65.06")


def script(tmp_path: Path, language: Language = "en") -> Path:
    path = tmp_path / "build.sh"
    path.write_text(render_build_script(Messages(language), api.source_build_of(plan_of(OLD)), "build.sh"), "utf-8")
    return path


def fake(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A machine on which everything is there."""
    folder = tmp_path / "cuda/bin"
    folder.mkdir(parents=True)
    fake(folder, "nvcc", 'echo "Cuda compilation tools, release 12.9, V12.9.86"')
    fake(folder, "g++", "echo 13.2.0")
    for name in ("git", "cmake", "ninja"):
        fake(folder, name, "exit 0")
    return folder


def check(path: Path, tools: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "CUDA_HOME": str(tools.parent), **variables}
    done = path.read_text("utf-8").replace("PYTHON=/env/bin/python", f"PYTHON={shutil.which('python3')}")
    done = re.sub(r"^DISK_GB=.*", "DISK_GB=0", done, flags=re.MULTILINE)
    path.write_text(done, "utf-8")
    return subprocess.run(
        ["bash", str(path), "--check"], capture_output=True, text=True, env=environment, cwd=path.parent, check=False
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_bash_can_read_it(tmp_path: Path, language: Language) -> None:
    done = subprocess.run(["bash", "-n", script(tmp_path, language)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not here")
def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    done = subprocess.run(["shellcheck", script(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_it_is_for_the_target(tmp_path: Path) -> None:
    text = script(tmp_path).read_text("utf-8")
    assert 'RELEASE="2.14.1"' in text  # the newest release of which there are builds with CUDA 12
    assert 'CUDA="12.8"' in text
    assert 'ARCH_LIST="12.0"' in text
    assert "PYTHON=/env/bin/python" in text
    assert not re.search(r"@[a-z_-]+@", text)


def test_where_everything_is_there_the_check_passes_and_changes_nothing(tmp_path: Path, tools: Path) -> None:
    path = script(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    done = check(path, tools)
    assert done.returncode == 0, done.stdout
    assert "ok    nvcc 12.9" in done.stdout
    assert "ok    g++ 13" in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("tool", "answer", "said"),
    [
        ("nvcc", 'echo "Cuda compilation tools, release 12.4, V12.4.1"', "nvcc 12.4: needed is CUDA 12.8"),
        ("nvcc", 'echo "Cuda compilation tools, release 13.0, V13.0.1"', "nvcc 13.0: needed is CUDA 12.8"),
        ("g++", "echo 15.1.0", "g++ 15: needed is 11 or newer, and older than 15"),
        ("g++", "echo 9.4.0", "g++ 9: needed is 11"),
        ("g++", "exit 1", "g++ -: needed is 11"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_done(
    tmp_path: Path, tools: Path, tool: str, answer: str, said: str
) -> None:
    fake(tools, tool, answer)
    done = check(script(tmp_path), tools)
    assert done.returncode == 1
    assert f"MISSING {said}" in done.stdout
    assert "Nothing was done" in done.stdout


def test_the_command_writes_it(old_env: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "build-torch.sh"
    words = ["plan", str(old_env), "--gpu", "RTX 5090", "--driver", "580.65.06", "--offline"]
    assert run([*words, "--build-script", str(path)]) == 0
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    assert (
        run([*words[:2], "--gpu", "RTX 4090", "--driver", "580.65.06", "--offline", "--build-script", str(path)]) == 4
    )
    assert "no build from source" in capsys.readouterr().err


def test_no_source_build_is_said() -> None:
    with pytest.raises(ProblemError, match="no-source-build"):
        api.source_build_of(plan_of(world(on="H200", release="580.65.06")))
