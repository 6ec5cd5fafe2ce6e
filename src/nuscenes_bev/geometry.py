"""Frames and matrices, in float64 with numpy. Frames read across: ego_T_cam takes camera points to the ego frame.

Pixels are continuous: pixel k of a row covers [k, k + 1), its centre is k + 0.5.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def rotation(quaternion: Array) -> Array:
    """(..., 4) unit quaternion w, x, y, z -> (..., 3, 3)."""
    q = np.asarray(quaternion, np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def pose(translation: Array, quaternion: Array) -> Array:
    """The 4x4 matrix of a nuScenes pose: from the sensor to the ego frame, or from the ego frame to the world."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(quaternion)
    matrix[:3, 3] = translation
    return matrix


def homogeneous(matrix: Array) -> Array:
    """A 2x2, 2x3 or 3x3 matrix in the corner of a 4x4 identity; the third column of a 2x3 is its offset in pixels."""
    rows, columns = np.shape(matrix)
    full = np.eye(4)
    full[:rows, :columns] = matrix
    return full


def yaw_quaternion(yaw: float) -> list[float]:
    """A turn about z, radians, as w, x, y, z."""
    return [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]


def box_corners(centre: Array, size: Array, turn: Array) -> Array:
    """(..., 8, 3) corners of boxes: the four of the bottom, then the four of the top, each once around.

    Args:
        centre: (..., 3).
        size: (..., 3) width, length, height, as nuScenes has them; length lies along x of the box.
        turn: (..., 3, 3).
    """
    around = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) / 2
    unit = np.concatenate([np.c_[around, np.full(4, -0.5)], np.c_[around, np.full(4, 0.5)]])
    corners = unit * np.asarray(size)[..., None, [1, 0, 2]]
    return corners @ np.swapaxes(turn, -1, -2) + np.asarray(centre)[..., None, :]


def image_affine(
    source: tuple[int, int], target: tuple[int, int], zoom: float = 1.0, flip: bool = False, degrees: float = 0.0
) -> Array:
    """(3, 3) from pixels of a source image to pixels of the target: fill the width, keep the bottom, zoom, flip, rotate.

    Args:
        source: rows, columns.
        target: rows, columns.
    """
    scale = max(target[1] / source[1], target[0] / source[0]) * zoom
    rows, columns = source[0] * scale, source[1] * scale
    place = np.array([[scale, 0, (target[1] - columns) / 2], [0, scale, target[0] - rows], [0, 0, 1.0]])
    if flip:
        place = np.array([[-1, 0, target[1]], [0, 1, 0], [0, 0, 1.0]]) @ place
    return _about(target[1] / 2, target[0] / 2, np.radians(degrees)) @ place


def _about(x: float, y: float, angle: float) -> Array:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y], [0, 0, 1.0]])


def bev_affine(flip_x: bool = False, flip_y: bool = False, degrees: float = 0.0, scale: float = 1.0) -> Array:
    """(4, 4) augmentation of the ego frame: the same for points and for labels."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(yaw_quaternion(np.radians(degrees))) * scale
    return np.diag([-1.0 if flip_x else 1.0, -1.0 if flip_y else 1.0, 1.0, 1.0]) @ matrix


def pixel_to_ego(ego_T_cam: Array, intrinsics: Array, affine: Array) -> Array:
    """(4, 4) that takes (u·d, v·d, d, 1) to the ego frame: u, v in pixels of the network's input, d the depth in metres."""
    image = homogeneous(np.asarray(affine) @ np.asarray(intrinsics))
    return np.asarray(ego_T_cam) @ np.linalg.inv(image)


def project(points: Array, ego_T_cam: Array, intrinsics: Array) -> tuple[Array, Array]:
    """Pixels (..., 2) and depths (...) of points of the ego frame; pixels mean nothing where the depth is not positive."""
    in_camera = (points - ego_T_cam[:3, 3]) @ ego_T_cam[:3, :3]
    ahead = np.where(in_camera[..., 2:] > 1e-6, in_camera[..., 2:], 1.0)
    return (in_camera / ahead) @ np.asarray(intrinsics).T[:, :2], in_camera[..., 2]
