"""The splat on the GPU: counting-sort plan, forward, backward. No float atomics, so the same bits every time.

Letters: P points, D depth bins, C channels. Point p belongs to pixel p // D; cell -1 is outside the grid.
Triton compiles these for whatever GPU is there, so no list of architectures can be too old for it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_INT32_LIMIT = 2**31
_COUNTED_POINTS_PER_CELL = 48  # above it a radix sort is cheaper than ranking within the cells (docs/measurements.md)


@triton.jit
def count_kernel(cells, count, slot, num_points, BLOCK: tl.constexpr):
    """Count the points of each cell; each point takes the number it drew. The draw is a race: `rank_kernel` undoes it."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    cell = tl.load(cells + p, mask=p < num_points, other=-1)
    drawn = tl.atomic_add(count + 1 + cell, 1, mask=cell >= 0, sem="relaxed")
    tl.store(slot + p, drawn, mask=cell >= 0)


@triton.jit
def fill_kernel(cells, rows, slot, drawn, num_points, BLOCK: tl.constexpr):
    """Write each point where its cell's row starts plus the number it drew."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    cell = tl.load(cells + p, mask=p < num_points, other=-1)
    inside = cell >= 0
    at = tl.load(rows + cell, mask=inside, other=0) + tl.load(slot + p, mask=inside, other=0)
    tl.store(drawn + at, p, mask=inside)


@triton.jit
def rank_kernel(cells, rows, drawn, order, num_cells, BLOCK: tl.constexpr, SCAN: tl.constexpr):
    """Put the points of each cell in ascending order: a point's place is how many of its cell are smaller."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mine = i < tl.load(rows + num_cells)
    p = tl.load(drawn + i, mask=mine, other=0)
    cell = tl.load(cells + p, mask=mine, other=0)
    low = tl.load(rows + cell, mask=mine, other=2147483647)
    high = tl.load(rows + cell + 1, mask=mine, other=0)
    last = tl.max(high, axis=0)
    rank = tl.zeros((BLOCK,), tl.int32)
    for base in range(tl.min(low, axis=0), last, SCAN):
        j = base + tl.arange(0, SCAN)
        other = tl.load(drawn + j, mask=j < last, other=0)
        same = (j[None, :] >= low[:, None]) & (j[None, :] < high[:, None])
        rank += tl.sum((same & (other[None, :] < p[:, None])).to(tl.int32), axis=1)
    tl.store(order + low + rank, p, mask=mine)


