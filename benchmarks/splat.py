"""Time the splat: plan, forward, backward, beside the plain formula and the scheme of BEVPoolv2. Needs a GPU.

    python benchmarks/splat.py                    # table, medians (lowest to highest fifth), side by side
    python benchmarks/splat.py --tune             # also every tile shape
    python benchmarks/splat.py --json out.json

Every measurement starts with a cold L2 cache (a buffer larger than it is written first) and is taken with CUDA events; the
candidates take turns, so that a change of clock meets all of them alike. BEVPoolv2's kernels are written anew here in Triton,
after their published description: one thread per interval and channel, three rank arrays, an atomic add per channel backward.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import triton
import triton.language as tl

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from bev_ops import backend, splat_triton
from bev_ops.cells import find_cells
from bev_ops.splat import splat, splat_reference
from nuscenes_bev import geometry
from nuscenes_bev.frames import CAMERAS
from nuscenes_bev.synthetic.raycast import MOUNTS

# name: image rows, columns, stride, first and last depth, step, channels, cells per side, cell in metres
SIZES = {
    "LSS": (128, 352, 16, 4.0, 45.0, 1.0, 64, 200, 0.5),
    "ours": (256, 704, 16, 1.0, 60.0, 1.0, 64, 200, 0.5),
    "BEVDet-R50": (256, 704, 16, 1.0, 60.0, 1.0, 64, 128, 0.8),
    "BEVDet dev2": (256, 704, 16, 1.0, 60.0, 0.5, 80, 128, 0.8),
    "BEVFusion": (256, 704, 8, 1.0, 60.0, 0.5, 80, 256, 0.4),
    "BEVPoolv2": (640, 1600, 16, 1.0, 60.0, 0.5, 80, 128, 0.8),
}

# Tiles that --tune compares: elements per thread, cells, warps, and bins, warps.
FORWARD_SHAPES = (
    (512, 4, 1),
    (512, 8, 1),
    (1024, 4, 1),
    (1024, 8, 1),
    (2048, 4, 1),
    (2048, 8, 2),
    (2048, 1, 1),
    (4096, 1, 1),
    (4096, 1, 2),
)
BACKWARD_SHAPES = ((4, 1), (8, 1), (16, 1), (16, 2), (32, 2))


def rig_cells(name: str, device: str) -> tuple[torch.Tensor, int, int]:
    """Cells (pixels, D) of a nuScenes rig at this size, number of cells, channels."""
    rows, columns, stride, near, far, step, channels, side, cell = SIZES[name]
    matrices = []
    for camera in CAMERAS:
        translation, turn, (focal, cx, cy), _ = MOUNTS[camera]
        intrinsics = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])
        affine = geometry.image_affine((900, 1600), (rows, columns), 1.0, False, 0.0)
        matrices.append(geometry.pixel_to_ego(geometry.pose(translation, turn), intrinsics, affine))
    half = side * cell / 2
    grid = {"x": (-half, half, cell), "y": (-half, half, cell), "z": (-10.0, 10.0)}
    bins = torch.arange(near + step / 2, far, step, device=device)
    where = torch.tensor(np.stack(matrices), dtype=torch.float32, device=device)[None]
    cells = find_cells(where, bins, (rows // stride, columns // stride), stride, grid)
    return cells.reshape(-1, len(bins)).contiguous(), side * side, channels


@triton.jit
def bevpool_forward(
    depth, feature, ranks_depth, ranks_feature, ranks_bev, starts, lengths, out, threads, C, BLOCK: tl.constexpr
):
    """BEVPoolv2: one thread per interval and channel."""
    thread = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = thread < threads
    interval, channel = thread // C, thread % C
    start = tl.load(starts + interval, mask=live, other=0)
    length = tl.load(lengths + interval, mask=live, other=0)
    total = tl.zeros((BLOCK,), tl.float32)
    for i in range(tl.max(length, axis=0)):
        on = i < length
        d = tl.load(ranks_depth + start + i, mask=on, other=0)
        f = tl.load(ranks_feature + start + i, mask=on, other=0)
        weight = tl.load(depth + d, mask=on, other=0.0).to(tl.float32)
        total += weight * tl.load(feature + f * C + channel, mask=on, other=0.0).to(tl.float32)
    cell = tl.load(ranks_bev + start, mask=live, other=0)
    tl.store(out + cell * C + channel, total, mask=live)


@triton.jit
def bevpool_backward(
    grad,
    depth,
    feature,
    ranks_depth,
    ranks_feature,
    ranks_bev,
    starts,
    lengths,
    d_depth,
    d_feature,
    threads,
    C,
    BLOCK: tl.constexpr,
):
    """BEVPoolv2: intervals of one pixel; an atomic add per channel into the depth gradient."""
    thread = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = thread < threads
    interval, channel = thread // C, thread % C
    start = tl.load(starts + interval, mask=live, other=0)
    length = tl.load(lengths + interval, mask=live, other=0)
    pixel = tl.load(ranks_feature + start, mask=live, other=0)
    value = tl.load(feature + pixel * C + channel, mask=live, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK,), tl.float32)
    for i in range(tl.max(length, axis=0)):
        on = i < length
        d = tl.load(ranks_depth + start + i, mask=on, other=0)
        cell = tl.load(ranks_bev + start + i, mask=on, other=0)
        slope = tl.load(grad + cell * C + channel, mask=on, other=0.0).to(tl.float32)
        tl.atomic_add(d_depth + d, slope * value, mask=on)
        total += slope * tl.load(depth + d, mask=on, other=0.0).to(tl.float32)
    tl.store(d_feature + pixel * C + channel, total, mask=live)


class BevPool:
    """The scheme with its ranks, sorted by cell (forward) and by pixel (backward)."""

    def __init__(self, cells: torch.Tensor, num_cells: int) -> None:
        flat, bins = cells.reshape(-1), cells.shape[1]
        points = torch.nonzero(flat >= 0)[:, 0]
        self.num_cells = num_cells
        self.by_cell = self._ranks(points[torch.argsort(flat[points], stable=True)], flat, bins, by_pixel=False)
        self.by_pixel = self._ranks(points, flat, bins, by_pixel=True)

    @staticmethod
    def _ranks(points: torch.Tensor, flat: torch.Tensor, bins: int, by_pixel: bool) -> tuple[torch.Tensor, ...]:
        key = points // bins if by_pixel else flat[points].long()
        first = torch.ones_like(key, dtype=torch.bool)
        first[1:] = key[1:] != key[:-1]
        starts = torch.nonzero(first)[:, 0]
        lengths = torch.diff(starts, append=torch.tensor([len(points)], device=starts.device))
        return tuple(t.int() for t in (points, points // bins, flat[points], starts, lengths))

    def forward(self, depth: torch.Tensor, feature: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(self.num_cells, feature.shape[1], device=depth.device)
        threads = len(self.by_cell[3]) * feature.shape[1]
        bevpool_forward[(triton.cdiv(threads, 256),)](
            depth, feature, *self.by_cell, out, threads, feature.shape[1], BLOCK=256, num_warps=8
        )
        return out

    def backward(
        self, grad: torch.Tensor, depth: torch.Tensor, feature: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        d_depth, d_feature = (torch.zeros(t.shape, device=t.device) for t in (depth, feature))
        threads = len(self.by_pixel[3]) * feature.shape[1]
        bevpool_backward[(triton.cdiv(threads, 256),)](
            grad, depth, feature, *self.by_pixel, d_depth, d_feature, threads, feature.shape[1], BLOCK=256, num_warps=8
        )
        return d_depth, d_feature


def measure(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float, float]]:
    """Microseconds of each candidate: median, lowest fifth, highest fifth. They take turns; L2 is cold each time."""
    cold = torch.empty(128 * 2**20, dtype=torch.int32, device="cuda")  # 512 MB
    times: dict[str, list[float]] = {name: [] for name in candidates}
    candidates = {name: graphed(call) for name, call in candidates.items()}
    for _ in range(rounds):
        for name, call in candidates.items():
            start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            cold.zero_()
            start.record()
            call()
            stop.record()
            torch.cuda.synchronize()
            times[name].append(start.elapsed_time(stop) * 1e3)
    return {name: (statistics.median(t), *(float(np.quantile(t, q)) for q in (0.2, 0.8))) for name, t in times.items()}


def graphed(call: Callable[[], object]) -> Callable[[], object]:
    """The call as a CUDA graph, so that the time to launch from Python does not count; itself, if it waits for the host."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            call()
    except RuntimeError:
        torch.cuda.synchronize()
        return call
    return graph.replay


