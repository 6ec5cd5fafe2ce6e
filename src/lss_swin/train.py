"""Training: `python tools/train.py CONFIG --work-dir DIR`, the same as `python -m lss_swin.train`.

Every random choice is a function of the seed and the iteration, so a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from lss_swin import runtime
from lss_swin.config import Config, UsageError, load_config, plain
from lss_swin.data import Batch, on_device, open_frames, training_loader, validation_loader
from lss_swin.evaluate import bar, evaluate, guarded, load_checkpoint, newest_checkpoint, predict, say
from lss_swin.graph import StepGraph
from lss_swin.model import Lss, check_sizes, load_pretrained, parameter_groups
from lss_swin.nuscenes import Frames
from lss_swin.ops import backend

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Group:
    """The processes that train together."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0


@contextmanager
def join_group(device_type: str) -> Iterator[Group]:
    """The group that torchrun started, or this process alone."""
    if "RANK" not in os.environ:
        yield Group()
        return
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def one_cycle(progress: float, warmup: float) -> float:
    """Share of the largest learning rate: from 1/25 up along a cosine, then down to almost nothing."""
    if progress < warmup:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / warmup)) / 2
    return 1e-5 + (1 - 1e-5) * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2


def loss_of(logits: Tensor, label: Tensor, pos_weight: float) -> Tensor:
    """Mean binary cross entropy over all cells, vehicles weighted."""
    weight = torch.full((), pos_weight, device=logits.device)  # no copy from the host: that would end a graph capture
    return F.binary_cross_entropy_with_logits(logits, label.to(logits.dtype), pos_weight=weight)


@dataclass
class Trainer:
    """Model, optimiser and the step they have reached."""

    config: Config
    device: torch.device
    precision: torch.dtype
    total: int
    group: Group = Group()
    step: int = 0
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(self.config["seed"])
        self.bare = Lss(self.config)
        if self.config["model"]["pretrained"]:
            load_pretrained(self.bare, self.config["model"]["pretrained"])
        self.bare = self.bare.to(self.device, memory_format=torch.channels_last)
        self.model = self._wrapped()
        options = self.config["optimizer"]
        self.rate = options["lr"] * self.config["data"]["batch_size"] * self.group.world / options["lr_batch"]
        cuda, graph = self.device.type == "cuda", self.config["graph"] and self.device.type == "cuda"
        groups = parameter_groups(self.bare, options)
        self.optimizer = torch.optim.AdamW(groups, lr=self.rate, fused=cuda, capturable=graph)
        self._own_rates()
        self.graph = StepGraph(self._compute, self._forget_gradients, self.group.world > 1) if graph else None

    def _own_rates(self) -> None:
        """Learning rates in tensors where a recorded step reads them, else numbers."""
        graph = self.config["graph"] and self.device.type == "cuda"
        for group in self.optimizer.param_groups:
            group["lr"] = torch.full((), self.rate, device=self.device) if graph else self.rate
            group["capturable"] = graph

    def _forget_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def _wrapped(self) -> nn.Module:
        """The model as it is called: synchronised norms, compiled, shared among processes, as asked for."""
        model: nn.Module = self.bare
        cuda = self.device.type == "cuda"
        if self.group.world > 1 and cuda:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if self.config["compile"]:
            model = torch.compile(model)  # type: ignore[assignment]
        if self.group.world > 1:
            with (
                torch.cuda.stream(torch.cuda.Stream()) if cuda else nullcontext()
            ):  # a recorded step wants it built beside
                return nn.parallel.DistributedDataParallel(
                    model, [self.device] if cuda else None, gradient_as_bucket_view=True
                )
        return model

    def train_step(self, batch: Batch) -> Tensor:
        """One step of the optimiser; returns the loss, still on the device."""
        torch.manual_seed((self.config["seed"] << 32) + self.step * self.group.world + self.group.rank)
        share = one_cycle(self.step / self.total, self.config["optimizer"]["warmup"])
        for group in self.optimizer.param_groups:
            rate = self.rate * group["scale"] * share
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        loss = self.graph(batch) if self.graph else self._compute(batch)
        self.step += 1
        return loss

    def _compute(self, batch: Batch) -> Tensor:
        """What a graph may record: forward, backward, clipping, optimiser; nothing that waits for the device."""
        self._forget_gradients()
        loss = loss_of(predict(self.model, batch, self.precision), batch["label"], self.config["pos_weight"])
        loss.backward()
        nn.utils.clip_grad_norm_(self.bare.parameters(), self.config["optimizer"]["clip"], foreach=True)
        self.optimizer.step()
        return loss.detach()

    def save(self, folder: Path) -> Path:
        """Write a checkpoint, whole or not at all, and remove the oldest beyond those to keep."""
        stored = {
            "schema": "lss_swin.checkpoint/1",
            "model": self.bare.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "losses": self.losses,
            "config": plain(self.config),
        }
        buffer = io.BytesIO()
        torch.save(stored, buffer)
        path = folder / f"iter_{self.step:08d}.pth"
        runtime.write_atomically(path, buffer.getvalue())
        for old in sorted(folder.glob("iter_*.pth"))[: -max(1, self.config["checkpoint"]["keep"])]:
            old.unlink()
        return path

    def resume(self, path: str) -> None:
        """Go on where a checkpoint was written.

        Raises:
            UsageError: it belongs to another model.
        """
        stored = load_checkpoint(path)
        try:
            self.bare.load_state_dict(stored["model"])
            self.optimizer.load_state_dict(stored["optimizer"])
        except (RuntimeError, ValueError) as exc:
            last = str(exc).splitlines()[-1].strip()
            raise UsageError(f"{path} was written by another configuration: {last}") from exc
        self._own_rates()
        self.step, self.losses = stored["step"], list(stored["losses"])


