"""Pictures of a frame, as PNG: people look before they believe."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from nuscenes_bev.frames import CAMERAS, Frames
from nuscenes_bev.geometry import project

Array = Any
_CAMERA_WIDTH = 480
_MAP_SIDE = 480
_MARGIN = 24
_EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
_NEAR_M = 0.1
_VISIBLE, _HIDDEN = (255, 90, 60), (150, 150, 150)  # boxes: more, and at most, 40 % visible


def draw_frame(frames: Frames, number: int, probability: Array, label: Array) -> Image.Image:
    """One picture of a frame: six cameras with boxes, prediction and truth in bird's-eye view.

    Args:
        probability: (X, Y) 0 to 1, from a model.
        label: (X, Y) 0 or 1.
    """
    predicted, true = probability > 0.5, label > 0
    either = (predicted | true).sum()
    iou = (predicted & true).sum() / either if either else float("nan")
    cameras = [_camera(frames, number, camera) for camera in range(len(CAMERAS))]
    width, height = cameras[0].size
    picture = Image.new("RGB", (3 * width, 2 * (height + _MARGIN) + _MAP_SIDE + 2 * _MARGIN), (24, 24, 28))
    pen = ImageDraw.Draw(picture)
    for i, (image, name) in enumerate(zip(cameras, CAMERAS)):
        at = (i % 3 * width, i // 3 * (height + _MARGIN))
        pen.text((at[0] + 6, at[1] + 6), name, fill=(220, 220, 220))
        picture.paste(image, (at[0], at[1] + _MARGIN))
    top = 2 * (height + _MARGIN)
    maps = (
        (f"prediction (probability), IoU {iou:.2f}", _heat(probability)),
        ("truth", _heat(label)),
        ("green: right, red: missed, blue: invented", _compare(predicted, true)),
    )
    for i, (title, colours) in enumerate(maps):
        left = i * width + (width - _MAP_SIDE) // 2
        pen.text((left, top + 6), title, fill=(220, 220, 220))
        picture.paste(_map(colours), (left, top + _MARGIN))
    source = "SYNTHETIC data" if frames.source == "synthetic" else "nuScenes"
    words = f"{source}, {frames.scenes[number]}, sample {frames.tokens[number]}; the car looks up"
    pen.text((6, picture.height - _MARGIN + 6), words, fill=(160, 160, 160))
    return picture


def _camera(frames: Frames, number: int, camera: int) -> Image.Image:
    with Image.open(frames.root / str(frames.files[number, camera])) as file:
        scale = _CAMERA_WIDTH / file.width
        image = file.convert("RGB").resize((_CAMERA_WIDTH, round(file.height * scale)), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(image)
    ego_T_cam, intrinsics = frames.ego_T_cam[number, camera], frames.intrinsics[number, camera]
    intrinsics = np.diag([scale, scale, 1.0]) @ intrinsics
    for box, visibility in zip(*frames.vehicles(number)):
        for line in _lines(box, ego_T_cam, intrinsics):
            pen.line(line, fill=_HIDDEN if visibility == 1 else _VISIBLE)
    return image


def _lines(corners: Array, ego_T_cam: Array, intrinsics: Array) -> list[list[tuple[float, float]]]:
    """The edges of a box in pixels, each cut where it leaves the space before the camera."""
    depth = ((corners - ego_T_cam[:3, 3]) @ ego_T_cam[:3, :3])[:, 2]
    lines = []
    for a, b in _EDGES:
        if depth[a] < _NEAR_M and depth[b] < _NEAR_M:
            continue
        ends = np.array([corners[a], corners[b]])
        for end, behind in enumerate((depth[a] < _NEAR_M, depth[b] < _NEAR_M)):
            if behind:
                share = (_NEAR_M - depth[a]) / (depth[b] - depth[a])
                ends[end] = corners[a] + share * (corners[b] - corners[a])
        pixels, _ = project(ends, ego_T_cam, intrinsics)
        lines.append([(float(x), float(y)) for x, y in pixels])
    return lines


def _heat(values: Array) -> Array:
    """(X, Y) 0 to 1 -> (X, Y, 3): dark to yellow."""
    v = np.asarray(values, np.float64)[..., None]
    return (np.array([40, 40, 60]) * (1 - v) + np.array([255, 220, 80]) * v).astype(np.uint8)


def _compare(predicted: Array, true: Array) -> Array:
    colours = np.full((*true.shape, 3), (40, 40, 60), np.uint8)
    colours[predicted & true] = (80, 200, 90)
    colours[~predicted & true] = (230, 70, 60)
    colours[predicted & ~true] = (80, 130, 255)
    return colours


def _map(colours_XY3: Array) -> Image.Image:
    """Forward up, left left, with the car in the middle."""
    image = Image.fromarray(colours_XY3[::-1, ::-1]).resize((_MAP_SIDE, _MAP_SIDE), Image.Resampling.NEAREST)
    middle = _MAP_SIDE // 2
    ImageDraw.Draw(image).polygon(
        [(middle, middle - 9), (middle - 5, middle + 7), (middle + 5, middle + 7)], fill=(255, 255, 255)
    )
    return image
