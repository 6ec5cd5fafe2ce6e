"""Training: `python tools/train.py CONFIG --work-dir DIR`, the same as `python -m lss_swin.train`."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from bev_ops import backend
from lss_swin import runtime
from lss_swin.command import guarded, parser_for, say
from lss_swin.config import Config, load_config
from lss_swin.data import open_frames
from lss_swin.evaluate import newest_checkpoint
from lss_swin.loop import Loop
from lss_swin.model import check_config
from lss_swin.runtime import Group, join_group
from lss_swin.trainer import Trainer
from nuscenes_bev.errors import UsageError
from nuscenes_bev.frames import Frames

_EPILOG = """examples:
  python tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/baseline --gpu-ids 0
  python tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/smoke --gpu-ids 0 --cfg-options total_iters=10
  python tools/train.py configs/baseline/lss_swin_tiny.py --work-dir runs/tiny --device cpu
  python tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/full --resume --cfg-options data.root=/nuscenes
  torchrun --nproc-per-node 2 tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/two --gpu-ids 0 1

exit codes: 0 done, 1 failed, 2 usage, 4 no usable GPU, 130 interrupted (a checkpoint is kept)"""


def train(
    config: Config, work_dir: Path, device: torch.device, group: Group, resume: str | Path | None
) -> dict[str, Any]:
    """Train, validate, write checkpoints; returns what goes into `summary.json`."""
    began = time.perf_counter()
    backend.choose(device, config["splat_backend"])
    facts = runtime.describe(device)
    frames = open_frames(config, group)
    training = len(frames.split("train"))
    per_epoch = max(1, training // (config["data"]["batch_size"] * group.world))
    total = config["total_iters"] or config["epochs"] * per_epoch
    trainer = Trainer(config, device, runtime.pick_precision(config["precision"], device), total, group)
    if resume:
        trainer.resume(resume)
    _introduce(trainer, frames, facts, resume)
    loop = Loop(trainer, frames, work_dir, _board(config, work_dir) if group.first else None)
    with closing(trainer):
        results = loop.run()
    return {
        "schema": "lss_swin.summary/1",
        **facts,
        "data": {
            "source": frames.source,
            "path": str(frames.root),
            "version": frames.version,
            "training_frames": training,
        },
        "world_size": group.world,
        "precision": str(trainer.precision).removeprefix("torch."),
        "iterations": trainer.step,
        "total_iterations": trainer.total,
        "losses": trainer.losses,
        "val_iou": results.get("iou"),
        "val_iou_vis40": results.get("iou_vis40"),
        "val_frames": results.get("frames", 0),
        "samples_per_second": loop.samples_per_second,
        "peak_memory_bytes": runtime.peak_memory(device),
        "seconds": time.perf_counter() - began,
        "config": config,
    }


def _introduce(trainer: Trainer, frames: Frames, facts: dict[str, Any], resume: str | Path | None) -> None:
    kind, batch = str(trainer.precision).removeprefix("torch."), trainer.config["data"]["batch_size"]
    splat, parameters = facts["splat"], sum(p.numel() for p in trainer.bare.parameters())
    counts = f"{len(frames.split('train'))} frames to train, {len(frames.split('val'))} to validate"
    say(f"device     {facts['device']['name']} x {trainer.group.world}, {kind}, torch {torch.__version__}")
    say(f"splat      {splat['backend']}: {splat['why']} (error {splat['error_vs_reference']:.1e})")
    if frames.source == "synthetic":
        say("data       SYNTHETIC, generated: its IoU says nothing about nuScenes")
    say(f"data       {frames.root} ({frames.version}): {counts}")
    say(f"model      {parameters / 1e6:.1f} M parameters, {trainer.total} iterations of {batch} samples per process")
    if resume:
        say(f"resumed    {resume} at iteration {trainer.step}")


def _board(config: Config, work_dir: Path) -> Any:
    if not config["tensorboard"]:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as exc:
        raise UsageError("tensorboard=True needs the package tensorboard: pip install tensorboard") from exc
    return SummaryWriter(str(work_dir))


@guarded
def main(arguments: list[str] | None) -> None:
    """`tools/train.py`."""
    what = "Train LSS with a Swin backbone on nuScenes (vehicle segmentation in bird's-eye view)."
    parser = parser_for(what, _EPILOG)
    parser.add_argument("config", help="configs/baseline/lss_swin_nuscenes.py, lss_swin_tiny.py, or your own")
    parser.add_argument("--work-dir", type=Path, required=True, help="folder for checkpoints and summary.json")
    resume = "go on from a checkpoint; default: the newest in --work-dir"
    parser.add_argument("--resume", nargs="?", const="", metavar="FILE", help=resume)
    parser.add_argument("--seed", type=int, help="of weights, order and augmentation")
    given = parser.parse_args(arguments)
    config = load_config(given.config, given.cfg_options)
    if given.seed is not None:
        config["seed"] = given.seed
    check_config(config)
    device = runtime.pick_device(given.gpu_ids, given.device)
    summary = given.work_dir / "summary.json"
    try:
        given.work_dir.mkdir(parents=True, exist_ok=True)
        summary.unlink(missing_ok=True)  # an old one must not speak for this run
    except OSError as exc:
        raise UsageError(f"cannot write to {given.work_dir}: {exc.strerror}") from exc
    torch.backends.cudnn.benchmark = not config["deterministic"]
    torch.backends.cudnn.deterministic = config["deterministic"]
    with join_group(device.type) as group:
        resumed = None if given.resume is None else newest_checkpoint(given.resume or given.work_dir)
        found = train(config, given.work_dir, device, group, resumed)
        if group.first:
            runtime.write_atomically(summary, runtime.as_json(found).encode() + b"\n")
            say(f"summary    {summary}")


if __name__ == "__main__":
    sys.exit(main())