@dataclass
class Progress:
    """Lines about a running training, at most one per `every` steps, with speed and time left."""

    trainer: Trainer
    every: int
    board: Any = None
    pending: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0
    timed_steps: int = 0
    waited: float = 0.0

    def __post_init__(self) -> None:
        self.mark = time.perf_counter()

    def note(self, loss: Tensor) -> None:
        """Keep a loss on the device; read them, which waits for the GPU, only when a line is due.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        self.pending.append(loss)
        trainer = self.trainer
        if trainer.step == 1 or trainer.step % self.every == 0 or trainer.step == trainer.total:
            self.flush()

    def flush(self) -> None:
        """Read the losses that are due, check them, tell."""
        if not self.pending:
            return
        trainer, new = self.trainer, mean_over(self.trainer.group, torch.stack(self.pending))
        now, steps = time.perf_counter(), len(self.pending)
        spent, self.mark = now - self.mark, now
        self.pending.clear()
        bad = next((i for i, loss in enumerate(new) if not math.isfinite(loss)), None)
        if bad is not None:
            raise FloatingPointError(f"the loss is {new[bad]} at iteration {len(trainer.losses) + bad + 1}")
        trainer.losses += new
        if trainer.step > 1:  # the first step pays for start-up and compilation
            self.seconds, self.timed_steps = self.seconds + spent, self.timed_steps + steps
        if trainer.group.first:
            self._tell(new, spent, steps)
        self.waited = 0.0

    def _tell(self, new: list[float], spent: float, steps: int) -> None:
        t = self.trainer
        left = (t.total - t.step) * spent / steps
        speed = steps * t.config["data"]["batch_size"] * t.group.world / spent
        rate = float(t.optimizer.param_groups[0]["lr"])
        say(
            f"iter {t.step}/{t.total}  loss {sum(new) / len(new):.4f}  lr {rate:.1e}  {speed:.1f} samples/s  "
            f"data {100 * self.waited / spent:.0f} %  left {duration(left)}"
        )
        if self.board:
            for i, loss in enumerate(new):
                self.board.add_scalar("loss", loss, t.step - len(new) + i + 1)
            self.board.add_scalar("lr", rate, t.step)

    @property
    def samples_per_second(self) -> float | None:
        """Over all steps but the first."""
        if not self.timed_steps:
            return None
        return self.timed_steps * self.trainer.config["data"]["batch_size"] * self.trainer.group.world / self.seconds


def mean_over(group: Group, losses: Tensor) -> list[float]:
    """Losses of the whole batch: the mean over all processes, which have equal shares of it."""
    if group.world > 1:
        dist.all_reduce(losses)
        losses = losses / group.world
    return losses.tolist()  # type: ignore[no-any-return]


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"


class Interrupt:
    """The first Ctrl-C ends training after the step it falls into, the second at once.

    Not `active` among several processes: they could not agree on the step.
    """

    def __init__(self, active: bool) -> None:
        self.active, self.asked = active, False

    def __enter__(self) -> Interrupt:
        if self.active:
            self.before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        if self.active:
            signal.signal(signal.SIGINT, self.before)

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        say("stopping after this iteration; once more stops at once")


def train(config: Config, work_dir: Path, device: torch.device, group: Group, resume: str | None) -> dict[str, Any]:
    """Train, validate, write checkpoints; returns what goes into `summary.json`."""
    began = time.perf_counter()
    chosen = backend.choose(device, config["splat_backend"])
    frames = _open_frames(config, group)
    training, total = len(frames.split("train")), config["total_iters"]
    per_epoch = max(1, training // (config["data"]["batch_size"] * group.world))
    trainer = Trainer(
        config,
        device,
        runtime.pick_precision(config["precision"], device),
        total or config["epochs"] * per_epoch,
        group,
    )
    if resume:
        trainer.resume(resume)
    if group.first:
        _introduce(trainer, frames, chosen, resume)
    progress = Progress(trainer, config["log_every"], _board(config, work_dir) if group.first else None)
    results = _run(trainer, frames, work_dir, progress)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak_memory()
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
        "peak_memory_bytes": peak,
        "seconds": time.perf_counter() - began,
        "config": plain(config),
    }


def _open_frames(config: Config, group: Group) -> Frames:
    """The first process reads first: it may have to make the set, or the index of the tables."""
    if group.first:
        frames = open_frames(config, say)
    if group.world > 1:
        dist.barrier()
    return frames if group.first else open_frames(config, lambda text: None)


def _introduce(trainer: Trainer, frames: Frames, chosen: backend.Backend, resume: str | None) -> None:
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
        path = trainer.save(work_dir)
        say(f"saved      {path}")
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
        say(
            f"validation {results['frames']} frames ({frames.source}): IoU {results['iou']:.4f}, "
            f"visible vehicles only {results['iou_vis40']:.4f}"
        )
    return results


def _peak_memory() -> int | None:
    """Largest resident size of this process in bytes, where the system tells."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


