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
LONG = 32
"""A row of more points than this is long: a program of its own sums it."""
# Points per cell, measured on an H100 (docs/measurements.md): from here a larger tile is quicker; up to here counting is
# quicker than sorting; from there on nearly all rows are long, and dividing them costs more than it brings.
_MANY, _COUNTED, _ALL_LONG = 10, 24, 64


@triton.jit
def count_kernel(cells, count, slot, num_points, BLOCK: tl.constexpr):
    """Count the points of each cell; each point takes the number it drew. The draw is a race: `rank_kernel` undoes it."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    cell = tl.load(cells + p, mask=p < num_points, other=-1)
    drawn = tl.atomic_add(count + 1 + cell, 1, mask=cell >= 0, sem="relaxed")
    tl.store(slot + p, drawn, mask=cell >= 0)


@triton.jit
def fill_kernel(cells, rows, slot, drawn, long, num_points, BLOCK: tl.constexpr, LONG: tl.constexpr):
    """Write each point where its cell's row starts plus the number it drew; list the cells of more than LONG points."""
    p = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    cell = tl.load(cells + p, mask=p < num_points, other=-1)
    inside = cell >= 0
    number = tl.load(slot + p, mask=inside, other=0)
    tl.store(drawn + tl.load(rows + cell, mask=inside, other=0) + number, p, mask=inside)
    first = inside & (number == LONG)  # one point of each such cell
    place = tl.atomic_add(long + tl.zeros_like(p), 1, mask=first, sem="relaxed")
    tl.store(long + 1 + place, cell, mask=first)


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
def sum_points(
    depth, feature, order, start, stop, channel, C,
    D: tl.constexpr, CELLS: tl.constexpr, POINTS: tl.constexpr, CHANNELS: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """(CELLS, CHANNELS) sums over order[start:stop] of each cell, POINTS of them at a time."""
    at = start[:, None] + tl.arange(0, POINTS)[None, :]
    p = tl.load(order + at, mask=at < stop[:, None], other=0)
    total = tl.zeros((CELLS, POINTS, CHANNELS), SUM)
    for _ in range(0, tl.max(stop - start, axis=0), POINTS):
        live = at < stop[:, None]
        weight = tl.load(depth + p, mask=live, other=0.0)
        wanted = live[:, :, None] & (channel < C)[None, None, :]
        value = tl.load(feature + (p // D)[:, :, None] * C + channel[None, None, :], mask=wanted, other=0.0)
        at += POINTS
        p = tl.load(order + at, mask=at < stop[:, None], other=0)  # the next points, before the sum waits for memory
        total += weight.to(SUM)[:, :, None] * value.to(SUM)
    return tl.sum(total, axis=1)


@triton.jit
def forward_kernel(
    depth, feature, rows, order, long, out, num_cells, long_programs, C,
    D: tl.constexpr, CELLS: tl.constexpr, POINTS: tl.constexpr, LONG_POINTS: tl.constexpr, CHANNELS: tl.constexpr,
    LONG: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """The first programs take the long rows one by one, the others CELLS neighbouring cells each; empty cells store zeros.

    Without that division one program with a long row among its cells outlasts all others.
    """
    number = tl.program_id(0)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    if number < long_programs:
        for i in range(number, tl.load(long), long_programs):
            cell = tl.load(long + 1 + i) + tl.arange(0, 1)
            start, stop = tl.load(rows + cell), tl.load(rows + cell + 1)
            total = sum_points(depth, feature, order, start, stop, channel, C, D, 1, LONG_POINTS, CHANNELS, SUM)
            at = out + cell[:, None] * C + channel[None, :]
            tl.store(at, total.to(out.dtype.element_ty), mask=(channel < C)[None, :])
    else:
        cell = (number - long_programs) * CELLS + tl.arange(0, CELLS)
        start = tl.load(rows + cell, mask=cell < num_cells, other=0)
        stop = tl.load(rows + cell + 1, mask=cell < num_cells, other=0)
        short = stop - start <= LONG
        stop = tl.where(short, stop, start)
        total = sum_points(depth, feature, order, start, stop, channel, C, D, CELLS, POINTS, CHANNELS, SUM)
        here = (short & (cell < num_cells))[:, None] & (channel < C)[None, :]
        tl.store(out + cell[:, None] * C + channel[None, :], total.to(out.dtype.element_ty), mask=here)


@triton.jit
def backward_kernel(
    grad, depth, feature, cells, d_depth, d_feature, C,
    D: tl.constexpr, BINS: tl.constexpr, CHANNELS: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """One program per pixel: gather the gradient of its D cells, write both gradients. Needs no plan."""
    pixel = tl.program_id(0)
    channel = tl.arange(0, CHANNELS)
    d = tl.arange(0, BINS)
    cell = tl.load(cells + pixel * D + d, mask=d < D, other=-1)
    value = tl.load(feature + pixel * C + channel, mask=channel < C, other=0.0).to(SUM)
    total = tl.zeros((BINS, CHANNELS), SUM)
    for first in range(0, D, BINS):
        d = first + tl.arange(0, BINS)
        inside = cell >= 0
        weight = tl.load(depth + pixel * D + d, mask=inside, other=0.0).to(SUM)
        wanted = inside[:, None] & (channel < C)[None, :]
        slope = tl.load(grad + cell[:, None] * C + channel[None, :], mask=wanted, other=0.0).to(SUM)
        # The next cells, before the sum waits for memory.
        cell = tl.load(cells + pixel * D + d + BINS, mask=d + BINS < D, other=-1)
        along = tl.where(inside, tl.sum(slope * value[None, :], axis=1), 0.0)  # 0 outside, also where the value is NaN
        tl.store(d_depth + pixel * D + d, along.to(d_depth.dtype.element_ty), mask=d < D)
        total += weight[:, None] * slope
    here = tl.sum(total, axis=0).to(d_feature.dtype.element_ty)
    tl.store(d_feature + pixel * C + channel, here, mask=channel < C)


@triton.jit
def long_rows_kernel(rows, long, num_cells, BLOCK: tl.constexpr, LONG: tl.constexpr):
    """List the cells of more than LONG points: how many, then the cells in any order."""
    cell = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = cell < num_cells
    points = tl.load(rows + cell + 1, mask=live, other=0) - tl.load(rows + cell, mask=live, other=0)
    place = tl.atomic_add(long + tl.zeros_like(cell), 1, mask=points > LONG, sem="relaxed")
    tl.store(long + 1 + place, cell, mask=points > LONG)


Plan = tuple[Tensor, Tensor, Tensor]


def plan(cells: Tensor, num_cells: int, counting: bool | None = None) -> Plan:
    """Which points fall into each cell: `order[rows[i]:rows[i + 1]]` are those of cell i, ascending.

    Args:
        cells: (P,) int32 on the GPU.
        counting: count and rank, or sort; None takes the quicker. Both give the same rows and order.

    Returns:
        rows (num_cells + 1,) and order (P,), int32, order undefined from rows[-1] on; and the long rows: how many, then their
        cells in any order.
    """
    if counting is None:
        counting = cells.numel() <= _COUNTED * num_cells
    return _plan_by_counting(cells, num_cells) if counting else _plan_by_sorting(cells, num_cells)


def _plan_by_counting(cells: Tensor, num_cells: int) -> Plan:
    """The keys are few and rows are short: count, add up, and rank each point within its row."""
    points = cells.numel()
    blank = torch.zeros(num_cells + 2 + points // (LONG + 1), dtype=torch.int32, device=cells.device)
    count, long = blank[: num_cells + 1], blank[num_cells + 1 :]
    slot, drawn, order = (torch.empty_like(cells) for _ in range(3))
    if points == 0:
        return count, order, long
    grid = (triton.cdiv(points, 512),)
    count_kernel[grid](cells, count, slot, points, BLOCK=512, num_warps=4)
    rows = torch.cumsum(count, 0, dtype=torch.int32)
    fill_kernel[grid](cells, rows, slot, drawn, long, points, BLOCK=512, LONG=LONG, num_warps=4)
    rank_kernel[(triton.cdiv(points, 64),)](cells, rows, drawn, order, num_cells, BLOCK=64, SCAN=32, num_warps=2)
    return rows, order, long


def _plan_by_sorting(cells: Tensor, num_cells: int) -> Plan:
    """Ranking costs the square of a row's length: long rows are sorted instead, by PyTorch, and the row starts bisected."""
    keys, order = torch.sort(torch.where(cells < 0, num_cells, cells), stable=True)  # outside comes last
    edges = torch.arange(num_cells + 1, device=cells.device, dtype=torch.int32)
    rows = torch.searchsorted(keys, edges, out_int32=True)
    long = torch.zeros(1 + cells.numel() // (LONG + 1), dtype=torch.int32, device=cells.device)
    long_rows_kernel[(triton.cdiv(num_cells, 512),)](rows, long, num_cells, BLOCK=512, LONG=LONG, num_warps=4)
    return rows, order.to(torch.int32), long


def forward_shape(points: int, num_cells: int, channels: int) -> dict[str, int]:
    """Tile of the forward kernel; it depends on sizes only, never on timings, so that the order of summation is fixed."""
    block = min(triton.next_power_of_2(max(channels, 1)), 128)
    tile = max(512 // block, 4)
    cells, short, longer, limit = 4, tile // 4, tile, LONG
    if points > _ALL_LONG * num_cells:
        cells, short, longer, limit = 1, 32, 32, _INT32_LIMIT - 1
    elif points > _MANY * num_cells and block <= 64:
        cells, short, longer = 8, 256 // block, 2048 // block
    return {"CELLS": cells, "POINTS": short, "LONG_POINTS": longer, "CHANNELS": block, "LONG": limit, "num_warps": 1}


def backward_shape(channels: int) -> dict[str, int]:
    """Tile of the backward kernel."""
    wide = triton.next_power_of_2(max(channels, 1))
    return {"BINS": min(max(512 // wide, 1), 16), "CHANNELS": wide, "num_warps": 1}


def splat_forward(
    depth: Tensor, feature: Tensor, planned: Plan, num_cells: int, shape: dict[str, int] | None = None
) -> Tensor:
    """Depth (pixels, D), feature (pixels, C) -> (num_cells, C), summed in float32 (float64 for float64)."""
    channels, bins = feature.shape[1], depth.shape[1]
    _check_sizes(depth, feature, num_cells)
    out = feature.new_empty((num_cells, channels))
    if out.numel() == 0:
        return out
    shape = shape or forward_shape(depth.numel(), num_cells, channels)
    rows, order, long = planned
    long_programs = min(len(long) - 1, depth.numel() // 128 + 1, num_cells) if shape["LONG"] == LONG else 0
    grid = (long_programs + triton.cdiv(num_cells, shape["CELLS"]), triton.cdiv(channels, shape["CHANNELS"]))
    forward_kernel[grid](
        depth, feature, rows, order, long, out, num_cells, long_programs, channels, D=bins, SUM=_sum(feature), **shape
    )  # fmt: skip
    return out


def splat_backward(
    grad: Tensor, depth: Tensor, feature: Tensor, cells: Tensor, shape: dict[str, int] | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients of `depth` and `feature` for `grad` (num_cells, C)."""
    (pixels, bins), channels = depth.shape, feature.shape[1]
    if depth.numel() == 0 or channels == 0:
        return torch.zeros_like(depth), torch.zeros_like(feature)
    d_depth, d_feature = torch.empty_like(depth), torch.empty_like(feature)
    shape = shape or backward_shape(channels)
    kernel = backward_kernel[(pixels,)]
    kernel(grad, depth, feature, cells, d_depth, d_feature, channels, D=bins, SUM=_sum(feature), **shape)
    return d_depth, d_feature


def _sum(feature: Tensor) -> tl.dtype:
    return tl.float64 if feature.dtype == torch.float64 else tl.float32


def _check_sizes(depth: Tensor, feature: Tensor, num_cells: int) -> None:
    largest = max(depth.numel(), feature.numel(), num_cells * feature.shape[1])
    if largest >= _INT32_LIMIT:
        raise ValueError(f"splat of {largest} elements: the kernels count in 32 bits; use a smaller batch")
