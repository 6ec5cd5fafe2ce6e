"""The whole story with real wheels from PyPI, real uv and real files: several GB, minutes. Run: ./run e2e.

torch comes from PyPI with its CUDA libraries; which version is what `archfit demo` would choose on this machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from archfit.demo import Scene, set_scene
from archfit.transaction.installer import create_environment

pytestmark = [pytest.mark.e2e, pytest.mark.network]

Run = subprocess.CompletedProcess[str]


def archfit(*arguments: str) -> Run:
    """Run archfit as a person would."""
    return subprocess.run([sys.executable, "-m", "archfit", *arguments], capture_output=True, text=True, check=False)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content(root: Path) -> dict[str, str]:
    """Everything in a folder, bit for bit: path to mode, time and hash (or link text)."""
    rows = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        status = path.lstat()
        if path.is_symlink():
            rows[name] = f"link {path.readlink()}"
        elif path.is_file() and name != ".lock":
            rows[name] = f"{status.st_mode:o} {status.st_mtime_ns} {sha256(path)}"
    return rows


@pytest.fixture(scope="module")
def scene() -> Scene:
    return set_scene("RTX 5090", None)


@pytest.fixture(scope="module")
def broken(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that really cannot run on an RTX 5090."""
    root = tmp_path_factory.mktemp("broken") / "env"
    create_environment(root, str(scene.python.executable), scene.specs)
    return root


@pytest.fixture(scope="module")
def before(broken: Path) -> dict[str, str]:
    return content(broken)


def test_doctor_names_the_library_and_the_target(broken: Path) -> None:
    run = archfit("doctor", str(broken), "--gpu", "RTX 5090", "--json")

    found = json.loads(run.stdout)
    primary = next(f for f in found["findings"] if f["id"] == found["primary"])
    assert run.returncode == 4
    assert (found["primary"], found["status"]) == ("arch-missing-torch", "problems")
    assert (primary["values"]["library"], primary["values"]["sm"]) == ("libtorch_cuda.so", "sm_120")
    assert primary["fix"].startswith("archfit upgrade ")


@pytest.mark.parametrize("gpu", ["RTX 4090", "H200", "A100", "RTX 3090", "T4", "V100", "GTX 1080 Ti", "L40S"])
def test_doctor_never_cries_wolf(broken: Path, gpu: str) -> None:
    run = archfit("doctor", str(broken), "--gpu", gpu, "--json")

    found = json.loads(run.stdout)
    assert (run.returncode, found["status"], found["primary"], found["findings"]) == (0, "ok", None, [])


@pytest.mark.parametrize(("driver", "kind", "cuda"), [("570.86.16", "upgrade", "12"), ("550.54.14", "driver", None)])
def test_plan_respects_the_driver(broken: Path, driver: str, kind: str, cuda: str | None) -> None:
    run = archfit("plan", str(broken), "--gpu", "RTX 5090", "--driver", driver, "--json")

    best = json.loads(run.stdout)["options"][0]
    assert best["kind"] == kind
    assert best["requires"]["driver"] == "570.86.16"
    assert (best["torch"]["cuda"].partition(".")[0] if best["torch"] else None) == cuda


def test_dry_run_changes_nothing_at_all(broken: Path, before: dict[str, str]) -> None:
    run = archfit("upgrade", str(broken), "--gpu", "RTX 5090", "--driver", "580.65.06", "--dry-run")

    assert run.returncode == 0
    assert "uv pip install --python" in run.stdout
    assert content(broken) == before
    assert sorted(p.name for p in broken.parent.iterdir()) == ["env"]


@pytest.mark.parametrize("step", ["cloning", "installing", "verifying", "putting"])
def test_ctrl_c_leaves_the_environment_as_it_was(broken: Path, before: dict[str, str], step: str) -> None:
    code = interrupt_at(broken, step)

    assert code == 130 or (step == "putting" and code == 0)  # the exchange itself takes microseconds
    if code == 0:
        assert archfit("rollback", str(broken)).returncode == 0
    assert content(broken) == before


def interrupt_at(target: Path, step: str) -> int:
    """Start an upgrade, press Ctrl-C as soon as `step` is announced; returns the exit code."""
    command = [sys.executable, "-m", "archfit", "upgrade", str(target), "--gpu", "RTX 5090", "--yes", "--lang", "en"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if step in line:
                os.killpg(process.pid, signal.SIGINT)
                break
        process.stderr.read()
    return process.returncode


def test_upgrade_then_rollback_bit_for_bit(broken: Path, before: dict[str, str]) -> None:
    up = archfit("upgrade", str(broken), "--gpu", "RTX 5090", "--driver", "580.65.06", "--yes", "--lang", "zh")
    assert (up.returncode, up.stderr.count("Traceback")) == (0, 0)

    whole = archfit("doctor", str(broken), "--gpu", "RTX 5090", "--driver", "580.65.06", "--json")
    assert (whole.returncode, json.loads(whole.stdout)["status"]) == (0, "ok")
    torchrun = subprocess.run([broken / "bin/torchrun", "--help"], capture_output=True, text=True, check=False)
    assert (torchrun.returncode, torchrun.stdout.startswith("usage: torchrun")) == (0, True)
    record = next(broken.parent.glob("env.archfit/record-*.md")).read_text("utf-8")
    assert "如何回滚" in record
    page = next(broken.parent.glob("env.archfit/record-*.html")).read_text("utf-8")
    assert "升级前后" in page
    assert "torch 2.4.1" in page

    back = archfit("rollback", str(broken))
    assert back.returncode == 0
    assert content(broken) == before


def test_verify_proves_the_upgraded_state(broken: Path) -> None:
    history = json.loads(archfit("history", str(broken), "--json").stdout)
    newest = max(state["id"] for state in history["states"])
    assert archfit("rollback", str(broken), str(newest)).returncode == 0

    run = archfit("verify", str(broken), "--level", "import", "--gpu", "RTX 5090", "--json")

    found = json.loads(run.stdout)
    passed = {e["probe"] for e in found["evidence"] if e["status"] == "passed"}
    assert (run.returncode, found["status"]) == (0, "passed")
    assert {"static:torch-arch", "import:torch", "import:torchvision", "import:numpy"} <= passed


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_demo_ends_with_a_verified_environment(stage: Path) -> None:
    run = archfit("demo", "--keep", str(stage), "--lang", "en")

    assert run.returncode == 0, run.stderr
    assert (stage / "env.archfit/record-2.md").is_file()
    assert "now holds code for it" in run.stdout
    doctor = archfit("doctor", str(stage / "env"), "--gpu", "RTX 5090", "--json")
    assert json.loads(doctor.stdout)["status"] == "ok"
