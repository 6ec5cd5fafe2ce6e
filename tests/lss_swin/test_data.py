"""What feeds the network: augmented samples, the order of them, and the measure of both protocols."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import numpy as np

from lss_swin.config import load_config
from lss_swin.data import BevDataset, Course, training_loader, validation_loader
from lss_swin.evaluate import Iou
from lss_swin.model import Lss
from lss_swin.runtime import Group
from nuscenes_bev import geometry
from nuscenes_bev.frames import Frames, load_frames

pytestmark = pytest.mark.torch

TINY = "configs/baseline/lss_swin_tiny.py"


@pytest.fixture(scope="module")
def frames(synthetic_root: Path) -> Frames:
    return load_frames(synthetic_root)


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
        seen = [
            b["frame"].tolist() for rank in (0, 1, 2) for b in validation_loader(frames, config, "val", Group(rank, 3))
        ]
        assert sorted(frame for frames_of_batch in seen for frame in frames_of_batch) == sorted(frames.split("val"))


def test_both_protocols() -> None:
    iou = Iou(torch.device("cpu"))
    iou.add(torch.tensor([[1, 1, 0, 0]]), torch.tensor([[1, 0, 1, 0]]), torch.tensor([[1, 1, 0, 1]]))
    assert iou.result() == {"iou": 1 / 3, "iou_vis40": 1 / 2, "frames": 1}
    assert np.isnan(Iou(torch.device("cpu")).result()["iou"])
