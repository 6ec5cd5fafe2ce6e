"""Upsampling as matrix products, against PyTorch's own."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from bev_ops.upsample import Upsample

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(("size", "scale"), [((8, 22), 2), ((13, 7), 4), ((1, 1), 2)])
def test_upsampling_is_pytorch_s(size: tuple[int, int], scale: int) -> None:
    x = torch.randn(2, 3, *size)
    expected = torch.nn.functional.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)

    torch.testing.assert_close(Upsample(*size, scale)(x), expected, rtol=1e-5, atol=1e-5)
