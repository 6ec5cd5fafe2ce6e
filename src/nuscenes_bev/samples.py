"""A keyframe as a network wants it: decoded images, the matrices that lead from their pixels to the ground, and labels.

The images are left as they are: `source_from_input` says where each pixel of the network's input lies in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from nuscenes_bev import geometry
from nuscenes_bev.errors import UsageError
from nuscenes_bev.frames import CAMERAS, Frames

Array = Any
Axes = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Of the map along x and y: from, to, cell, in metres."""
Changes = tuple[list[dict[str, Any]], dict[str, Any]]
"""Arguments of `geometry.image_affine` for each camera, and of `geometry.bev_affine`."""
UNCHANGED: Changes = ([{}] * len(CAMERAS), {})


def make_sample(frames: Frames, number: int, size: tuple[int, int], grid: Axes, changes: Changes) -> dict[str, Array]:
    """The arrays of a frame.

    Args:
        size: rows, columns of the network's input.

    Returns:
        images (6, h, w, 3) uint8, as decoded; source_from_input (6, 3, 3) and pixel_to_ego (6, 4, 4), float32, both of pixels
        of the network's input; label and valid (1, X, Y), see `labels`; frame, its number.
    """
    images = [load_image(str(frames.root / name), size[1]) for name in frames.files[number]]
    per_camera, of_map = changes
    bev = geometry.bev_affine(**of_map)
    sources, matrices = [], []
    for camera, (image, original) in enumerate(images):
        affine = geometry.image_affine(original, size, **per_camera[camera])
        shrunk = np.diag([image.shape[1] / original[1], image.shape[0] / original[0], 1.0])  # by the decoder
        sources.append(shrunk @ np.linalg.inv(affine))
        ego_T_cam, intrinsics = frames.ego_T_cam[number, camera], frames.intrinsics[number, camera]
        matrices.append(bev @ geometry.pixel_to_ego(ego_T_cam, intrinsics, affine))
    label, valid = labels(frames, number, grid, bev)
    return {
        "images": np.stack([image for image, _ in images]),
        "source_from_input": np.stack(sources).astype(np.float32),
        "pixel_to_ego": np.stack(matrices).astype(np.float32),
        "label": label[None],
        "valid": valid[None],
        "frame": np.array(number),
    }


def draw_changes(random: np.random.Generator, ranges: Mapping[str, Any]) -> Changes:
    """Augmentation of images and map, drawn from `augment` of a configuration."""
    turn, tilt = ranges["bev_rotate"], ranges["rotate"]
    of_map = {
        "flip_x": bool(random.random() < ranges["bev_flip"]),
        "flip_y": bool(random.random() < ranges["bev_flip"]),
        "degrees": random.uniform(-turn, turn),
        "scale": random.uniform(*ranges["bev_scale"]),
    }
    per_camera = [
        {
            "zoom": random.uniform(*ranges["zoom"]),
            "flip": bool(random.random() < ranges["flip"]),
            "degrees": random.uniform(-tilt, tilt),
        }
        for _ in CAMERAS
    ]
    return per_camera, of_map


def load_image(path: str, width: int) -> tuple[Array, tuple[int, int]]:
    """Decode an image, shrunk by the decoder as far as `width` columns are left.

    Returns:
        (h, w, 3) uint8, and rows and columns of the file.

    Raises:
        UsageError: it is missing or damaged.
    """
    try:
        with Image.open(path) as file:
            original = (file.height, file.width)
            file.draft("RGB", (min(width, file.width), 1))
            return np.array(file if file.mode == "RGB" else file.convert("RGB")), original
    except OSError as exc:
        raise UsageError(f"cannot read image {path}: {exc}; is the data set complete?") from exc


def labels(frames: Frames, number: int, grid: Axes, bev: Array) -> tuple[Array, Array]:
    """(X, Y) uint8: 1 where a vehicle is; and 0 where a vehicle is that is at most 40 % visible, else 1."""
    corners, visibility = frames.vehicles(number)
    ground = (corners[:, :4] @ bev[:3, :3].T + bev[:3, 3])[..., :2]
    return raster(ground, grid), 1 - raster(ground[visibility == 1], grid)


def raster(polygons: Array, grid: Axes) -> Array:
    """Paint boxes as LSS does, so that numbers can be compared: corners rounded to cells, edges included.

    LSS calls OpenCV's fillPoly, which paints 28 % more area than the boxes have. A Pillow polygon plus lines along its edges
    agrees with it (IoU 0.99; tests/nuscenes_bev/devkit).

    Args:
        polygons: (boxes, 4, 2) metres, x and y of the ego frame.

    Returns:
        (X, Y) uint8, 0 or 1; row 0 is the smallest x.
    """
    (x0, x1, dx), (y0, y1, dy) = grid
    canvas = Image.new("L", (round((y1 - y0) / dy), round((x1 - x0) / dx)))
    draw = ImageDraw.Draw(canvas)
    cells = np.round((np.asarray(polygons) - (x0, y0)) / (dx, dy)).astype(int)
    for corners in cells[..., ::-1].tolist():
        points = [tuple(corner) for corner in corners]
        draw.polygon(points, fill=1)
        draw.line([*points, points[0]], fill=1)
    return np.array(canvas)
