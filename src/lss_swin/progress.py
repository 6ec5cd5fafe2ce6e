"""What a running training tells, and how it is stopped."""

from __future__ import annotations

import math
import signal
import time
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from lss_swin.command import say
from lss_swin.trainer import Group, Trainer


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
        self.samples_per_step = self.trainer.config["data"]["batch_size"] * self.trainer.group.world

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
            where = f"the loss is {new[bad]} at iteration {len(trainer.losses) + bad + 1}"
            less = f"optimizer.lr={trainer.config['optimizer']['lr'] / 4:.1e}"
            raise FloatingPointError(f"{where}\nhint: a smaller --cfg-options {less}, or precision=fp32")
        trainer.losses += new
        if trainer.step > 1:  # the first step pays for start-up and compilation
            self.seconds, self.timed_steps = self.seconds + spent, self.timed_steps + steps
        if trainer.group.first:
            self._tell(new, spent, steps)
        self.waited = 0.0

    def _tell(self, new: list[float], spent: float, steps: int) -> None:
        t = self.trainer
        left = (t.total - t.step) * spent / steps
        speed = steps * self.samples_per_step / spent
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
        return self.timed_steps * self.samples_per_step / self.seconds if self.timed_steps else None


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
