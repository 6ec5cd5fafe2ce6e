"""The cells of frustum points: what geometry demands."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import numpy as np

from bev_ops.cells import find_cells
from nuscenes_bev import geometry

pytestmark = pytest.mark.torch

GRID = {"x": (-50.0, 50.0, 0.5), "y": (-50.0, 50.0, 0.5), "z": (-10.0, 10.0)}


def cell_of(x: float, y: float, z: float) -> int:
    """The cell of a single point at depth 1 in the middle of the first patch."""
    matrix = torch.zeros(1, 1, 4, 4)
    matrix[0, 0, :3, 3] = torch.tensor([x, y, z])
    return int(find_cells(matrix, torch.ones(1), (1, 1), 16, GRID))


@pytest.mark.parametrize(
    ("point", "cell"),
    [
        ((-50.0, -50.0, 0.0), 0),
        ((-49.51, -50.0, 0.0), 0),
        ((-49.5, -50.0, 0.0), 200),
        ((49.99, 49.99, 0.0), 39_999),
        ((-50.2, 0.0, 0.0), -1),  # truncation would put it into row 0
        ((50.0, 0.0, 0.0), -1),
        ((0.0, 0.0, 10.0), -1),
        ((float("nan"), 0.0, 0.0), -1),
        ((float("inf"), 0.0, 0.0), -1),
    ],
)
def test_points_fall_into_the_cell_below_them(point: tuple[float, float, float], cell: int) -> None:
    assert cell_of(*point) == cell


def test_a_patch_looks_through_its_centre() -> None:
    """The point of patch (i, j) at depth d projects back to ((j + 0.5) * 16, (i + 0.5) * 16)."""
    ego_T_cam = geometry.pose([1.7, 0.0, 1.5], [0.5, -0.5, 0.5, -0.5])
    intrinsics = np.array([[100.0, 0, 88], [0, 100.0, 32], [0, 0, 1]])
    matrix = geometry.pixel_to_ego(ego_T_cam, intrinsics, np.eye(3))
    depth, u, v = 7.0, 2.5 * 16, 1.5 * 16
    point = matrix @ [u * depth, v * depth, depth, 1.0]
    x, y = np.floor((point[:2] + 50) / 0.5).astype(int)
    cells = find_cells(torch.tensor(matrix)[None, None].float(), torch.tensor([depth]), (4, 11), 16, GRID)

    assert int(cells[0, 0, 1, 2, 0]) == x * 200 + y
    pixel, seen = geometry.project(point[:3], ego_T_cam, intrinsics)
    np.testing.assert_allclose([*pixel, seen], [u, v, depth], atol=1e-9)
