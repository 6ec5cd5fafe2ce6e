"""Window attention: the plain twin against Swin's own recipe, the kernels against the twin in float64."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from bev_ops import window_triton
from bev_ops.window import window_attention
from bev_ops.window_reference import window_attention_reference

pytestmark = pytest.mark.torch

# B, H, W, heads, channels per head, window, shift
CASES = [
    (2, 9, 5, 2, 16, 3, 1),  # padded on both sides
    (1, 7, 7, 1, 32, 7, 3),  # one window: not shifted
    (1, 16, 12, 3, 32, 7, 3),
    (1, 8, 22, 2, 32, 7, 3),
    (1, 8, 22, 2, 32, 7, 0),
    (1, 8, 24, 2, 16, 8, 4),  # a full tile, shifted along one side only
    (1, 1, 1, 1, 64, 7, 3),
]
TOLERANCE = {torch.float32: 2e-6, torch.float16: 3e-3}  # worst seen 1.1e-6 and 1e-3, interpreter, 2026-11-25


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_against_float64(case: tuple[int, ...], dtype: torch.dtype) -> None:
    B, H, W, heads, dim, window, shift = case
    random = torch.Generator().manual_seed(0)
    qkv = torch.randn(B, H, W, 3 * heads * dim, generator=random).to(dtype)
    bias = torch.randn(heads, window**2, window**2, generator=random).to(dtype)
    grad = torch.randn(B, H, W, heads * dim, generator=random).to(dtype)
    leaves = qkv.double().requires_grad_(), bias.double().requires_grad_()
    out = window_attention_reference(*leaves, window, shift)
    expected = (out.detach(), *torch.autograd.grad(out, leaves, grad.double()))

    found = (
        window_triton.attend(qkv, bias, window, shift),
        *window_triton.attend_backward(grad, qkv, bias, window, shift),
    )

    for one, other in zip(found, expected, strict=True):
        scale = max(other.abs().max().item(), 1.0)
        torch.testing.assert_close(one.double(), other, rtol=0, atol=TOLERANCE[dtype] * scale)


def by_hand(qkv: torch.Tensor, bias: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    """Token by token: who is in my window of the rolled map, and was my neighbour before the roll?"""
    _, H, W, width = qkv.shape
    heads = len(bias)
    down, right = H + -H % window, W + -W % window
    shift_y, shift_x = (shift if window < H else 0), (shift if window < W else 0)
    full = torch.zeros(down, right, 3, heads, width // (3 * heads), dtype=qkv.dtype)
    full[:H, :W] = qkv[0].reshape(H, W, 3, heads, -1)
    out = torch.zeros(H, W, heads, width // (3 * heads), dtype=qkv.dtype)
    for y in range(H):
        for x in range(W):
            ry, rx = (y - shift_y) % down, (x - shift_x) % right  # place in the rolled map
            top, left = ry - ry % window, rx - rx % window
            scores, values = [], []
            for dy in range(window):
                for dx in range(window):
                    oy, ox = (top + dy + shift_y) % down, (left + dx + shift_x) % right
                    far = wrapped(ry, down, shift_y) != wrapped(top + dy, down, shift_y)
                    far |= wrapped(rx, right, shift_x) != wrapped(left + dx, right, shift_x)
                    score = (full[y, x, 0] * full[oy, ox, 1]).sum(-1) * full.shape[-1] ** -0.5
                    score += bias[:, (ry - top) * window + rx - left, dy * window + dx]
                    scores.append(score - 100.0 * far)
                    values.append(full[oy, ox, 2])
            share = torch.stack(scores).softmax(0)
            out[y, x] = (share[:, :, None] * torch.stack(values)).sum(0)
    return out.reshape(1, H, W, -1)


def wrapped(at: int, length: int, shift: int) -> bool:
    """Whether a place of the rolled map was brought there from the other edge."""
    return shift > 0 and at >= length - shift


@pytest.mark.parametrize("case", [c for c in CASES if c[0] == 1], ids=str)
def test_the_twin_is_what_swin_describes(case: tuple[int, ...]) -> None:
    _, H, W, heads, dim, window, shift = case
    random = torch.Generator().manual_seed(1)
    qkv = torch.randn(1, H, W, 3 * heads * dim, generator=random, dtype=torch.float64)
    bias = torch.randn(heads, window**2, window**2, generator=random, dtype=torch.float64)

    torch.testing.assert_close(
        window_attention(qkv, bias, window, shift), by_hand(qkv, bias, window, shift), rtol=0, atol=1e-12
    )
