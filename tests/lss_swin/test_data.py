"""The data: the generated set, the reader, labels, augmentation, the order of samples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import numpy as np
from PIL import Image

from lss_swin import geometry, nuscenes, synthetic
from lss_swin.config import UsageError, load_config
from lss_swin.data import BevDataset, Course, load_image, raster, training_loader, validation_loader
from lss_swin.evaluate import Iou
from lss_swin.model import Lss
from lss_swin.nuscenes import CAMERAS, Frames, load_frames

pytestmark = pytest.mark.torch

TINY = "configs/baseline/lss_swin_tiny.py"
GRID = ((-50.0, 50.0, 0.5), (-50.0, 50.0, 0.5))


@pytest.fixture(scope="module")
def frames(synthetic_root: Path) -> Frames:
    return load_frames(synthetic_root)


def table(root: Path, name: str) -> list[dict]:
    return json.loads((root / "v1.0-mini" / f"{name}.json").read_text())


class TestTheGeneratedSet:
    def test_every_key_leads_to_a_row(self, synthetic_root: Path) -> None:
        names = [p.stem for p in (synthetic_root / "v1.0-mini").glob("*.json")]
        tokens = {name: {row["token"] for row in table(synthetic_root, name)} for name in names}
        for name in names:
            for row in table(synthetic_root, name):
                for key, value in row.items():
                    target = key.removesuffix("_token").removeprefix("first_").removeprefix("last_")
                    target = {"annotation": "sample_annotation"}.get(target, target)
                    if key.endswith("_token") and target in tokens:
                        assert value in tokens[target], (name, key)

    @pytest.mark.parametrize("name", ["sample", "sample_data", "sample_annotation"])
    def test_chains_agree(self, synthetic_root: Path, name: str) -> None:
        rows = {row["token"]: row for row in table(synthetic_root, name)}
        for token, row in rows.items():
            assert not row["next"] or rows[row["next"]]["prev"] == token
            assert not row["prev"] or rows[row["prev"]]["next"] == token

    def test_visibility_is_between_hidden_and_seen(self, frames: Frames) -> None:
        assert {1, 4} <= set(frames.visibility.tolist()) <= {1, 2, 3, 4}

    def test_boxes_lie_on_what_was_drawn(self, frames: Frames) -> None:
        """Inside the outline of a well visible car near by, the picture is one of the two or three shades of its sides."""
        checked = 0
        for number in range(len(frames.tokens)):
            mine = slice(*frames.offsets[number : number + 2])
            for box, visibility in zip(frames.boxes[mine], frames.visibility[mine], strict=True):
                for camera in range(6):
                    pixel, depth = geometry.project(
                        box[:3], frames.ego_T_cam[number, camera], frames.intrinsics[number, camera]
                    )
                    if visibility == 4 and 4 < depth < 15 and 20 < pixel[0] < 330 and 20 < pixel[1] < 180:
                        image = np.asarray(Image.open(frames.root / frames.files[number, camera]), float)
                        x, y = pixel.astype(int)
                        around = image[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)
                        assert around.std(0).max() < 40
                        checked += 1
        assert checked > 5

    def test_the_same_seed_gives_the_same_bytes(self, tmp_path: Path) -> None:
        options = synthetic.Options(1, 1, 64, 36, seed=3)
        for name in ("a", "b"):
            synthetic.generate(tmp_path / name, options, workers=1)
        files = [p.relative_to(tmp_path / "a") for p in sorted((tmp_path / "a").rglob("*")) if p.is_file()]

        assert len(files) == 7 + 13 + 2
        assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)

    def test_more_than_ten_scenes_are_named_as_in_trainval(self) -> None:
        options = synthetic.Options(scenes=20)
        names = options.scene_names()
        held_out = nuscenes.VALIDATION["v1.0-trainval"]

        assert (options.version, len(set(names))) == ("v1.0-trainval", 20)
        assert [name in held_out for name in names] == [i % 5 == 4 for i in range(20)]

    @pytest.mark.parametrize("options", [{"scenes": 0}, {"frames": 0}, {"width": 8}, {"scenes": 701}])
    def test_what_cannot_be_generated_is_refused(self, tmp_path: Path, options: dict[str, int]) -> None:
        with pytest.raises(UsageError):
            synthetic.generate(tmp_path / "x", synthetic.Options(**options))
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_is_there_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        with pytest.raises(UsageError, match="is there already"):
            synthetic.generate(tmp_path / "mine", synthetic.Options())

    def test_a_crash_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lss_swin.synthetic.dataset.render_scene", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            synthetic.generate(tmp_path / "set", synthetic.Options(1, 1, 64, 36), workers=1)
        assert list(tmp_path.iterdir()) == []


class TestTheReader:
    def test_splits_are_the_official_ones(self, frames: Frames) -> None:
        assert {str(frames.scenes[i]) for i in frames.split("val")} == {"scene-0103", "scene-0916"}
        assert sorted([*frames.split("train"), *frames.split("val")]) == list(range(20))
        assert len(nuscenes.VALIDATION["v1.0-trainval"]) == 150

    def test_the_camera_s_own_time_counts(self, frames: Frames, synthetic_root: Path) -> None:
        """From the camera at its time, over the world, to the ego frame at the lidar's time."""
        data = {row["token"]: row for row in table(synthetic_root, "sample_data")}
        poses = {row["token"]: row for row in table(synthetic_root, "ego_pose")}
        mounts = {row["token"]: row for row in table(synthetic_root, "calibrated_sensor")}
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

    def test_the_index_is_used_again_and_not_after_a_change(self, synthetic_root: Path, tmp_path: Path) -> None:
        root = tmp_path / "set"
        shutil.copytree(synthetic_root, root)
        load_frames(root)
        (root / "v1.0-mini" / "instance.json").write_text(" " + (root / "v1.0-mini" / "instance.json").read_text())
        assert len(load_frames(root).tokens) == 20
        (root / "v1.0-mini" / "category.json").write_text("[]")
        with pytest.raises(UsageError, match="not a valid nuScenes set"):
            load_frames(root)

    def test_a_damaged_index_is_made_again(self, synthetic_root: Path, tmp_path: Path) -> None:
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
    def test_a_set_that_cannot_be_read_is_one_sentence(
        self, synthetic_root: Path, tmp_path: Path, break_it, words: str
    ) -> None:
        root = tmp_path / "set"
        shutil.copytree(synthetic_root, root)
        break_it(root)
        with pytest.raises(UsageError, match=words) as caught:
            load_frames(root)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("seed", range(5))
    def test_quaternions_survive_the_change_of_frame(self, seed: int) -> None:
        q = np.random.default_rng(seed).normal(size=4)
        turn = geometry.rotation(q)
        np.testing.assert_allclose(geometry.rotation(nuscenes._quaternion(turn)), turn, atol=1e-12)


