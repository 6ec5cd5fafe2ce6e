"""Shifted-window attention in plain PyTorch, shapes on every line. Letters as in `window.py`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MASKED = -100.0  # what Swin adds where two tokens were not neighbours before the shift


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