_EPILOG = """examples:
  python tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/baseline --gpu-ids 0
  python tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/smoke --gpu-ids 0 --cfg-options total_iters=10
  python tools/train.py configs/baseline/lss_swin_tiny.py --work-dir runs/tiny --device cpu
  python tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/full --resume --cfg-options data.root=/nuscenes
  torchrun --nproc-per-node 2 tools/train.py configs/baseline/lss_swin_nuscenes.py --work-dir runs/two --gpu-ids 0 1

exit codes: 0 done, 1 failed, 2 usage, 4 no usable GPU, 130 interrupted (a checkpoint is kept)"""


def build_parser() -> argparse.ArgumentParser:
    """The words of the command line."""
    parser = argparse.ArgumentParser(
        description="Train LSS with a Swin backbone on nuScenes (vehicle segmentation in bird's-eye view).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", help="configs/baseline/lss_swin_nuscenes.py, lss_swin_tiny.py, or your own")
    parser.add_argument("--work-dir", type=Path, required=True, help="folder for checkpoints and summary.json")
    parser.add_argument(
        "--gpu-ids", type=int, nargs="+", metavar="N", help="GPUs, one process each (torchrun); default: 0"
    )
    parser.add_argument(
        "--device", choices=["cuda", "cpu"], help="cpu: say so to train without a GPU; there is no silent fall-back"
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change the configuration: total_iters=10 data.batch_size=2",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="FILE",
        help="go on from a checkpoint; default: the newest in --work-dir",
    )
    parser.add_argument("--seed", type=int, help="of weights, order and augmentation")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """`tools/train.py`."""
    given = build_parser().parse_args(arguments)
    return guarded(lambda: _main(given))


def _main(given: argparse.Namespace) -> int:
    config = load_config(given.config, given.cfg_options)
    if given.seed is not None:
        config["seed"] = given.seed
    _check(config)
    device = runtime.pick_device(given.gpu_ids, given.device)
    try:
        given.work_dir.mkdir(parents=True, exist_ok=True)
        (given.work_dir / SUMMARY).unlink(missing_ok=True)  # an old one must not speak for this run
    except OSError as exc:
        raise UsageError(f"cannot write to {given.work_dir}: {exc.strerror}") from exc
    torch.backends.cudnn.benchmark = not config["deterministic"]
    torch.backends.cudnn.deterministic = config["deterministic"]
    with join_group(device.type) as group:
        resume = None if given.resume is None else given.resume or newest_checkpoint(str(given.work_dir))
        try:
            summary = train(config, given.work_dir, device, group, resume)
        except FloatingPointError as exc:
            less = f"optimizer.lr={config['optimizer']['lr'] / 4:.1e}"
            say(f"error: {exc}\nhint: a smaller --cfg-options {less}, or precision=fp32")
            return 1
        if group.first:
            runtime.write_summary(given.work_dir / SUMMARY, summary)
            say(f"summary    {given.work_dir / SUMMARY}")
    return 0


def _check(config: Config) -> None:
    """Numbers that make no sense, before anything starts."""
    check_sizes(config)
    wrong = [
        name
        for name, good in (
            ("total_iters", config["total_iters"] is None or config["total_iters"] >= 1),
            ("seed (0 to 2147483647)", 0 <= config["seed"] < 2**31),
            ("data.batch_size", config["data"]["batch_size"] >= 1),
            ("log_every", config["log_every"] >= 1),
            ("checkpoint.every", config["checkpoint"]["every"] >= 1),
            ("splat_backend", config["splat_backend"] in backend.CHOICES),
        )
        if not good
    ]
    if wrong:
        raise UsageError(
            f"{wrong[0]} makes no sense; numbers must be at least 1, splat_backend one of {', '.join(backend.CHOICES)}"
        )


if __name__ == "__main__":
    sys.exit(main())
