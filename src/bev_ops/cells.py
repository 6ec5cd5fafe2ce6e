"""Where the points of a camera's frustum lie on the map: what the splat wants to know.

Letters: B batch, N cameras, H W feature map, D depth bins, X Y grid cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def find_cells(
    pixel_to_ego: Tensor, bins: Tensor, map_size: tuple[int, int], stride: int, grid: Mapping[str, Sequence[float]]
) -> Tensor:
    """Cell of each frustum point, (B, N, H, W, D) int32 over the whole batch; -1 outside the grid or not a number.

    A patch of the feature map looks through its centre; points are put into the cell below them, never towards zero.

    Args:
        pixel_to_ego: (B, N, 4, 4); takes (u·d, v·d, d, 1), of a pixel of the image at depth d, to the frame of the map.
        bins: (D,) depths in metres.
        map_size: H, W of the feature map.
        stride: pixels per patch.
        grid: x and y as (from, to, cell), whole numbers of cells, and z as (from, to), in metres.
    """
    H, W = map_size
    v = (torch.arange(H, device=bins.device) + 0.5)[:, None, None] * stride * bins  # (H, 1, D)
    u = (torch.arange(W, device=bins.device) + 0.5)[None, :, None] * stride * bins  # (1, W, D)
    m = pixel_to_ego[:, :, :3, None, None, None]  # (B, N, 3, 1, 1, 1, 4)
    ego = m[..., 0] * u + m[..., 1] * v + m[..., 2] * bins + m[..., 3]  # (B, N, 3, H, W, D)
    (x0, x1, dx), (y0, y1, dy), (z0, z1) = grid["x"], grid["y"], grid["z"]
    x, y, z = ego[:, :, 0], ego[:, :, 1], ego[:, :, 2]
    inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1) & (z >= z0) & (z < z1)
    X, Y = round((x1 - x0) / dx), round((y1 - y0) / dy)
    row = torch.floor((x - x0) / dx).clamp(0, X - 1)
    column = torch.floor((y - y0) / dy).clamp(0, Y - 1)
    sample = torch.arange(len(m), device=bins.device, dtype=torch.int32).reshape(-1, 1, 1, 1, 1) * (X * Y)
    return torch.where(inside, sample + (row * Y + column).nan_to_num().int(), -1)
