"""The loop of a training run: what it does between the steps, what it tells, and how it is stopped."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lss_swin.command import say
from lss_swin.data import on_device, training_loader, validation_loader
from lss_swin.evaluate import evaluate
from lss_swin.trainer import Trainer
from nuscenes_bev.frames import Frames


@dataclass
class Loop:
    """Trains to the end, with checkpoints, validation, and lines about speed and time left."""

    trainer: Trainer
    frames: Frames
    work_dir: Path
    board: Any = None
    pending: list[Tensor] = field(default_factory=list)  # losses that are still on the device
    seconds: float = 0.0
    timed_steps: int = 0
    mark: float = 0.0  # when the steps began that are not told yet
    waited: float = 0.0  # for data, since then

    def run(self) -> dict[str, float]:
        """All steps that are left; returns the validation of the model that they end with.

        Raises:
            KeyboardInterrupt: after a checkpoint, if one process trains.
            FloatingPointError: a loss is not finite.
        """
        trainer, group = self.trainer, self.trainer.group
        steps = range(trainer.step, trainer.total)
        batches = on_device(training_loader(self.frames, trainer.config, steps, group), trainer.device)
        trainer.model.train()
        self.mark = time.perf_counter()
        with interruptible(group.world == 1) as interrupted:
            for _ in steps:
                began = time.perf_counter()
                batch = next(batches)
                self.waited += time.perf_counter() - began
                self.pending.append(trainer.train_step(batch))
                if interrupted.is_set():
                    break
                self._after_step()
        self._read_losses()
        if group.first:
            say(f"saved      {trainer.save(self.work_dir)}")
        if interrupted.is_set():
            say("go on with the same command and --resume")
            raise KeyboardInterrupt
        return self._validate()

    @property
    def samples_per_second(self) -> float | None:
        """Over all steps but the first."""
        return self.timed_steps * self.trainer.batch_size / self.seconds if self.timed_steps else None

    def _after_step(self) -> None:
        """A line, a checkpoint and a validation where they are due; the time that they take is not that of the steps."""
        config, step = self.trainer.config, self.trainer.step
        every = {"line": config["log_every"], "save": config["checkpoint"]["every"], "validate": config["val"]["every"]}
        due = {what for what, steps in every.items() if steps and step % steps == 0}
        if not due and step > 1:
            return
        self._read_losses()
        if "save" in due and step < self.trainer.total and self.trainer.group.first:
            self.trainer.save(self.work_dir)
        if "validate" in due and step < self.trainer.total:
            self._validate()
        self.mark = time.perf_counter()

    def _read_losses(self) -> None:
        """Read the losses of the last steps, which waits for the GPU; check them, and tell."""
        if not self.pending:
            return
        trainer, losses, steps = self.trainer, torch.stack(self.pending), len(self.pending)
        if trainer.group.world > 1:
            dist.all_reduce(losses)
        new = (losses / trainer.group.world).tolist()  # of the whole batch: the processes have equal shares of it
        spent = time.perf_counter() - self.mark
        bad = next((i for i, loss in enumerate(new) if not math.isfinite(loss)), None)
        if bad is not None:
            where = f"the loss is {new[bad]} at iteration {len(trainer.losses) + bad + 1}"
            less = f"optimizer.lr={trainer.config['optimizer']['lr'] / 4:.1e}"
            raise FloatingPointError(f"{where}\nhint: a smaller --cfg-options {less}, or precision=fp32")
        trainer.losses += new
        if trainer.step > 1:  # the first step pays for start-up and compilation
            self.seconds, self.timed_steps = self.seconds + spent, self.timed_steps + steps
        self._tell(new, spent)
        self.pending, self.waited = [], 0.0

    def _tell(self, new: list[float], spent: float) -> None:
        t, steps = self.trainer, len(new)
        left = timedelta(seconds=round((t.total - t.step) * spent / steps))
        rate = float(t.optimizer.param_groups[0]["lr"])
        say(
            f"iter {t.step}/{t.total}  loss {sum(new) / steps:.4f}  lr {rate:.1e}  "
            f"{steps * t.batch_size / spent:.1f} samples/s  data {100 * self.waited / spent:.0f} %  left {left}"
        )
        if self.board:
            for i, loss in enumerate(new):
                self.board.add_scalar("loss", loss, t.step - steps + i + 1)
            self.board.add_scalar("lr", rate, t.step)

    def _validate(self) -> dict[str, float]:
        """IoU on the validation split, with a line about it."""
        if not self.frames.split("val"):
            say("validation: the data set has no validation frames")
            return {}
        trainer, config = self.trainer, self.trainer.config
        loader = validation_loader(self.frames, config, "val", trainer.group)
        found = evaluate(trainer.bare, loader, trainer.precision, config["val"]["threshold"])
        both = f"IoU {found['iou']:.4f}, visible vehicles only {found['iou_vis40']:.4f}"
        say(f"validation {found['frames']} frames ({self.frames.source}): {both}")
        return found


@contextmanager
def interruptible(active: bool) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, to end training after the step it falls into; the second ends it at once.

    Not `active` among several processes: they could not agree on the step.
    """
    asked = threading.Event()

    def ask(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        asked.set()
        say("stopping after this iteration; once more stops at once")

    before = signal.signal(signal.SIGINT, ask) if active else None
    try:
        yield asked
    finally:
        if active:
            signal.signal(signal.SIGINT, before)