class TestLabels:
    def test_a_box_covers_its_cells_and_their_edges(self) -> None:
        """Corners are rounded to cells and painted: 2 m x 1 m become 5 x 3 cells, as with OpenCV."""
        found = raster(np.array([[[0, 0], [2, 0], [2, 1], [0, 1.0]]]), GRID)

        assert found.sum() == 15
        assert found[100:105, 100:103].all()

    def test_what_lies_outside_is_cut(self) -> None:
        assert raster(np.array([[[-60, -60], [-49, -60], [-49, -49], [-60, -49.0]]]), GRID).sum() == 9
        assert raster(np.zeros((0, 4, 2)), GRID).sum() == 0

    def test_hidden_vehicles_are_labelled_and_not_valid(self, frames: Frames) -> None:
        dataset = BevDataset(frames, range(20), load_config(TINY), augment=False)
        number = next(i for i in range(20) if (frames.visibility[slice(*frames.offsets[i : i + 2])] == 1).any())
        label, valid = dataset.labels(number, np.eye(4))

        assert label[valid == 0].all()
        assert 0 < (valid == 0).sum() < valid.size / 10

    def test_both_protocols(self) -> None:
        iou = Iou(torch.device("cpu"))
        iou.add(torch.tensor([[1, 1, 0, 0]]), torch.tensor([[1, 0, 1, 0]]), torch.tensor([[1, 1, 0, 1]]))
        assert iou.result() == {"iou": 1 / 3, "iou_vis40": 1 / 2, "frames": 1}
        assert np.isnan(Iou(torch.device("cpu")).result()["iou"])


