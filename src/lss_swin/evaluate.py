"""Checkpoints opened, what they predict, and how right it is: intersection over union, over a whole split."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bev_ops import backend
from lss_swin import runtime
from lss_swin.command import bar, guarded, parser_for
from lss_swin.config import Config, apply_option
from lss_swin.data import Batch, on_device, open_frames, validation_loader
from lss_swin.model import Lss, check_config
from nuscenes_bev.errors import UsageError
from nuscenes_bev.frames import Frames


def predict(model: nn.Module, batch: Batch, precision: torch.dtype) -> Tensor:
    """Logits (B, 1, X, Y), float32."""
    kind = batch["images"].device.type
    with torch.autocast(kind, precision, enabled=precision != torch.float32):
        return model(batch["images"], batch["source_from_input"], batch["pixel_to_ego"])  # type: ignore[no-any-return]


class Iou:
    """Counts of cells, summed over batches and processes.

    `iou` counts all vehicles; `iou_vis40` leaves out the cells of vehicles that are at most 40 % visible.
    """

    def __init__(self, device: torch.device) -> None:
        self.counts = torch.zeros(5, dtype=torch.int64, device=device)

    def add(self, predicted: Tensor, label: Tensor, valid: Tensor) -> None:
        """Boolean or 0/1 tensors of the same shape."""
        p, t, v = predicted.bool(), label.bool(), valid.bool()
        both, either = p & t, p | t
        self.counts[:4] += torch.stack([both.sum(), either.sum(), (both & v).sum(), (either & v).sum()])
        self.counts[4] += len(p)

    def result(self) -> dict[str, float]:
        """IoU of both protocols, 0 to 1 (NaN where there is no cell to count), and the number of frames."""
        if dist.is_initialized():
            dist.all_reduce(self.counts)
        a, b, c, d, frames = self.counts.tolist()
        return {"iou": a / b if b else float("nan"), "iou_vis40": c / d if d else float("nan"), "frames": frames}


def evaluate(model: Lss, loader: DataLoader, precision: torch.dtype, threshold: float = 0.5) -> dict[str, float]:
    """What `Iou.result` says of a model over the batches of a loader."""
    was_training, device = model.training, model.bins.device
    model.eval()
    iou = Iou(device)
    with torch.inference_mode():
        for done, batch in enumerate(on_device(loader, device), 1):
            predicted = predict(model, batch, precision).sigmoid() > threshold
            iou.add(predicted, batch["label"], batch["valid"])
            bar(done, len(loader))
    model.train(was_training)
    return iou.result()


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Weights, optimiser, step and configuration; tensors and plain values only, so no file can run code.

    Raises:
        UsageError: the file is missing, damaged, or no checkpoint of this program.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:
        # Not torch's own words: they advise to load the file in a way that lets it run code.
        reason = exc.strerror or exc if isinstance(exc, OSError) else "damaged, or no checkpoint"
        raise UsageError(f"cannot read checkpoint {path}: {reason}") from exc
    if not isinstance(stored, dict) or stored.get("schema") != "lss_swin.checkpoint/1":
        raise UsageError(f"{path} is not a checkpoint of lss_swin")
    return stored


def newest_checkpoint(place: str | Path) -> str | Path:
    """The file itself; of a folder, its newest checkpoint.

    Raises:
        UsageError: there is none.
    """
    if not Path(place).is_dir():
        return place
    found = sorted(Path(place).glob("iter_*.pth"))
    if not found:
        raise UsageError(f"{place} holds no checkpoint (iter_*.pth)")
    return found[-1]


def checkpoint_parser(what: str, example: str) -> argparse.ArgumentParser:
    """Words of the commands that open a checkpoint."""
    parser = parser_for(what, f"example: {example}")
    parser.add_argument("checkpoint", help="file written by tools/train.py, or its work folder (then the newest)")
    parser.add_argument("--split", choices=["train", "val"], default="val")
    return parser


def open_given(given: argparse.Namespace) -> tuple[Lss, Config, torch.dtype, Frames]:
    """What the words of `checkpoint_parser` name.

    Returns:
        The model, ready to predict; its own configuration, changed as asked for; the precision to compute in; the data set.

    Raises:
        UsageError: no such checkpoint, or options that do not fit it.
        GpuError: no usable GPU, and nobody said that the CPU will do.
    """
    device = runtime.pick_device(given.gpu_ids, given.device)
    path = newest_checkpoint(given.checkpoint)
    stored = load_checkpoint(path)
    config: Config = stored["config"]
    for option in given.cfg_options:
        apply_option(config, option)
    check_config(config)
    model = Lss(config).to(device, memory_format=torch.channels_last).eval()
    try:
        model.load_state_dict(stored["model"])
    except RuntimeError as exc:
        raise UsageError(f"{path} does not fit these options: {str(exc).splitlines()[-1].strip()}") from exc
    backend.choose(device, config["splat_backend"])
    return model, config, runtime.pick_precision(config["precision"], device), open_frames(config)


@guarded
def main(arguments: list[str] | None) -> None:
    """`tools/test.py`."""
    given = checkpoint_parser("Evaluate a checkpoint.", "python tools/test.py runs/baseline").parse_args(arguments)
    model, config, precision, frames = open_given(given)
    result = evaluate(model, validation_loader(frames, config, given.split), precision, config["val"]["threshold"])
    where = {"source": frames.source, "root": str(frames.root), "split": given.split}
    print(runtime.as_json({**where, **result}))


if __name__ == "__main__":
    sys.exit(main())
