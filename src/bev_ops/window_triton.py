"""Shifted-window attention on the GPU: no padding, rolling, partitioning or mask is ever written to memory.

Letters as in `window.py`. One tile holds one window of one head: 64 x 64 scores, of which the first T x T count.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from bev_ops.window_reference import MASKED, shifts

_TILE = tl.constexpr(64)
_MASKED = tl.constexpr(MASKED)
_PROGRAMS_PER_HEAD_LIMIT = 1056  # over all heads: eight per multiprocessor of the largest GPUs of 2026


@triton.jit
def tokens_of(number, H, W, rows, columns, shift_y, shift_x, WINDOW: tl.constexpr):
    """The tokens of one window: place in the map, whether it is on the map, and region (as in `window_reference._region`)."""
    t = tl.arange(0, _TILE)
    image = number // (rows * columns)
    y = (number // columns) % rows * WINDOW + t // WINDOW
    x = number % columns * WINDOW + t % WINDOW
    height, width = rows * WINDOW, columns * WINDOW
    region_y = tl.where(shift_y > 0, (y >= height - WINDOW).to(tl.int32) + (y >= height - shift_y).to(tl.int32), 0)
    region_x = tl.where(shift_x > 0, (x >= width - WINDOW).to(tl.int32) + (x >= width - shift_x).to(tl.int32), 0)
    y = (y + shift_y) % height
    x = (x + shift_x) % width
    on_map = (t < WINDOW * WINDOW) & (y < H) & (x < W)
    return (image * H + y) * W + x, on_map, 3 * region_y + region_x


@triton.jit
def load_tile(base, token, on_map, stride, DIM: tl.constexpr):
    """(64, DIM) of a tensor with `stride` elements per token; zeros beyond the map."""
    at = base + token.to(tl.int64)[:, None] * stride + tl.arange(0, DIM)[None, :]
    return tl.load(at, mask=on_map[:, None], other=0.0)


@triton.jit
def probabilities(q, k, bias, region, head, scale, WINDOW: tl.constexpr, EXACT: tl.constexpr):
    """Softmax of scaled scores plus bias plus mask, float32; columns beyond the window are 0."""
    t = tl.arange(0, _TILE)
    T: tl.constexpr = WINDOW * WINDOW
    real = (t < T)[:, None] & (t < T)[None, :]
    scores = tl.dot(q, tl.trans(k), input_precision=EXACT) * scale
    scores += tl.load(bias + head * T * T + t[:, None] * T + t[None, :], mask=real, other=0.0).to(tl.float32)
    scores = tl.where(region[:, None] == region[None, :], scores, scores + _MASKED)
    scores = tl.where((t < T)[None, :], scores, float("-inf"))
    scores = tl.exp(scores - tl.max(scores, axis=1)[:, None])
    return scores / tl.sum(scores, axis=1)[:, None]


@triton.jit
def forward_kernel(
    qkv, bias, out, H, W, rows, columns, shift_y, shift_x, scale,
    HEADS: tl.constexpr, DIM: tl.constexpr, WINDOW: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """One program per window and head."""
    head = tl.program_id(1)
    width = HEADS * DIM
    token, on_map, region = tokens_of(tl.program_id(0), H, W, rows, columns, shift_y, shift_x, WINDOW)
    q = load_tile(qkv + head * DIM, token, on_map, 3 * width, DIM)
    k = load_tile(qkv + head * DIM + width, token, on_map, 3 * width, DIM)
    v = load_tile(qkv + head * DIM + 2 * width, token, on_map, 3 * width, DIM)
    p = probabilities(q, k, bias, region, head, scale, WINDOW, EXACT)
    result = tl.dot(p.to(v.dtype), v, input_precision=EXACT)
    at = out + head * DIM + token.to(tl.int64)[:, None] * width + tl.arange(0, DIM)[None, :]
    tl.store(at, result.to(out.dtype.element_ty), mask=on_map[:, None])


@triton.jit
def backward_kernel(
    grad, qkv, bias, d_qkv, d_bias, windows, H, W, rows, columns, shift_y, shift_x, scale,
    HEADS: tl.constexpr, DIM: tl.constexpr, WINDOW: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Each program takes every n-th window of one head, so that it can sum its share of the bias gradient in registers."""
    head = tl.program_id(1)
    width = HEADS * DIM
    d_scores_sum = tl.zeros((_TILE, _TILE), tl.float32)
    for number in range(tl.program_id(0), windows, tl.num_programs(0)):
        token, on_map, region = tokens_of(number, H, W, rows, columns, shift_y, shift_x, WINDOW)
        q = load_tile(qkv + head * DIM, token, on_map, 3 * width, DIM)
        k = load_tile(qkv + head * DIM + width, token, on_map, 3 * width, DIM)
        v = load_tile(qkv + head * DIM + 2 * width, token, on_map, 3 * width, DIM)
        d_out = load_tile(grad + head * DIM, token, on_map, width, DIM)
        p = probabilities(q, k, bias, region, head, scale, WINDOW, EXACT)
        d_v = tl.dot(tl.trans(p).to(v.dtype), d_out, input_precision=EXACT)
        d_p = tl.dot(d_out, tl.trans(v), input_precision=EXACT)
        d_scores = p * (d_p - tl.sum(p * d_p, axis=1)[:, None])
        d_scores_sum += d_scores
        d_scores = (d_scores * scale).to(q.dtype)
        d_q = tl.dot(d_scores, k, input_precision=EXACT)
        d_k = tl.dot(tl.trans(d_scores), q, input_precision=EXACT)
        at = d_qkv + head * DIM + token.to(tl.int64)[:, None] * 3 * width + tl.arange(0, DIM)[None, :]
        tl.store(at, d_q.to(d_qkv.dtype.element_ty), mask=on_map[:, None])
        tl.store(at + width, d_k.to(d_qkv.dtype.element_ty), mask=on_map[:, None])
        tl.store(at + 2 * width, d_v.to(d_qkv.dtype.element_ty), mask=on_map[:, None])
    t = tl.arange(0, _TILE)
    part = d_bias + (tl.program_id(0) * HEADS + head) * _TILE * _TILE
    tl.store(part + t[:, None] * _TILE + t[None, :], d_scores_sum)