class TestAugmentation:
    def test_a_box_stays_on_its_cells(self, frames: Frames) -> None:
        """Through augmented images and an augmented map alike: the pixel of a box leads to the label of the box."""
        config = load_config(TINY)
        dataset = BevDataset(frames, range(20), config, augment=True)
        hits = []
        for position in range(20):
            sample = dataset[(position, position)]
            hits += list(self.labels_behind_pixels(dataset, sample, position))
        assert len(hits) > 60
        assert np.mean(hits) > 0.97

    @staticmethod
    def labels_behind_pixels(dataset: BevDataset, sample: dict, number: int):
        frames = dataset.frames
        for camera in range(6):
            ego_T_cam, intrinsics = frames.ego_T_cam[number, camera], frames.intrinsics[number, camera]
            for box in frames.boxes[slice(*frames.offsets[number : number + 2])]:
                pixel, depth = geometry.project(box[:3], ego_T_cam, intrinsics)
                source = sample["source_from_input"][camera].double().numpy()
                u, v, _ = np.linalg.solve(source, [*pixel, 1.0])
                if depth > 1 and 0 < u < 352 and 0 < v < 128:
                    x, y = (sample["pixel_to_ego"][camera].double().numpy() @ [u * depth, v * depth, depth, 1])[:2]
                    if abs(x) < 49 and abs(y) < 49:
                        yield float(sample["label"][0, int(np.floor(x + 50)), int(np.floor(y + 50))])

    def test_the_network_sees_what_the_matrices_say(self, frames: Frames) -> None:
        """Sampling without augmentation is the picture itself: its lower part, for this size."""
        config = load_config(TINY)
        sample = BevDataset(frames, [0], config, augment=False)[(0, 0)]
        model = Lss(config)
        seen = model.warp(sample["images"], sample["source_from_input"]) * model.std + model.mean

        torch.testing.assert_close(seen, sample["images"].permute(0, 3, 1, 2)[:, :, -128:].float(), rtol=0, atol=0.05)

    def test_it_depends_on_the_position_only(self, frames: Frames) -> None:
        dataset = BevDataset(frames, range(20), load_config(TINY), augment=True)
        one, same, other = dataset[(5, 2)], dataset[(5, 2)], dataset[(6, 2)]

        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not torch.equal(one["pixel_to_ego"], other["pixel_to_ego"])


class TestTheCourse:
    def test_two_processes_see_what_one_with_twice_the_batch_sees(self) -> None:
        one = list(Course(7, 4, range(6), seed=1))
        two = [list(Course(7, 2, range(6), seed=1, rank=r, world=2)) for r in (0, 1)]
        joined = [item for step in range(6) for rank in two for item in rank[2 * step : 2 * step + 2]]

        assert joined == one

    def test_every_frame_once_per_epoch(self) -> None:
        order = [frame for _, frame in Course(7, 1, range(21), seed=1)]
        assert [sorted(order[i : i + 7]) for i in (0, 7, 14)] == [list(range(7))] * 3
        assert order[:7] != order[7:14]

    def test_it_can_be_entered_anywhere(self) -> None:
        assert list(Course(5, 2, range(4, 9), seed=2)) == list(Course(5, 2, range(9), seed=2))[8:]

    def test_workers_change_nothing(self, frames: Frames) -> None:
        config = load_config(TINY)
        plain = [b["label"].sum() for b in training_loader(frames, config, range(3))]
        config["data"]["workers"] = 2
        assert [b["label"].sum() for b in training_loader(frames, config, range(3))] == plain

    def test_validation_is_shared_without_repetition(self, frames: Frames) -> None:
        config = load_config(TINY)
        seen = [b["frame"].tolist() for rank in (0, 1, 2) for b in validation_loader(frames, config, "val", rank, 3)]
        assert sorted(frame for frames_of_batch in seen for frame in frames_of_batch) == sorted(frames.split("val"))


def test_large_images_are_shrunk_by_the_decoder(tmp_path: Path) -> None:
    Image.new("RGB", (1600, 900), (10, 200, 30)).save(tmp_path / "x.jpg")
    image, original = load_image(str(tmp_path / "x.jpg"), 704)

    assert (image.shape, original) == ((450, 800, 3), (900, 1600))


@pytest.mark.parametrize("content", [None, b"\xff\xd8\xff\xe0 no picture"])
def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content:
        (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(UsageError, match=r"x\.jpg"):
        load_image(str(tmp_path / "x.jpg"), 704)
