"""The reader of the tables."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("PIL")

from nuscenes_bev import geometry
from nuscenes_bev.errors import UsageError
from nuscenes_bev.frames import CAMERAS, VALIDATION, Frames, _quaternion, load_frames

pytestmark = pytest.mark.torch

Table = Callable[[str], list[dict]]


@pytest.fixture(scope="module")
def frames(synthetic_root: Path) -> Frames:
    return load_frames(synthetic_root)


def test_splits_are_the_official_ones(frames: Frames) -> None:
    assert {str(frames.scenes[i]) for i in frames.split("val")} == {"scene-0103", "scene-0916"}
    assert sorted([*frames.split("train"), *frames.split("val")]) == list(range(20))
    assert len(VALIDATION["v1.0-trainval"]) == 150


def test_the_camera_s_own_time_counts(frames: Frames, table: Table) -> None:
    """From the camera at its time, over the world, to the ego frame at the lidar's time."""
    data = {row["token"]: row for row in table("sample_data")}
    poses = {row["token"]: row for row in table("ego_pose")}
    mounts = {row["token"]: row for row in table("calibrated_sensor")}
    number = 3
    mine = [row for row in data.values() if row["sample_token"] == frames.tokens[number]]
    lidar = next(row for row in mine if "LIDAR" in row["filename"])
    front = next(row for row in mine if row["filename"] == frames.files[number, CAMERAS.index("CAM_FRONT")])
    chain = [
        np.linalg.inv(geometry.pose(*(poses[lidar["ego_pose_token"]][k] for k in ("translation", "rotation")))),
        geometry.pose(*(poses[front["ego_pose_token"]][k] for k in ("translation", "rotation"))),
        geometry.pose(*(mounts[front["calibrated_sensor_token"]][k] for k in ("translation", "rotation"))),
    ]
    assert front["timestamp"] != lidar["timestamp"]
    np.testing.assert_allclose(
        frames.ego_T_cam[number, CAMERAS.index("CAM_FRONT")], np.linalg.multi_dot(chain), atol=1e-6
    )


def test_the_index_is_used_again_and_not_after_a_change(synthetic_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(synthetic_root, root)
    load_frames(root)
    (root / "v1.0-mini" / "instance.json").write_text(" " + (root / "v1.0-mini" / "instance.json").read_text())
    assert len(load_frames(root).tokens) == 20
    (root / "v1.0-mini" / "category.json").write_text("[]")
    with pytest.raises(UsageError, match="not a valid nuScenes set"):
        load_frames(root)


def test_a_damaged_index_is_made_again(synthetic_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(synthetic_root, root)
    (root / "v1.0-mini" / ".lss_swin-index.npz").write_bytes(b"PK\x03\x04 cut")
    assert len(load_frames(root).tokens) == 20


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda root: shutil.rmtree(root / "v1.0-mini"), "holds no nuScenes tables"),
        (lambda root: (root / "v1.0-mini" / "ego_pose.json").unlink(), "not complete: ego_pose.json"),
        (lambda root: (root / "v1.0-mini" / "scene.json").write_text('[{"tok'), "scene.json is damaged"),
    ],
)
def test_a_set_that_cannot_be_read_is_one_sentence(synthetic_root: Path, tmp_path: Path, break_it, words: str) -> None:
    root = tmp_path / "set"
    shutil.copytree(synthetic_root, root)
    break_it(root)
    with pytest.raises(UsageError, match=words) as caught:
        load_frames(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(5))
def test_quaternions_survive_the_change_of_frame(seed: int) -> None:
    q = np.random.default_rng(seed).normal(size=4)
    turn = geometry.rotation(q)
    np.testing.assert_allclose(geometry.rotation(_quaternion(turn)), turn, atol=1e-12)
