"""The official toolkit opens the generated set and gives the ground truth full marks; OpenCV agrees with our labels.

In an environment of its own, because the devkit pins numpy below 2 and 26 other packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

pytestmark = [pytest.mark.torch, pytest.mark.network]

DEVKIT = ("nuscenes-devkit==1.2.0", "numpy<2", "setuptools<81")
PROGRAM = Path(__file__).parent / "devkit" / "judge.py"


@pytest.fixture(scope="module")
def devkit() -> Path:
    """A Python with nuscenes-devkit, kept between runs."""
    if sys.version_info >= (3, 13):
        pytest.skip("nuscenes-devkit 1.2.0 has no wheels for Python 3.13")
    home = Path(os.environ.get("ARCHFIT_TEST_CACHE") or Path.home() / ".cache" / "archfit-tests")
    root = home / f"devkit-1.2.0-py{sys.version_info.major}{sys.version_info.minor}"
    python = root / "bin" / "python"
    if not (root / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(root)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *DEVKIT], check=True
        )
        (root / "complete").touch()
    return python


@pytest.fixture(scope="module")
def judged(devkit: Path, synthetic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the devkit, its evaluator and OpenCV say of the set."""
    out = tmp_path_factory.mktemp("devkit")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src"), "MPLBACKEND": "Agg"}
    command = [str(devkit), str(PROGRAM), str(synthetic_root), str(out)]
    run = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads((out / "judgement.json").read_text())


def test_it_loads(judged: dict) -> None:
    assert judged["samples"] == 20
    assert judged["boxes"] > 200


def test_ground_truth_has_full_marks(judged: dict) -> None:
    """Average precision 1.0 for every class that is there."""
    there = {name: score for name, score in judged["mean_dist_aps"].items() if judged["classes"].get(name)}

    assert len(there) >= 4
    assert there == dict.fromkeys(there, pytest.approx(1.0))


def test_our_frames_are_the_devkit_s(judged: dict) -> None:
    """Boxes in each camera, through our matrices and through the devkit's own chain of poses."""
    assert judged["pixels_compared"] > 100
    assert judged["worst_pixel"] < 0.01


def test_labels_agree_with_opencv(judged: dict) -> None:
    """LSS paints with cv2.fillPoly; measured 2026-11-25 with OpenCV 4: IoU and area ratio in docs/measurements.md."""
    assert judged["fill_poly_iou"] > 0.98
    assert judged["area_ratio"] == pytest.approx(1.0, abs=0.01)
