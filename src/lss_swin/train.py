"""Training: `python tools/train.py CONFIG --work-dir DIR`, the same as `python -m lss_swin.train`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bev_ops import backend
from bev_ops.dispatch import Backend
from lss_swin import runtime
from lss_swin.checkpoint import newest_checkpoint
from lss_swin.command import bar, guarded, parser_for, say
from lss_swin.config import Config, load_config
from lss_swin.data import on_device, open_frames, training_loader, validation_loader
from lss_swin.evaluate import evaluate
from lss_swin.model import check_sizes
from lss_swin.progress import Interrupt, Progress
from lss_swin.trainer import Group, Trainer, join_group
from nuscenes_bev.errors import UsageError
from nuscenes_bev.frames import Frames

SUMMARY = "summary.json"
_EPILOG = """examples:
  python tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/baseline --gpu-ids 0
  python tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/smoke --gpu-ids 0 --cfg-options total_iters=10
  python tools/train.py configs/baseline/lss_swin_tiny.py --work-dir runs/tiny --device cpu
  python tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/full --resume --cfg-options data.root=/nuscenes
  torchrun --nproc-per-node 2 tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/two --gpu-ids 0 1

exit codes: 0 done, 1 failed, 2 usage, 4 no usable GPU, 130 interrupted (a checkpoint is kept)"""


def train(config: Config, work_dir: Path, device: torch.device, group: Group, resume: str | None) -> dict[str, Any]:
    """Train, validate, write checkpoints; returns what goes into `summary.json`."""
    began = time.perf_counter()
    chosen = backend.choose(device, config["splat_backend"])
    frames = _open_frames(config, group)
    training = len(frames.split("train"))
    per_epoch = max(1, training // (config["data"]["batch_size"] * group.world))
    total = config["total_iters"] or config["epochs"] * per_epoch
    trainer = Trainer(config, device, runtime.pick_precision(config["precision"], device), total, group)
    if resume:
        trainer.resume(resume)
    if group.first:
        _introduce(trainer, frames, chosen, resume)
    progress = Progress(trainer, config["log_every"], _board(config, work_dir) if group.first else None)
    try:
        results = _run(trainer, frames, work_dir, progress)
    finally:
        trainer.close()
    return {
        "schema": "lss_swin.summary/1",
        **runtime.describe(device),
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
        "samples_per_second": progress.samples_per_second,
        "peak_memory_bytes": runtime.peak_memory(device),
        "seconds": time.perf_counter() - began,
        "config": config,
    }


def _open_frames(config: Config, group: Group) -> Frames:
    """The first process reads first: it may have to make the set, or the index of the tables."""
    if group.first:
        frames = open_frames(config, say)
    if group.world > 1:
        dist.barrier()
    return frames if group.first else open_frames(config, lambda text: None)


def _introduce(trainer: Trainer, frames: Frames, chosen: Backend, resume: str | None) -> None:
    name = runtime.describe(trainer.device)["device"]["name"]
    many = sum(p.numel() for p in trainer.bare.parameters()) / 1e6
    counts = {split: len(frames.split(split)) for split in ("train", "val")}
    kind, batch = str(trainer.precision).removeprefix("torch."), trainer.config["data"]["batch_size"]
    say(f"device     {name} x {trainer.group.world}, {kind}, torch {torch.__version__}")
    say(f"splat      {chosen.name}: {chosen.why} (error {chosen.error_vs_reference:.1e})")
    if frames.source == "synthetic":
        say("data       SYNTHETIC, generated: its IoU says nothing about nuScenes")
    say(f"data       {frames.root} ({frames.version}): {counts['train']} frames to train, {counts['val']} to validate")
    say(f"model      {many:.1f} M parameters, {trainer.total} iterations of {batch} samples per process")
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


def _run(trainer: Trainer, frames: Frames, work_dir: Path, progress: Progress) -> dict[str, float | int]:
    """The loop; returns the last validation.

    Raises:
        KeyboardInterrupt: after a checkpoint, if one process trains.
    """
    config, group = trainer.config, trainer.group
    trainer.model.train()
    steps = range(trainer.step, trainer.total)
    loader = training_loader(frames, config, steps, group.rank, group.world)
    results: dict[str, float | int] = {}
    with Interrupt(active=group.world == 1) as interrupt:
        batches = on_device(loader, trainer.device)
        while trainer.step < trainer.total:
            began = time.perf_counter()
            batch = next(batches)
            progress.waited += time.perf_counter() - began
            progress.note(trainer.train_step(batch))
            if interrupt.asked:
                break
            results = _after_step(trainer, frames, work_dir, progress) or results
    progress.flush()
    if group.first:
        say(f"saved      {trainer.save(work_dir)}")
    if interrupt.asked:
        say("go on with the same command and --resume")
        raise KeyboardInterrupt
    return results or validate(trainer, frames)


def _after_step(trainer: Trainer, frames: Frames, work_dir: Path, progress: Progress) -> dict[str, float | int] | None:
    config = trainer.config
    results = None
    if config["val"]["every"] and trainer.step % config["val"]["every"] == 0:
        progress.flush()
        results = validate(trainer, frames)
        progress.mark = time.perf_counter()
    if trainer.step % config["checkpoint"]["every"] == 0 and trainer.step < trainer.total:
        progress.flush()
        if trainer.group.first:
            trainer.save(work_dir)
        progress.mark = time.perf_counter()
    return results


def validate(trainer: Trainer, frames: Frames) -> dict[str, float | int]:
    """IoU on the validation split, with a line about it."""
    config, group = trainer.config, trainer.group
    if not frames.split("val"):
        say("validation: the data set has no validation frames")
        return {}
    loader = validation_loader(frames, config, "val", group.rank, group.world)
    show = (lambda done: bar(done, len(loader))) if group.first else (lambda done: None)
    results = evaluate(trainer.bare, loader, trainer.device, trainer.precision, config["val"]["threshold"], show)
    if group.first:
        all_of_them, visible = f"IoU {results['iou']:.4f}", f"visible vehicles only {results['iou_vis40']:.4f}"
        say(f"validation {results['frames']} frames ({frames.source}): {all_of_them}, {visible}")
    return results


def main(arguments: list[str] | None = None) -> int:
    """`tools/train.py`."""
    parser = parser_for(
        "Train LSS with a Swin backbone on nuScenes (vehicle segmentation in bird's-eye view).", _EPILOG
    )
    parser.add_argument("config", help="configs/baseline/lss_swin_nuscenes.py, lss_swin_tiny.py, or your own")
    parser.add_argument("--work-dir", type=Path, required=True, help="folder for checkpoints and summary.json")
    resume = "go on from a checkpoint; default: the newest in --work-dir"
    parser.add_argument("--resume", nargs="?", const="", metavar="FILE", help=resume)
    parser.add_argument("--seed", type=int, help="of weights, order and augmentation")
    given = parser.parse_args(arguments)
    return guarded(lambda: _main(given))


def _main(given: argparse.Namespace) -> int:
    config = load_config(given.config, given.cfg_options)
    if given.seed is not None:
        config["seed"] = given.seed
    _check(config)
    device = runtime.pick_device(given.gpu_ids, given.device)
    summary = given.work_dir / SUMMARY
    try:
        given.work_dir.mkdir(parents=True, exist_ok=True)
        summary.unlink(missing_ok=True)  # an old one must not speak for this run
    except OSError as exc:
        raise UsageError(f"cannot write to {given.work_dir}: {exc.strerror}") from exc
    torch.backends.cudnn.benchmark = not config["deterministic"]
    torch.backends.cudnn.deterministic = config["deterministic"]
    with join_group(device.type) as group:
        resume = None if given.resume is None else given.resume or newest_checkpoint(str(given.work_dir))
        found = train(config, given.work_dir, device, group, resume)
        if group.first:
            runtime.write_summary(summary, found)
            say(f"summary    {summary}")
    return 0


def _check(config: Config) -> None:
    """Numbers that make no sense, before anything starts."""
    check_sizes(config)
    good = {
        "total_iters": config["total_iters"] is None or config["total_iters"] >= 1,
        "seed (0 to 2147483647)": 0 <= config["seed"] < 2**31,
        "data.batch_size": config["data"]["batch_size"] >= 1,
        "log_every": config["log_every"] >= 1,
        "checkpoint.every": config["checkpoint"]["every"] >= 1,
        "splat_backend": config["splat_backend"] in backend.CHOICES,
    }
    for name, fine in good.items():
        if not fine:
            known = ", ".join(backend.CHOICES)
            raise UsageError(f"{name} makes no sense; numbers must be at least 1, splat_backend one of {known}")


if __name__ == "__main__":
    sys.exit(main())
