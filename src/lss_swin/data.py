"""Samples for training and evaluation; `python -m lss_swin.data generate DIR` makes a synthetic set.

Workers only decode, draw labels and multiply matrices; the images are sampled at the right pixels where the network runs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lss_swin import geometry, synthetic
from lss_swin.config import Config, UsageError
from lss_swin.nuscenes import Frames, load_frames

Array = Any
Batch = dict[str, Tensor]
_WORKERS_LIMIT = 16


def open_frames(config: Config, say: Callable[[str], object] = print) -> Frames:
    """The data set of a configuration; the synthetic one if it names no root."""
    data = config["data"]
    root = data["root"]
    if root is None:
        root = synthetic.ensure(synthetic.Options(**data["synthetic"], seed=0), say)
    return load_frames(root, data["version"], say)


class BevDataset(Dataset):
    """Frames as the network wants them.

    An item is asked for by (position, frame): the position in the whole course of training seeds the augmentation, so that it
    depends neither on the number of workers nor on whether training was interrupted.
    """

    def __init__(self, frames: Frames, numbers: Sequence[int], config: Config, augment: bool) -> None:
        self.frames, self.numbers = frames, list(numbers)
        self.size = tuple(config["image_size"])
        self.grid = (tuple(config["grid"]["x"]), tuple(config["grid"]["y"]))
        self.seed = config["seed"]
        self.augment = dict(config["augment"]) if augment else None

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, asked: tuple[int, int]) -> Batch:
        position, at = asked
        number = self.numbers[at]
        images = [load_image(str(self.frames.root / name), self.size[1]) for name in self.frames.files[number]]
        drawn = self._draw(np.random.default_rng([self.seed, position]))
        bev = geometry.bev_affine(**drawn["bev"])
        sources, matrices = [], []
        for camera, (image, original) in enumerate(images):
            affine = geometry.image_affine(original, self.size, **drawn["images"][camera])
            sources.append(_shrink(original, image.shape[:2]) @ np.linalg.inv(affine))
            ego_T_cam, intrinsics = self.frames.ego_T_cam[number, camera], self.frames.intrinsics[number, camera]
            matrices.append(bev @ geometry.pixel_to_ego(ego_T_cam, intrinsics, affine))
        label, valid = self.labels(number, bev)
        return {
            "images": torch.from_numpy(np.stack([image for image, _ in images])),
            "source_from_input": torch.from_numpy(np.stack(sources)).float(),
            "pixel_to_ego": torch.from_numpy(np.stack(matrices)).float(),
            "label": torch.from_numpy(label)[None],
            "valid": torch.from_numpy(valid)[None],
            "frame": torch.tensor(number),
        }

    def _draw(self, random: np.random.Generator) -> dict[str, Any]:
        """Parameters of the augmentation, or those of none."""
        a = self.augment
        if a is None:
            plain = {"zoom": 1.0, "flip": False, "degrees": 0.0}
            return {"images": [plain] * 6, "bev": {"flip_x": False, "flip_y": False, "degrees": 0.0, "scale": 1.0}}
        turn, tilt = a["bev_rotate"], a["rotate"]
        bev = {
            "flip_x": bool(random.random() < a["bev_flip"]),
            "flip_y": bool(random.random() < a["bev_flip"]),
            "degrees": random.uniform(-turn, turn),
            "scale": random.uniform(*a["bev_scale"]),
        }
        images = [
            {
                "zoom": random.uniform(*a["zoom"]),
                "flip": bool(random.random() < a["flip"]),
                "degrees": random.uniform(-tilt, tilt),
            }
            for _ in range(6)
        ]
        return {"images": images, "bev": bev}

    def labels(self, number: int, bev: Array) -> tuple[Array, Array]:
        """(X, Y) uint8: 1 where a vehicle is; and 0 where a vehicle is that is at most 40 % visible, else 1."""
        mine = slice(*self.frames.offsets[number : number + 2])
        boxes, visibility = self.frames.boxes[mine], self.frames.visibility[mine]
        corners = geometry.box_corners(boxes[:, :3], boxes[:, 3:6], geometry.rotation(boxes[:, 6:]))[:, :4]
        ground = corners @ bev[:3, :3].T + bev[:3, 3]
        return raster(ground[..., :2], self.grid), 1 - raster(ground[visibility == 1][..., :2], self.grid)


def load_image(path: str, width: int) -> tuple[Array, tuple[int, int]]:
    """Decode an image, shrunk by the decoder as far as `width` columns are left.

    Returns:
        (h, w, 3) uint8, and rows and columns of the file.

    Raises:
        UsageError: it is missing or damaged.
    """
    try:
        with Image.open(path) as file:
            original = (file.height, file.width)
            file.draft("RGB", (min(width, file.width), 1))
            return np.array(file if file.mode == "RGB" else file.convert("RGB")), original
    except OSError as exc:
        raise UsageError(f"cannot read image {path}: {exc}; is the data set complete?") from exc


def _shrink(original: tuple[int, int], now: Sequence[int]) -> Array:
    """(3, 3) from pixels of the file to pixels of what was decoded."""
    return np.diag([now[1] / original[1], now[0] / original[0], 1.0])


def raster(polygons: Array, grid: tuple[tuple[float, float, float], ...]) -> Array:
    """Paint boxes as LSS does, so that numbers can be compared: corners rounded to cells, edges included.

    LSS calls OpenCV's fillPoly, which paints 28 % more area than the boxes have. A Pillow polygon plus lines along its edges
    agrees with it (IoU 0.99; tests/lss_swin/devkit).

    Args:
        polygons: (boxes, 4, 2) metres, x and y of the ego frame.

    Returns:
        (X, Y) uint8, 0 or 1; row 0 is the smallest x.
    """
    (x0, x1, dx), (y0, y1, dy) = grid
    canvas = Image.new("L", (round((y1 - y0) / dy), round((x1 - x0) / dx)))
    draw = ImageDraw.Draw(canvas)
    cells = np.round((np.asarray(polygons) - (x0, y0)) / (dx, dy)).astype(int)
    for corners in cells[..., ::-1].tolist():
        points = [tuple(corner) for corner in corners]
        draw.polygon(points, fill=1)
        draw.line([*points, points[0]], fill=1)
    return np.array(canvas)


class Course(Sampler):
    """Positions from `start` on of an endless course of shuffled epochs, cut to this process's share of each batch.

    One process with twice the batch sees in each step what two processes see together.
    """

    def __init__(self, frames: int, batch: int, steps: range, seed: int, rank: int = 0, world: int = 1) -> None:
        self.frames, self.batch, self.steps, self.seed, self.rank, self.world = frames, batch, steps, seed, rank, world

    def __len__(self) -> int:
        return len(self.steps) * self.batch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, order = -1, np.zeros(0, int)
        for step in self.steps:
            first = (step * self.world + self.rank) * self.batch
            for position in range(first, first + self.batch):
                if position // self.frames != epoch:
                    epoch = position // self.frames
                    order = np.random.default_rng([self.seed, epoch, 1]).permutation(self.frames)
                yield position, int(order[position % self.frames])


def training_loader(frames: Frames, config: Config, steps: range, rank: int = 0, world: int = 1) -> DataLoader:
    """Batches for `steps` of training.

    Raises:
        UsageError: the training split is empty.
    """
    dataset = BevDataset(frames, _split(frames, "train"), config, augment=True)
    course = Course(len(dataset), config["data"]["batch_size"], steps, config["seed"], rank, world)
    return _loader(dataset, course, config)


def validation_loader(
    frames: Frames, config: Config, split: str = "val", rank: int = 0, world: int = 1, take: int | None = None
) -> DataLoader:
    """Every frame of a split once, in order, shared among the processes without repetition; or `take` spread over it."""
    numbers = _split(frames, split)
    most = min(filter(None, (take, config["val"]["max_frames"], len(numbers))))
    chosen = [numbers[i * len(numbers) // most] for i in range(most)]
    dataset = BevDataset(frames, chosen, config, augment=False)
    return _loader(dataset, [(i, i) for i in range(rank, len(dataset), world)], config)


def _split(frames: Frames, name: str) -> list[int]:
    numbers = frames.split(name)
    if not numbers:
        raise UsageError(f"{frames.root} has no frames of the {name} split of {frames.version}")
    return numbers


def _loader(dataset: Dataset, sampler: Iterable[Any], config: Config) -> DataLoader:
    workers = config["data"]["workers"]
    if workers is None:
        share = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        workers = min(_WORKERS_LIMIT, max(1, synthetic.processors() // share - 1))
    return DataLoader(
        dataset,
        batch_size=config["data"]["batch_size"],
        sampler=sampler,  # type: ignore[arg-type]
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_start_worker,
        prefetch_factor=4 if workers else None,
    )


def _start_worker(_: int) -> None:
    """Ctrl-C is for the parent; one thread each, for the workers are as many as the processors."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Move batches to the device, the next one while this one is computed with."""
    if device.type != "cuda":
        yield from batches
        return
    side = torch.cuda.Stream(device)
    waiting = None
    for batch in batches:
        with torch.cuda.stream(side):
            moved = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
        if waiting is not None:
            yield waiting
        torch.cuda.current_stream(device).wait_stream(side)
        for tensor in moved.values():
            tensor.record_stream(torch.cuda.current_stream(device))
        waiting = moved
    if waiting is not None:
        yield waiting


def main() -> int:
    """Commands of `python -m lss_swin.data`."""
    if sys.argv[1:2] == ["generate"]:
        return synthetic.main(sys.argv[2:])
    print(
        "usage: python -m lss_swin.data generate DIR [--scenes N] [--frames N] [--width W --height H] [--seed N]",
        file=sys.stderr,
    )
    return 0 if sys.argv[1:2] in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
