"""A whole training step as one CUDA graph: thousands of launches become one, and the processor is free for the data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from lss_swin.data import Batch

_WARM_UP = 3
_WARM_UP_DISTRIBUTED = 11  # DistributedDataParallel settles its buckets in the first ten


class StepGraph:
    """Runs `compute` as it is for some steps, then records it once and replays the record.

    `compute` must not wait for the GPU, and what changes between steps must live in tensors. All batches have one shape.
    """

    def __init__(self, compute: Callable[[Batch], Tensor], optimizer: Optimizer, distributed: bool) -> None:
        self.compute, self.optimizer = compute, optimizer
        self.left = _WARM_UP_DISTRIBUTED if distributed else _WARM_UP
        self.side = torch.cuda.Stream()
        self.graph: torch.cuda.CUDAGraph | None = None
        self.batch: Batch = {}
        self.loss = torch.empty(0)

    def __call__(self, batch: Batch) -> Tensor:
        """One step; the loss is the caller's to keep."""
        if self.left:
            self.left -= 1
            return self._beside(batch)
        if self.graph is None:
            self._capture(batch)
        for name, tensor in self.batch.items():
            tensor.copy_(batch[name], non_blocking=True)
        self.graph.replay()  # type: ignore[union-attr]
        return self.loss.clone()

    def close(self) -> None:
        """Give the record up. NCCL does not let a group of processes end while a recorded step still holds its channels."""
        torch.cuda.synchronize()
        self.graph = None

    def _beside(self, batch: Batch) -> Tensor:
        """On the stream that capture will use, as CUDA graphs demand of what runs before them."""
        self.side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.side):
            loss = self.compute(batch)
        torch.cuda.current_stream().wait_stream(self.side)
        return loss

    def _capture(self, batch: Batch) -> None:
        self.batch = {name: tensor.clone() for name, tensor in batch.items()}
        self.optimizer.zero_grad()
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        # Other threads (of the loader, of NCCL) go on calling CUDA meanwhile.
        with torch.cuda.graph(self.graph, stream=self.side, capture_error_mode="thread_local"):
            self.loss = self.compute(self.batch)