def attend(qkv: Tensor, bias: Tensor, window: int, shift: int, num_warps: int = 4) -> Tensor:
    """See `window.window_attention`; contiguous tensors on the GPU."""
    B, _, _, width = qkv.shape
    out = qkv.new_empty((*qkv.shape[:3], width // 3))
    if out.numel() == 0:
        return out
    sizes, static = _sizes(qkv, bias, window, shift)
    grid = (B * sizes[2] * sizes[3], bias.shape[0])
    forward_kernel[grid](qkv, bias, out, *sizes, **static, num_warps=num_warps)
    return out


def attend_backward(
    grad: Tensor, qkv: Tensor, bias: Tensor, window: int, shift: int, num_warps: int = 4
) -> tuple[Tensor, Tensor]:
    """Gradients of `qkv` and `bias`."""
    heads, tokens = bias.shape[0], bias.shape[1]
    d_qkv = torch.empty_like(qkv)
    if qkv.numel() == 0:
        return d_qkv, torch.zeros_like(bias)
    sizes, static = _sizes(qkv, bias, window, shift)
    windows = qkv.shape[0] * sizes[2] * sizes[3]
    programs = min(windows, max(1, _PROGRAMS_PER_HEAD_LIMIT // heads))
    parts = qkv.new_empty((programs, heads, 64, 64), dtype=torch.float32)
    backward_kernel[(programs, heads)](
        grad, qkv, bias, d_qkv, parts, windows, *sizes, **static, num_warps=num_warps, num_stages=2
    )
    return d_qkv, parts.sum(0)[:, :tokens, :tokens].to(bias.dtype).contiguous()


def _sizes(qkv: Tensor, bias: Tensor, window: int, shift: int) -> tuple[tuple[float, ...], dict[str, object]]:
    _, H, W, width = qkv.shape
    heads = bias.shape[0]
    dim = width // (3 * heads)
    sizes = (H, W, -(-H // window), -(-W // window), *shifts(H, W, window, shift), dim**-0.5)
    exact = "ieee" if qkv.dtype == torch.float32 else "tf32"
    return sizes, {"HEADS": heads, "DIM": dim, "WINDOW": window, "EXACT": exact}
