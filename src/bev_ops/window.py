"""Shifted-window attention on an unpadded map: what Swin computes between its two linear layers.

Letters: B images, H W tokens, h heads, d channels per head, C = h·d, w window, T = w·w tokens of a window, S windows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bev_ops.dispatch import uses_triton
from bev_ops.library import differentiable
from bev_ops.window_reference import window_attention_reference


def window_attention(qkv: Tensor, bias: Tensor, window: int, shift: int) -> Tensor:
    """Attention within windows that are shifted by `shift` tokens.

    Args:
        qkv: (B, H, W, 3·C), queries, keys and values; the map may have any size, windows beyond its edge see zeros.
        bias: (h, T, T), added to the scores; its first dimension is the number of heads.
        window: side of a window in tokens.
        shift: 0, or less than `window`; a side of the map that fits into one window is not shifted.

    Returns:
        (B, H, W, C), same dtype as `qkv`.
    """
    if not uses_triton(qkv) or not _fits(qkv, bias, window):
        return window_attention_reference(qkv, bias, window, shift)
    return _attend(qkv, bias, window, shift)


def _fits(qkv: Tensor, bias: Tensor, window: int) -> bool:
    """The kernel's tile holds 64 tokens, its matrix products want 16, 32 or 64 channels per head, and Ampere or newer."""
    if torch.cuda.get_device_capability(qkv.device)[0] < 8:
        return False
    return window <= 8 and qkv.shape[-1] // (3 * bias.shape[0]) in (16, 32, 64) and qkv.dtype != torch.float64


def _forward(qkv: Tensor, bias: Tensor, window: int, shift: int) -> Tensor:
    from bev_ops import window_triton

    return window_triton.attend(qkv, bias, window, shift)


def _backward(grad: Tensor, qkv: Tensor, bias: Tensor, window: int, shift: int) -> tuple[Tensor, Tensor]:
    from bev_ops import window_triton

    return window_triton.attend_backward(grad, qkv, bias, window, shift)


_attend, _ = differentiable(
    "window_attention",
    "Tensor qkv, Tensor bias, int window, int shift",
    _forward,
    _backward,
    fake=lambda qkv, bias, window, shift: qkv.new_empty((*qkv.shape[:3], qkv.shape[3] // 3)),
)
