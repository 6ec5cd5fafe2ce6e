"""Intersection over union of predicted and true vehicle cells, over a whole split."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lss_swin import runtime
from lss_swin.config import Config, UsageError
from lss_swin.data import Batch, on_device, open_frames, validation_loader
from lss_swin.model import Lss
from lss_swin.ops import backend


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


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Weights, optimiser, step and configuration; tensors and plain values only, so no file can run code.

    Raises:
        UsageError: the file is missing, damaged, or no checkpoint of this program.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:
        first = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        raise UsageError(f"cannot read checkpoint {path}: {first}") from exc
    if not isinstance(stored, dict) or stored.get("schema") != "lss_swin.checkpoint/1":
        raise UsageError(f"{path} is not a checkpoint of lss_swin")
    return stored


def open_model(checkpoint: str, device: torch.device, options: Iterable[str] = ()) -> tuple[Lss, Config]:
    """The model of a checkpoint with its own configuration, changed by `a.b=c` options."""
    from lss_swin.config import _apply

    stored = load_checkpoint(checkpoint)
    config: Config = stored["config"]
    for option in options:
        _apply(config, option)
    model = Lss(config)
    try:
        model.load_state_dict(stored["model"])
    except RuntimeError as exc:
        raise UsageError(f"{checkpoint} does not fit these options: {str(exc).splitlines()[-1].strip()}") from exc
    return model.to(device, memory_format=torch.channels_last).eval(), config


def parser_for(what: str, example: str) -> argparse.ArgumentParser:
    """Words that `test` and `visualize` share."""
    parser = argparse.ArgumentParser(description=what, epilog=f"example: {example}")
    parser.add_argument("checkpoint", help="file written by tools/train.py, or its work folder (then the newest)")
    parser.add_argument("--gpu-ids", type=int, nargs="+", metavar="N", help="default: 0")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="cpu: say so to compute without a GPU")
    parser.add_argument("--split", choices=["train", "val"], default="val")
    parser.add_argument(
        "--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="for example data.root=/data/nuscenes"
    )
    return parser


def newest_checkpoint(place: str) -> str:
    """The file itself; of a folder, its newest checkpoint.

    Raises:
        UsageError: there is none.
    """
    if not Path(place).is_dir():
        return place
    found = sorted(Path(place).glob("iter_*.pth"))
    if not found:
        raise UsageError(f"{place} holds no checkpoint (iter_*.pth)")
    return str(found[-1])


def guarded(work: Callable[[], int]) -> int:
    """Run a command; every ending is one sentence and an exit code.

    Returns:
        0 done, 1 failed, 2 asked for what cannot be, 4 no usable GPU, 130 interrupted.
    """
    try:
        return work()
    except UsageError as exc:
        print(f"error: {_sentence(exc)}", file=sys.stderr)
        return runtime.USAGE
    except runtime.GpuError as exc:
        print(f"error: {exc}\nhint: --device cpu computes without a GPU\n\n{runtime.diagnosis()}", file=sys.stderr)
        return runtime.NO_GPU
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return runtime.INTERRUPTED
    except torch.cuda.OutOfMemoryError as exc:
        print(f"error: {str(exc).splitlines()[0]}\nhint: a smaller --cfg-options data.batch_size=N", file=sys.stderr)
        return 1
    except OSError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1


def _sentence(exc: UsageError) -> str:
    """What the error says; one that comes from a worker of the loader says it in the last line of a traceback."""
    text = str(exc).strip()
    return text.splitlines()[-1].partition("UsageError: ")[2] if "Original Traceback" in text else text


def main(arguments: list[str] | None = None) -> int:
    """`tools/test.py`."""
    parser = parser_for("Evaluate a checkpoint.", "python tools/test.py runs/baseline")
    return guarded(lambda: _test(parser.parse_args(arguments)))


def _test(given: argparse.Namespace) -> int:
    device = runtime.pick_device(given.gpu_ids, given.device)
    model, config = open_model(newest_checkpoint(given.checkpoint), device, given.cfg_options)
    backend.choose(device, config["splat_backend"])
    frames = open_frames(config, say)
    loader = validation_loader(frames, config, given.split)
    precision = runtime.pick_precision(config["precision"], device)
    result = evaluate(model, loader, device, precision, config["val"]["threshold"], lambda done: bar(done, len(loader)))
    print(json.dumps({"source": frames.source, "root": str(frames.root), "split": given.split, **result}, indent=2))
    return 0


def say(text: str) -> None:
    """Talk goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def bar(done: int, total: int) -> None:
    """A counter on a terminal, silence in a log."""
    if sys.stderr.isatty():
        print(f"\r{done}/{total} batches", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