@triton.jit
def forward_kernel(
    depth,
    feature,
    rows,
    order,
    out,
    num_cells,
    C,
    D: tl.constexpr,
    CELLS: tl.constexpr,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SUM: tl.constexpr,
):
    """One program sums the points of CELLS neighbouring cells, POINTS of each at a time; empty cells store zeros."""
    cell = tl.program_id(0) * CELLS + tl.arange(0, CELLS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    start = tl.load(rows + cell, mask=cell < num_cells, other=0)
    stop = tl.load(rows + cell + 1, mask=cell < num_cells, other=0)
    at = start[:, None] + tl.arange(0, POINTS)[None, :]
    p = tl.load(order + at, mask=at < stop[:, None], other=0)
    total = tl.zeros((CELLS, POINTS, CHANNELS), SUM)
    for _ in range(0, tl.max(stop - start, axis=0), POINTS):
        live = at < stop[:, None]
        weight = tl.load(depth + p, mask=live, other=0.0)
        wanted = live[:, :, None] & (channel < C)[None, None, :]
        value = tl.load(feature + (p // D)[:, :, None] * C + channel[None, None, :], mask=wanted, other=0.0)
        at += POINTS
        p = tl.load(order + at, mask=at < stop[:, None], other=0)  # the next points, before this sum waits for memory
        total += weight.to(SUM)[:, :, None] * value.to(SUM)
    here = (cell < num_cells)[:, None] & (channel < C)[None, :]
    tl.store(out + cell[:, None] * C + channel[None, :], tl.sum(total, axis=1).to(out.dtype.element_ty), mask=here)


@triton.jit
def backward_kernel(
    grad,
    depth,
    feature,
    cells,
    d_depth,
    d_feature,
    C,
    D: tl.constexpr,
    BINS: tl.constexpr,
    CHANNELS: tl.constexpr,
    SUM: tl.constexpr,
):
    """One program per pixel: gather the gradient of its D cells, write both gradients. Needs no plan."""
    pixel = tl.program_id(0)
    channel = tl.arange(0, CHANNELS)
    value = tl.load(feature + pixel * C + channel, mask=channel < C, other=0.0).to(SUM)
    total = tl.zeros((BINS, CHANNELS), SUM)
    for first in range(0, D, BINS):
        d = first + tl.arange(0, BINS)
        p = pixel * D + d
        cell = tl.load(cells + p, mask=d < D, other=-1)
        inside = cell >= 0
        weight = tl.load(depth + p, mask=inside, other=0.0).to(SUM)
        wanted = inside[:, None] & (channel < C)[None, :]
        slope = tl.load(grad + cell[:, None] * C + channel[None, :], mask=wanted, other=0.0).to(SUM)
        along = tl.where(inside, tl.sum(slope * value[None, :], axis=1), 0.0)  # 0 outside, also where the value is NaN
        tl.store(d_depth + p, along.to(d_depth.dtype.element_ty), mask=d < D)
        total += weight[:, None] * slope
    here = tl.sum(total, axis=0).to(d_feature.dtype.element_ty)
    tl.store(d_feature + pixel * C + channel, here, mask=channel < C)


def plan(cells: Tensor, num_cells: int, counting: bool | None = None) -> tuple[Tensor, Tensor]:
    """Which points fall into each cell: `order[rows[i]:rows[i + 1]]` are those of cell i, ascending.

    Args:
        cells: (P,) int32 on the GPU.
        counting: count and rank, or sort; None takes the quicker. Both give the same plan.
    Returns:
        rows (num_cells + 1,) and order (P,), int32; order is undefined from rows[-1] on.
    """
    if counting is None:
        counting = cells.numel() <= _COUNTED_POINTS_PER_CELL * num_cells
    return _plan_by_counting(cells, num_cells) if counting else plan_by_sorting(cells, num_cells)


def _plan_by_counting(cells: Tensor, num_cells: int) -> tuple[Tensor, Tensor]:
    points = cells.numel()
    count = torch.zeros(num_cells + 1, dtype=torch.int32, device=cells.device)
    slot, drawn, order = (torch.empty_like(cells) for _ in range(3))
    if points == 0:
        return count, order
    grid = (triton.cdiv(points, 512),)
    count_kernel[grid](cells, count, slot, points, BLOCK=512, num_warps=4)
    rows = torch.cumsum(count, 0, dtype=torch.int32)
    fill_kernel[grid](cells, rows, slot, drawn, points, BLOCK=512, num_warps=4)
    rank_kernel[(triton.cdiv(points, 64),)](cells, rows, drawn, order, num_cells, BLOCK=64, SCAN=32, num_warps=2)
    return rows, order


def plan_by_sorting(cells: Tensor, num_cells: int) -> tuple[Tensor, Tensor]:
    """The same by PyTorch's stable sort, on any device; 16-bit keys where they suffice, for they sort in half the passes."""
    keys = torch.where(cells < 0, num_cells, cells)  # outside comes last
    if num_cells < 2**16:
        keys = (keys - 2**15).to(torch.int16)
    order = torch.sort(keys, stable=True).indices.to(torch.int32)
    count = torch.bincount(cells + 1, minlength=num_cells + 1) if cells.numel() else torch.zeros(num_cells + 1)
    count[0] = 0
    return torch.cumsum(count, 0).to(torch.int32), order


def forward_shape(points: int, num_cells: int, channels: int) -> dict[str, int]:
    """Tile of the forward kernel: many short rows want several cells per program, long rows many points at once.

    It depends on sizes only, never on timings, so that the order of summation, and with it every bit, is fixed.
    """
    wide = triton.next_power_of_2(max(channels, 1))
    block = min(wide, 64) if channels % 64 == 0 or wide < 64 else wide
    if points <= 16 * num_cells:
        return {"CELLS": 4, "POINTS": 8, "CHANNELS": block, "num_warps": 1}
    if points <= 64 * num_cells:
        return {"CELLS": 1, "POINTS": 32, "CHANNELS": block, "num_warps": 2}
    return {"CELLS": 1, "POINTS": 64, "CHANNELS": block, "num_warps": 4}


def backward_shape(bins: int, channels: int) -> dict[str, int]:
    """Tile of the backward kernel."""
    return {
        "BINS": min(16, triton.next_power_of_2(max(bins, 1))),
        "CHANNELS": triton.next_power_of_2(max(channels, 1)),
        "num_warps": 1,
    }


def splat_forward(
    depth: Tensor, feature: Tensor, rows: Tensor, order: Tensor, num_cells: int, shape: dict[str, int] | None = None
) -> Tensor:
    """depth (pixels, D), feature (pixels, C) -> (num_cells, C), summed in float32 (float64 for float64)."""
    channels, bins = feature.shape[1], depth.shape[1]
    _check_sizes(depth, feature, num_cells)
    out = feature.new_empty((num_cells, channels))
    if out.numel() == 0:
        return out
    shape = shape or forward_shape(depth.numel(), num_cells, channels)
    grid = (triton.cdiv(num_cells, shape["CELLS"]), triton.cdiv(channels, shape["CHANNELS"]))
    forward_kernel[grid](depth, feature, rows, order, out, num_cells, channels, D=bins, SUM=_sum(feature), **shape)
    return out


def splat_backward(
    grad: Tensor, depth: Tensor, feature: Tensor, cells: Tensor, shape: dict[str, int] | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients of `depth` and `feature` for `grad` (num_cells, C)."""
    (pixels, bins), channels = depth.shape, feature.shape[1]
    d_depth, d_feature = torch.zeros_like(depth), torch.zeros_like(feature)
    if depth.numel() == 0 or channels == 0:
        return d_depth, d_feature
    shape = shape or backward_shape(bins, channels)
    kernel = backward_kernel[(pixels,)]
    kernel(grad, depth, feature, cells, d_depth, d_feature, channels, D=bins, SUM=_sum(feature), **shape)
    return d_depth, d_feature


def _sum(feature: Tensor) -> tl.dtype:
    return tl.float64 if feature.dtype == torch.float64 else tl.float32


def _check_sizes(depth: Tensor, feature: Tensor, num_cells: int) -> None:
    largest = max(depth.numel(), feature.numel(), num_cells * feature.shape[1])
    if largest >= _INT32_LIMIT:
        raise ValueError(f"splat of {largest} elements: the kernels count in 32 bits; use a smaller batch")
