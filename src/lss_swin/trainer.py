"""Model, optimiser and one step of them, on one GPU, on several, or recorded as a graph.

Every random choice is a function of the seed and the iteration, so a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import io
import math
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lss_swin import runtime
from lss_swin.config import Config
from lss_swin.data import Batch
from lss_swin.evaluate import load_checkpoint, predict
from lss_swin.graph import StepGraph
from lss_swin.model import Lss, load_pretrained, parameter_groups
from lss_swin.runtime import ALONE, Group
from nuscenes_bev.errors import UsageError


def one_cycle(progress: float, warmup: float) -> float:
    """Share of the largest learning rate: from 1/25 up along a cosine, then down to almost nothing."""
    if progress < warmup:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * progress / warmup)) / 2
    return 1e-5 + (1 - 1e-5) * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2


@dataclass
class Trainer:
    """Model, optimiser and the step they have reached."""

    config: Config
    device: torch.device
    precision: torch.dtype
    total: int
    group: Group = ALONE
    step: int = 0
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(self.config["seed"])
        self.bare = Lss(self.config)
        if self.config["model"]["pretrained"]:
            load_pretrained(self.bare, self.config["model"]["pretrained"])
        self.bare = self.bare.to(self.device, memory_format=torch.channels_last)
        self.model = self._wrapped()
        options, cuda = self.config["optimizer"], self.device.type == "cuda"
        self.batch_size = self.config["data"]["batch_size"] * self.group.world  # of all processes together
        self.rate = options["lr"] * self.batch_size / options["lr_batch"]
        groups = parameter_groups(self.bare, options)
        self.optimizer = torch.optim.AdamW(groups, lr=self.rate, fused=cuda)
        recorded = cuda and self.config["graph"]
        self.graph = StepGraph(self._compute, self.optimizer, self.group.world > 1) if recorded else None
        self.rates = [torch.empty((), device=self.device) for _ in groups]  # where a recorded step reads them

    def _wrapped(self) -> nn.Module:
        """The model as it is called: synchronised norms, compiled, shared among processes, as asked for."""
        model: nn.Module = self.bare
        cuda = self.device.type == "cuda"
        if self.group.world > 1 and cuda:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        if self.config["compile"]:
            model = torch.compile(model)  # type: ignore[assignment]
        if self.group.world == 1:
            return model
        devices = [self.device] if cuda else None
        with torch.cuda.stream(torch.cuda.Stream()) if cuda else nullcontext():  # a recorded step wants it built there
            return nn.parallel.DistributedDataParallel(model, devices, gradient_as_bucket_view=True)

    def train_step(self, batch: Batch) -> Tensor:
        """One step of the optimiser; returns the loss, still on the device."""
        torch.manual_seed((self.config["seed"] << 32) + self.step * self.group.world + self.group.rank)
        share = one_cycle(self.step / self.total, self.config["optimizer"]["warmup"])
        for group, tensor in zip(self.optimizer.param_groups, self.rates):
            rate = self.rate * group["scale"] * share
            group["lr"] = tensor.fill_(rate) if self.graph else rate
            group["capturable"] = self.graph is not None
        loss = self.graph(batch) if self.graph else self._compute(batch)
        self.step += 1
        return loss

    def _compute(self, batch: Batch) -> Tensor:
        """What a graph may record: forward, backward, clipping, optimiser; nothing that waits for the device."""
        self.optimizer.zero_grad()
        logits = predict(self.model, batch, self.precision)
        weight = torch.full((), self.config["pos_weight"], device=self.device)  # no copy from the host may be recorded
        loss = F.binary_cross_entropy_with_logits(logits, batch["label"].to(logits.dtype), pos_weight=weight)
        loss.backward()
        nn.utils.clip_grad_norm_(self.bare.parameters(), self.config["optimizer"]["clip"], foreach=True)
        self.optimizer.step()
        return loss.detach()

    def close(self) -> None:
        """Let go of what would keep the group of processes from ending."""
        if self.graph:
            self.graph.close()

    def save(self, folder: Path) -> Path:
        """Write a checkpoint, whole or not at all, and remove the oldest beyond those to keep."""
        stored = {
            "schema": "lss_swin.checkpoint/1",
            "model": self.bare.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "losses": self.losses,
            "config": self.config,
        }
        buffer = io.BytesIO()
        torch.save(stored, buffer)
        path = folder / f"iter_{self.step:08d}.pth"
        runtime.write_atomically(path, buffer.getvalue())
        for old in sorted(folder.glob("iter_*.pth"))[: -max(1, self.config["checkpoint"]["keep"])]:
            old.unlink()
        return path

    def resume(self, path: str | Path) -> None:
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
        self.step, self.losses = stored["step"], list(stored["losses"])
