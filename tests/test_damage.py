"""What cannot be looked at is never called fine, by no command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from archfit import api
from archfit.errors import ExitCode, ObserveError
from archfit.model import Status


@pytest.fixture
def env(old_env: Path, tmp_path: Path) -> Path:
    """An environment of our own to damage."""
    return shutil.copytree(old_env, tmp_path / "mine", symlinks=True)


def main_library(env: Path) -> Path:
    return next(env.glob("lib/python3*/site-packages/torch/lib/libtorch_cuda.so"))


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])


DAMAGE: dict[str, Callable[[Path], None]] = {"cut": cut, "deleted": Path.unlink}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("gpu", ["RTX 4090", "RTX 5090"])
def test_a_damaged_torch_is_undecided_for_the_doctor_and_no_plan(env: Path, damage: str, gpu: str) -> None:
    DAMAGE[damage](main_library(env))

    diagnosis = api.doctor(api.Wish(str(env), (gpu,)))

    assert diagnosis.status is not Status.OK
    assert "arch-missing-torch" not in {f.id for f in diagnosis.findings}
    if diagnosis.status is Status.UNDECIDED:
        with pytest.raises(ObserveError) as error:
            api.make_plan(diagnosis, api.PlanWish())
        assert (error.value.key, error.value.exit_code) == ("plan-undecided", ExitCode.UNDECIDED)


def test_the_cure_for_a_damaged_file_reinstalls_its_package(env: Path) -> None:
    cut(main_library(env))

    diagnosis = api.doctor(api.Wish(str(env), ("RTX 4090",)))

    finding = next(f for f in diagnosis.findings if f.id == "library-unreadable")
    assert finding.fix.endswith("--reinstall-package torch torch==2.4.1")


def test_planning_ahead_knows_what_an_upgrade_would_be() -> None:
    """The demo says what it will load before anything is made."""
    scene_python = api.find_interpreter("3.11") or api.find_interpreter("3.12") or api.find_interpreter("3")
    assert scene_python is not None
    ahead = api.imagine(scene_python, {"torch": "2.4.1", "torchvision": "0.19.1"}, ("sm_120",), "580.65.06")
    assert api.make_plan(ahead, api.PlanWish()).options[0].kind == "upgrade"
