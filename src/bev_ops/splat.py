"""Splat: sum camera features into bird's-eye-view cells. One operator, two backends, one reference.

Letters: B batch, N cameras, H W feature map, D depth bins, C channels; a pixel is one of B·N·H·W.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bev_ops.dispatch import uses_triton
from bev_ops.library import differentiable


def splat_reference(depth_PD: Tensor, feature_PC: Tensor, cells_PD: Tensor, num_cells: int) -> Tensor:
    """The splat as the formula has it: out[cell] = sum of depth x feature. Builds the whole frustum volume.

    Args:
        depth_PD: weight of each depth bin of each pixel.
        feature_PC: features of each pixel.
        cells_PD: int32, the cell of each point; -1 is outside the grid and dropped.

    Returns:
        (num_cells, C), in the wider of the two types; differentiable.
    """
    volume_PDC = depth_PD[:, :, None] * feature_PC[:, None, :]  # (P, D, 1) x (P, 1, C) -> (P, D, C)
    inside_PD = cells_PD >= 0  # (P, D)
    kept_KC = volume_PDC[inside_PD]  # (K, C), K points inside
    out = kept_KC.new_zeros((num_cells, feature_PC.shape[1]))  # (num_cells, C)
    return out.index_add(0, cells_PD[inside_PD].long(), kept_KC)  # (num_cells, C)


def splat(depth: Tensor, feature: Tensor, cells: Tensor, num_cells: int) -> Tensor:
    """Sum camera features into cells.

    Args:
        depth: (..., D), any floating type.
        feature: (..., C), same leading shape; float16, bfloat16, float32 (summed in float32) or float64.
        cells: (..., D) int32 cell of each point over the whole batch; -1 is outside and dropped.
        num_cells: of the whole batch.

    Returns:
        (num_cells, C), same dtype as `feature`.
    """
    pixels = math.prod(depth.shape[:-1])
    depth_PD, cells_PD = depth.reshape(pixels, depth.shape[-1]), cells.reshape(pixels, depth.shape[-1])
    return _splat(depth_PD, feature.reshape(pixels, feature.shape[-1]), cells_PD, num_cells)


def _forward(depth_PD: Tensor, feature_PC: Tensor, cells_PD: Tensor, num_cells: int) -> Tensor:
    if not uses_triton(feature_PC):
        return _forward_by_bins(depth_PD, feature_PC, cells_PD, num_cells)
    from bev_ops import splat_triton

    return splat_triton.splat_forward(
        depth_PD, feature_PC, splat_triton.plan(cells_PD.reshape(-1), num_cells), num_cells
    )


def _backward(
    grad: Tensor, depth_PD: Tensor, feature_PC: Tensor, cells_PD: Tensor, num_cells: int
) -> tuple[Tensor, Tensor]:
    if not uses_triton(feature_PC):
        return _backward_by_bins(grad, depth_PD, feature_PC, cells_PD)
    from bev_ops import splat_triton

    return splat_triton.splat_backward(grad, depth_PD, feature_PC, cells_PD)


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _forward_by_bins(depth_PD: Tensor, feature_PC: Tensor, cells_PD: Tensor, num_cells: int) -> Tensor:
    """One depth bin at a time, so that the volume is never built; one cell more takes what is outside."""
    wide_PC = _wide(feature_PC)
    out = wide_PC.new_zeros((num_cells + 1, feature_PC.shape[1]))
    target_DP = torch.where(cells_PD < 0, num_cells, cells_PD).t().contiguous()
    for weight_P, target_P in zip(depth_PD.to(wide_PC.dtype).t(), target_DP):
        out.index_add_(0, target_P, weight_P[:, None] * wide_PC)
    return out[:num_cells].to(feature_PC.dtype)


def _backward_by_bins(grad: Tensor, depth_PD: Tensor, feature_PC: Tensor, cells_PD: Tensor) -> tuple[Tensor, Tensor]:
    wide_PC = _wide(feature_PC)
    slopes = torch.cat([grad, grad.new_zeros((1, grad.shape[1]))]).to(wide_PC.dtype)  # a row of zeros for outside
    outside_PD = cells_PD < 0
    target_DP = torch.where(outside_PD, grad.shape[0], cells_PD).t().contiguous()
    weight_DP = depth_PD.to(wide_PC.dtype).masked_fill(outside_PD, 0.0).t()  # outside counts for nothing, NaN too
    d_depth_DP = torch.empty(target_DP.shape, dtype=wide_PC.dtype, device=grad.device)
    d_feature_PC = torch.zeros_like(wide_PC)
    for d, (weight_P, target_P) in enumerate(zip(weight_DP, target_DP)):
        slope_PC = slopes.index_select(0, target_P)
        d_depth_DP[d] = (slope_PC * wide_PC).sum(-1)
        d_feature_PC.addcmul_(slope_PC, weight_P[:, None])
    d_depth_PD = d_depth_DP.t().masked_fill(outside_PD, 0.0).to(depth_PD.dtype).contiguous()
    return d_depth_PD, d_feature_PC.to(feature_PC.dtype)


_splat, _splat_backward = differentiable(
    "splat",
    "Tensor depth, Tensor feature, Tensor cells, SymInt num_cells",
    _forward,
    _backward,
    fake=lambda depth, feature, cells, num_cells: feature.new_empty((num_cells, feature.shape[1])),
)
