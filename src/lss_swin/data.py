"""Samples for training and evaluation; `python -m lss_swin.data generate DIR` makes a synthetic set.

Workers only decode, draw labels and multiply matrices; the images are sampled at the right pixels where the network runs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lss_swin.command import say
from lss_swin.config import Config
from lss_swin.runtime import ALONE, Group
from nuscenes_bev import samples, synthetic
from nuscenes_bev.errors import UsageError
from nuscenes_bev.frames import Frames, load_frames

Batch = dict[str, Tensor]
_WORKERS_LIMIT = 16


def open_frames(config: Config, group: Group = ALONE) -> Frames:
    """The data set of a configuration; the synthetic one if it names no root.

    The first process goes first: it may have to make the set, or the index of the tables.
    """
    if not group.first:
        dist.barrier()
    data = config["data"]
    made = synthetic.Options(**data["synthetic"], seed=0)
    frames = load_frames(synthetic.ensure(made, say) if data["root"] is None else data["root"], data["version"], say)
    if group.first and group.world > 1:
        dist.barrier()
    return frames


class BevDataset(Dataset):
    """Frames as the network wants them, see `nuscenes_bev.samples`.

    An item is asked for by (position, frame): the position in the whole course of training seeds the augmentation, so that it
    depends neither on the number of workers nor on whether training was interrupted.
    """

    def __init__(self, frames: Frames, numbers: Sequence[int], config: Config, augment: bool) -> None:
        self.frames, self.numbers = frames, list(numbers)
        self.size = tuple(config["image_size"])
        self.grid = (tuple(config["grid"]["x"]), tuple(config["grid"]["y"]))
        self.seed = config["seed"]
        self.ranges = config["augment"] if augment else None

    def __getitem__(self, asked: tuple[int, int]) -> Batch:
        position, at = asked
        random = np.random.default_rng([self.seed, position])
        changes = samples.draw_changes(random, self.ranges) if self.ranges else samples.UNCHANGED
        sample = samples.make_sample(self.frames, self.numbers[at], self.size, self.grid, changes)
        return {name: torch.from_numpy(array) for name, array in sample.items()}


class Course(Sampler):
    """Positions that `steps` have in an endless course of shuffled epochs, cut to this process's share of each batch.

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


def training_loader(frames: Frames, config: Config, steps: range, group: Group = ALONE) -> DataLoader:
    """Batches for `steps` of training.

    Raises:
        UsageError: the training split is empty.
    """
    numbers = _split(frames, "train")
    course = Course(len(numbers), config["data"]["batch_size"], steps, config["seed"], group.rank, group.world)
    return _loader(BevDataset(frames, numbers, config, augment=True), course, config)


def validation_loader(
    frames: Frames, config: Config, split: str = "val", group: Group = ALONE, take: int | None = None
) -> DataLoader:
    """Every frame of a split once, in order, shared among the processes without repetition; or `take` spread over it."""
    numbers = _split(frames, split)
    most = min(filter(None, (take, config["val"]["max_frames"], len(numbers))))
    chosen = [numbers[i * len(numbers) // most] for i in range(most)]
    mine = [(i, i) for i in range(group.rank, most, group.world)]
    return _loader(BevDataset(frames, chosen, config, augment=False), mine, config)


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
        return synthetic.main(sys.argv[2:], "python -m lss_swin.data generate")
    print("usage: python -m lss_swin.data generate DIR ...; --help after generate says more", file=sys.stderr)
    return 0 if sys.argv[1:2] in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main())
