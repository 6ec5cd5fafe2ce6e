"""What a running training tells, and how it is stopped."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lss_swin.command import say
from lss_swin.runtime import Group
from lss_swin.trainer import Trainer


@dataclass
class Progress:
    """Lines about a running training, at most one per `log_every` steps, with speed and time left."""

    trainer: Trainer
    board: Any = None
    pending: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0
    timed_steps: int = 0
    waited: float = 0.0

    def __post_init__(self) -> None:
        self.mark = time.perf_counter()
        self.samples_per_step = self.trainer.config["data"]["batch_size"] * self.trainer.group.world

    def note(self, loss: Tensor) -> None:
        """Keep a loss on the device; read them, which waits for the GPU, only when a line is due.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        self.pending.append(loss)
        if self.trainer.step == 1 or self.trainer.step % self.trainer.config["log_every"] == 0:
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
            where = f"the loss is {new[bad]} at iteration {len(trainer.losses) + bad + 1}"
            less = f"optimizer.lr={trainer.config['optimizer']['lr'] / 4:.1e}"
            raise FloatingPointError(f"{where}\nhint: a smaller --cfg-options {less}, or precision=fp32")
        trainer.losses += new
        if trainer.step > 1:  # the first step pays for start-up and compilation
            self.seconds, self.timed_steps = self.seconds + spent, self.timed_steps + steps
        self._tell(new, spent)
        self.waited = 0.0

    def _tell(self, new: list[float], spent: float) -> None:
        t, steps = self.trainer, len(new)
        left = timedelta(seconds=round((t.total - t.step) * spent / steps))
        rate = float(t.optimizer.param_groups[0]["lr"])
        say(
            f"iter {t.step}/{t.total}  loss {sum(new) / steps:.4f}  lr {rate:.1e}  "
            f"{steps * self.samples_per_step / spent:.1f} samples/s  data {100 * self.waited / spent:.0f} %  left {left}"
        )
        if self.board:
            for i, loss in enumerate(new):
                self.board.add_scalar("loss", loss, t.step - steps + i + 1)
            self.board.add_scalar("lr", rate, t.step)

    @property
    def samples_per_second(self) -> float | None:
        """Over all steps but the first."""
        return self.timed_steps * self.samples_per_step / self.seconds if self.timed_steps else None


def mean_over(group: Group, losses: Tensor) -> list[float]:
    """Losses of the whole batch: the mean over all processes, which have equal shares of it."""
    if group.world > 1:
        dist.all_reduce(losses)
        losses = losses / group.world
    return losses.tolist()  # type: ignore[no-any-return]


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
