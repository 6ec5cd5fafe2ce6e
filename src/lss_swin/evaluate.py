"""Intersection over union of predicted and true vehicle cells, over a whole split."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lss_swin.command import bar, checkpoint_parser, guarded, open_given
from lss_swin.data import Batch, on_device, validation_loader


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
        self.counts += torch.stack(
            [both.sum(), either.sum(), (both & v).sum(), (either & v).sum(), torch.tensor(len(p)).to(p.device)]
        )

    def result(self) -> dict[str, float | int]:
        """IoU of both protocols, 0 to 1 (NaN where there is no cell to count), and the number of frames."""
        if dist.is_initialized():
            dist.all_reduce(self.counts)
        a, b, c, d, frames = self.counts.tolist()
        return {"iou": a / b if b else float("nan"), "iou_vis40": c / d if d else float("nan"), "frames": frames}


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    precision: torch.dtype,
    threshold: float = 0.5,
    on_batch: Callable[[int], object] = lambda done: None,
) -> dict[str, float | int]:
    """IoU of a model over batches."""
    was_training = model.training
    model.eval()
    iou = Iou(device)
    with torch.inference_mode():
        for done, batch in enumerate(on_device(batches, device), 1):
            logits = predict(model, batch, precision)
            iou.add(logits.sigmoid() > threshold, batch["label"], batch["valid"])
            on_batch(done)
    model.train(was_training)
    return iou.result()


def main(arguments: list[str] | None = None) -> int:
    """`tools/test.py`."""
    parser = checkpoint_parser("Evaluate a checkpoint.", "python tools/test.py runs/baseline")
    return guarded(lambda: _test(parser.parse_args(arguments)))


def _test(given: argparse.Namespace) -> int:
    it = open_given(given)
    loader = validation_loader(it.frames, it.config, given.split)
    threshold = it.config["val"]["threshold"]
    result = evaluate(it.model, loader, it.device, it.precision, threshold, lambda done: bar(done, len(loader)))
    where = {"source": it.frames.source, "root": str(it.frames.root), "split": given.split}
    print(json.dumps({**where, **result}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
