"""Training speed of the full model: steps with data in memory, and with the real loader, side by side. Needs a GPU.

    python benchmarks/train.py                                    # batch 8, compiled
    python benchmarks/train.py --batch 4 --no-compile --profile   # where the time goes
    torchrun --nproc-per-node 2 benchmarks/train.py --no-loader   # two GPUs

Both start from JPEG files of 1600x900 (generated; --data names a folder of your own) with real camera matrices. "memory": a
few batches decoded before, in pinned memory; copying them to the GPU and sampling the images is part of the step. Medians.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from torch.utils.flop_counter import FlopCounterMode

from bev_ops import backend
from bev_ops.dispatch import activate, active
from lss_swin import runtime
from lss_swin.config import load_config
from lss_swin.data import on_device, training_loader
from lss_swin.evaluate import predict
from lss_swin.runtime import join_group
from lss_swin.trainer import Trainer
from nuscenes_bev import synthetic
from nuscenes_bev.frames import load_frames

DENSE_BF16_PEAK = {
    "H100": 989e12,
    "H200": 989e12,
    "5090": 209e12,
    "4090": 165e12,
    "A100": 312e12,
}  # NVIDIA's data sheets


def timed(trainer: Trainer, batches: Iterable[dict[str, torch.Tensor]], steps: int, warm: int) -> dict[str, float]:
    """Milliseconds per step on the GPU's clock (median and fifths), and samples per second by the wall clock."""
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(steps + 1)]
    moved = on_device(batches, trainer.device)
    for _ in range(warm):
        trainer.train_step(next(moved))
    torch.cuda.synchronize()
    began = time.perf_counter()
    marks[0].record()
    for mark in marks[1:]:
        trainer.train_step(next(moved))
        mark.record()
    torch.cuda.synchronize()
    wall = time.perf_counter() - began
    each = [a.elapsed_time(b) for a, b in itertools.pairwise(marks)]
    batch = trainer.config["data"]["batch_size"] * trainer.group.world
    return {
        "step_ms": statistics.median(each),
        "step_ms_low": float(np.quantile(each, 0.2)),
        "step_ms_high": float(np.quantile(each, 0.8)),
        "samples_per_second": steps * batch / wall,
    }


def count_flops(trainer: Trainer, batch: dict[str, torch.Tensor]) -> float:
    """Floating-point operations of one training sample: forward counted, backward taken as twice that."""
    one = {name: tensor[:1].to(trainer.device) for name, tensor in batch.items()}
    was = active()
    backend.choose(trainer.device, "torch")  # the counter knows PyTorch's operators
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        predict(trainer.bare, one, trainer.precision)
    activate(was)
    return 3.0 * counter.get_total_flops()


def matmul_peak(device: torch.device) -> float:
    """FLOP/s of a large bf16 matrix product here and now."""
    a, b = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(8):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        a @ b
        stop.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(stop))
    return 2 * 8192**3 / (statistics.median(times) / 1e3)


def profile(trainer: Trainer, batches: Iterable[dict[str, torch.Tensor]]) -> str:
    """The kernels that take the time of two steps."""
    moved = on_device(batches, trainer.device)
    trainer.train_step(next(moved))
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
    ) as seen:
        for _ in range(2):
            trainer.train_step(next(moved))
        torch.cuda.synchronize()
    rows = sorted(
        (
            (e.self_device_time_total / 2e3, e.count // 2, e.key)
            for e in seen.key_averages()
            if e.self_device_time_total
        ),
        reverse=True,
    )
    kernels = [
        r
        for r in rows
        if not r[2].startswith(("aten::", "bev_ops::", "autograd::", "Optimizer", "ProfilerStep", "## "))
    ]
    return "\n".join(f"{ms:8.3f} ms {count:5d} x {name[:110]}" for ms, count, name in kernels[:45])


def prepare(folder: str | None, group_first: bool) -> Path:
    """A data set with images of 1600x900."""
    if folder:
        return Path(folder)
    options = synthetic.Options(10, 2, 1600, 900)
    if group_first:
        synthetic.ensure(options, lambda text: print(text, file=sys.stderr))
    if dist.is_initialized():
        dist.barrier()
    return synthetic.default_root(options)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--window", type=int, default=7)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--data", help="nuScenes root; default: generated")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--graph", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--loader", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--backend", default="auto", choices=backend.CHOICES)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    device = runtime.pick_device(None, None)
    with join_group("cuda") as group:
        options = [
            f"data.batch_size={given.batch}",
            f"data.workers={given.workers}",
            f"compile={given.compile}",
            f"graph={given.graph}",
        ]
        options += [f"model.swin.window={given.window}"]
        config = load_config("configs/baseline/lss_swin_nuscenes.py", options)
        frames = load_frames(prepare(given.data, group.first))
        backend.choose(device, given.backend)
        torch.backends.cudnn.benchmark = True
        trainer = Trainer(config, device, runtime.pick_precision("bf16", device), 100_000, group)
        trainer.model.train()
        few = list(training_loader(frames, config, range(4), group))
        result = {
            "gpu": torch.cuda.get_device_name(),
            "gpus": group.world,
            "torch": torch.__version__,
            **vars(given),
            "json": None,
        }
        began = time.perf_counter()
        trainer.train_step({k: v.to(device) for k, v in few[0].items()})
        torch.cuda.synchronize()
        result["first_step_s"] = time.perf_counter() - began
        result["memory"] = timed(trainer, itertools.cycle(few), given.steps, 14)
        if given.loader:
            many, full = 4 * given.steps, 80  # the queue of the workers is full at the start: empty it first
            loader = training_loader(frames, config, range(many + full), group)
            result["workers"] = loader.num_workers
            result["loader"] = timed(trainer, loader, many, full)
            result["memory again"] = timed(trainer, itertools.cycle(few), given.steps, 14)
        result["peak_gb"] = torch.cuda.max_memory_allocated() / 2**30
        result["tflop_per_sample"] = count_flops(trainer, few[0]) / 1e12
        result["matmul_tflops"] = matmul_peak(device) / 1e12
        speed = result["memory"]["samples_per_second"] / group.world * result["tflop_per_sample"] * 1e12
        result["share_of_matmul"] = speed / 1e12 / result["matmul_tflops"]
        peak = next((v for k, v in DENSE_BF16_PEAK.items() if k in result["gpu"]), None)
        result["share_of_data_sheet"] = speed / peak if peak else None
        if group.first:
            print(json.dumps(result, indent=1, default=str))
            if given.profile:
                print(profile(trainer, itertools.cycle(few)))
            if given.json:
                given.json.write_text(json.dumps(result, indent=1, default=str))
        trainer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