def case(name: str) -> dict[str, object]:
    """Inputs of a size: bf16 depth (softmaxed) and features, batch 1."""
    cells, num_cells, channels = rig_cells(name, "cuda")
    torch.manual_seed(0)
    depth = torch.randn(cells.shape, device="cuda").softmax(-1).bfloat16()
    feature = torch.randn(len(cells), channels, device="cuda").bfloat16()
    return {"cells": cells, "num_cells": num_cells, "depth": depth, "feature": feature}


def run_size(name: str, rounds: int, tune: bool) -> dict[str, object]:
    """Everything about one size."""
    given = case(name)
    cells, num_cells, depth, feature = given["cells"], given["num_cells"], given["depth"], given["feature"]
    flat, channels = cells.reshape(-1), feature.shape[1]
    planned = splat_triton.plan(flat, num_cells)
    rows, order, _ = planned
    kept = int(rows[-1])
    by_sorting = splat_triton.plan(flat, num_cells, False)
    assert torch.equal(rows, by_sorting[0])
    assert torch.equal(order[:kept], by_sorting[1][:kept])
    grad = torch.randn(num_cells, channels, device="cuda").bfloat16()
    exact = splat_reference(depth.double(), feature.double(), cells, num_cells)
    pool = BevPool(cells, num_cells)
    wide, nothing = (depth.float(), feature.float()), torch.empty(1, device="cuda")

    def whole() -> None:
        splat_triton.splat_forward(depth, feature, splat_triton.plan(flat, num_cells), num_cells)
        splat_triton.splat_backward(grad, depth, feature, cells)

    candidates: dict[str, Callable[[], object]] = {
        "plan": lambda: splat_triton.plan(flat, num_cells),
        "plan by counting": lambda: splat_triton.plan(flat, num_cells, True),
        "plan by sorting": lambda: splat_triton.plan(flat, num_cells, False),
        "forward": lambda: splat_triton.splat_forward(depth, feature, planned, num_cells),
        "backward": lambda: splat_triton.splat_backward(grad, depth, feature, cells),
        "plan+forward+backward": whole,
        "volume+index_add forward": lambda: splat_reference(*wide, cells, num_cells),
        "volume+index_add forward, masked": lambda: masked_volume(depth, feature, cells, num_cells),
        "BEVPoolv2 forward": lambda: pool.forward(depth, feature),
        "BEVPoolv2 backward": lambda: pool.backward(grad, depth, feature),
        "a kernel that does nothing": lambda: nothing.fill_(0.0),
    }
    out = splat_triton.splat_forward(depth, feature, planned, num_cells)
    full = splat_triton.splat_forward(*wide, planned, num_cells)
    again = [
        splat_triton.splat_forward(depth, feature, splat_triton.plan(flat, num_cells), num_cells) for _ in range(5)
    ]
    result: dict[str, object] = {
        "points": flat.numel(),
        "inside": kept,
        "longest": int((rows[1:] - rows[:-1]).max()),
        "occupied": float((rows[1:] > rows[:-1]).float().mean()),
        "error bf16": float((out.double() - exact).abs().max()),
        "error fp32": float((full.double() - exact).abs().max()),
        "error BEVPoolv2": float((pool.forward(*wide).double() - exact).abs().max()),
        "same bits": all(torch.equal(out, other) for other in again),
        "us": measure(candidates, rounds),
    }
    if tune:
        result["tune"] = tune_size(given, planned, grad, rounds // 2)
    return result


def masked_volume(depth: torch.Tensor, feature: torch.Tensor, cells: torch.Tensor, num_cells: int) -> torch.Tensor:
    """Plain PyTorch without a wait for the host: volume in bf16, what is outside goes to one cell more."""
    volume = (depth[:, :, None] * feature[:, None, :]).reshape(-1, feature.shape[1])
    out = torch.zeros(num_cells + 1, feature.shape[1], device=depth.device)
    return out.index_add_(0, torch.where(cells < 0, num_cells, cells).reshape(-1), volume.float())


def tune_size(given: dict, planned: tuple, grad: torch.Tensor, rounds: int) -> dict[str, object]:
    """Every tile shape that fits into registers."""
    num_cells, depth, feature, cells = (given[k] for k in ("num_cells", "depth", "feature", "cells"))
    wide = triton.next_power_of_2(feature.shape[1])
    forward, backward = {}, {}
    for (tile, n, warps), long in itertools.product(FORWARD_SHAPES, (splat_triton.LONG, 2**31 - 1)):
        points = max(tile // wide, n)
        shape = {
            "CELLS": n,
            "POINTS": points // n,
            "LONG_POINTS": points,
            "CHANNELS": wide,
            "LONG": long,
            "num_warps": warps,
        }
        forward[str(shape)] = lambda s=shape: splat_triton.splat_forward(depth, feature, planned, num_cells, s)
    for bins, warps in BACKWARD_SHAPES:
        shape = {"BINS": bins, "CHANNELS": wide, "num_warps": warps}
        backward[str(shape)] = lambda s=shape: splat_triton.splat_backward(grad, depth, feature, cells, s)
    found = {"forward": measure(forward, rounds), "backward": measure(backward, rounds)}
    return {k: sorted(((t[0], s) for s, t in v.items()))[:8] for k, v in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("error: no GPU that torch can use", file=sys.stderr)
        return 4
    chosen = backend.choose(torch.device("cuda"), "triton")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}")
    print(f"self-check {chosen.error_vs_reference:.1e}")
    results = {}
    for name in given.sizes:
        results[name] = run_size(name, given.rounds, given.tune)
        report(name, results[name])
    cells = torch.zeros((0, 4), dtype=torch.int32, device="cuda")
    assert splat(torch.zeros(0, 4, device="cuda"), torch.zeros(0, 8, device="cuda"), cells, 5).abs().sum() == 0
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))
    return 0


def report(name: str, result: dict) -> None:
    facts = ", ".join(
        f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in result.items() if k not in ("us", "tune")
    )
    print(f"\n{name}: {facts}")
    for label, (middle, low, high) in result["us"].items():
        print(f"  {label:34} {middle:8.1f} us ({low:.1f} to {high:.1f})")
    for kind, best in result.get("tune", {}).items():
        for middle, shape in best[:5]:
            print(f"    {kind:9} {middle:7.1f} us {shape}")


if __name__ == "__main__":
    sys.exit(main())
