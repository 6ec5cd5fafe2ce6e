"""Shifted-window attention on an unpadded map: what Swin computes between its two linear layers.

Letters: B images, H W tokens, h heads, d channels per head, C = h·d, w window, T = w·w tokens of a window, S windows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lss_swin.ops import backend
from lss_swin.ops.library import differentiable

MASKED = -100.0  # what Swin adds where two tokens were not neighbours before the shift


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
    if not backend.uses_triton(qkv) or not _fits(qkv, bias, window):
        return window_attention_reference(qkv, bias, window, shift)
    return _attend(qkv, bias, window, shift)


def _fits(qkv: Tensor, bias: Tensor, window: int) -> bool:
    """The kernel's tile holds 64 tokens, its matrix products want 16, 32 or 64 channels per head, and Ampere or newer."""
    if torch.cuda.get_device_capability(qkv.device)[0] < 8:
        return False
    return window <= 8 and qkv.shape[-1] // (3 * bias.shape[0]) in (16, 32, 64) and qkv.dtype != torch.float64


def shifts(height: int, width: int, window: int, shift: int) -> tuple[int, int]:
    """The shift along each side: none where one window covers the side."""
    return (shift if height > window else 0), (shift if width > window else 0)


def window_attention_reference(qkv: Tensor, bias: Tensor, window: int, shift: int) -> Tensor:
    """The same in plain PyTorch; differentiable."""
    B, H, W, width = qkv.shape
    heads = bias.shape[0]
    shift_y, shift_x = shifts(H, W, window, shift)
    down, right = -H % window, -W % window
    x = F.pad(qkv, (0, 0, 0, right, 0, down))  # (B, H', W', 3C)
    x = torch.roll(x, (-shift_y, -shift_x), (1, 2))
    rows, columns = x.shape[1] // window, x.shape[2] // window
    x = x.reshape(B, rows, window, columns, window, 3, heads, -1)  # (B, rows, w, columns, w, 3, h, d)
    x = x.permute(5, 0, 1, 3, 6, 2, 4, 7)  # (3, B, rows, columns, h, w, w, d)
    x = x.reshape(3, B, rows * columns, heads, window * window, -1)  # (3, B, S, h, T, d)
    mask = bias + _mask(rows * window, columns * window, window, shift_y, shift_x, qkv.device)  # (S or 1, h, T, T)
    x = F.scaled_dot_product_attention(x[0], x[1], x[2], attn_mask=mask.to(qkv.dtype))  # (B, S, h, T, d)
    x = x.reshape(B, rows, columns, heads, window, window, -1)  # (B, rows, columns, h, w, w, d)
    x = x.permute(0, 1, 4, 2, 5, 3, 6)  # (B, rows, w, columns, w, h, d)
    x = x.reshape(B, rows * window, columns * window, width // 3)  # (B, H', W', C)
    return torch.roll(x, (shift_y, shift_x), (1, 2))[:, :H, :W].contiguous()  # (B, H, W, C)


def _mask(height: int, width: int, window: int, shift_y: int, shift_x: int, device: torch.device) -> Tensor:
    """(S, 1, T, T): MASKED between tokens of different regions, else 0; (1, 1, 1, 1) of 0 without a shift."""
    if not shift_y and not shift_x:
        return torch.zeros(1, 1, 1, 1, device=device)
    region = 3 * _region(height, window, shift_y, device)[:, None] + _region(width, window, shift_x, device)
    parts = region.reshape(height // window, window, width // window, window)  # (rows, w, columns, w)
    parts = parts.transpose(1, 2).reshape(-1, window * window)  # (S, T)
    return torch.where(parts[:, None, :, None] == parts[:, None, None, :], 0.0, MASKED)


def _region(length: int, window: int, shift: int, device: torch.device) -> Tensor:
    """0 before the last window, 1 in it, 2 what the roll brought there from the other edge."""
    at = torch.arange(length, device=device)
    return (at >= length - window).long() * (shift > 0) + (at >= length - shift).long()


def _forward(qkv: Tensor, bias: Tensor, window: int, shift: int) -> Tensor:
    from lss_swin.ops import window_triton

    return window_triton.attend(qkv, bias, window, shift)


def _backward(grad: Tensor, qkv: Tensor, bias: Tensor, window: int, shift: int) -> tuple[Tensor, Tensor]:
    from lss_swin.ops import window_triton

    return window_triton.attend_backward(grad, qkv, bias, window, shift)


_attend, _ = differentiable(
    "window_attention",
    "Tensor qkv, Tensor bias, int window, int shift",
    _forward,
    _backward,
    fake=lambda qkv, bias, window, shift: qkv.new_empty((*qkv.shape[:3], qkv.shape[3] // 3)),
)
