"""Images and lidar sweeps of a scene: one slab test per ray and box gives exact occlusion and honest visibility.

Camera mounts and focal lengths are those of a nuScenes car.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nuscenes_bev.frames import CAMERAS
from nuscenes_bev.geometry import box_corners, pose, project, rotation, yaw_quaternion
from nuscenes_bev.synthetic.scene import Array, Options, Scene, Thing

# Mounts of a nuScenes car: translation (metres), rotation (w, x, y, z), focal length and centre (pixels of 1600x900), and how
# long before the lidar's time stamp the camera is exposed (seconds).
MOUNTS = {
    "CAM_FRONT": ((1.701, 0.016, 1.511), (0.49980, -0.50303, 0.49978, -0.49737), (1266.4, 816.3, 491.5), 0.035),
    "CAM_FRONT_RIGHT": ((1.551, -0.493, 1.496), (0.20603, -0.20269, 0.68245, -0.67136), (1260.8, 808.0, 495.3), 0.027),
    "CAM_BACK_RIGHT": ((1.015, -0.481, 1.562), (0.12281, -0.13240, -0.70043, 0.69050), (1259.5, 807.3, 501.2), 0.020),
    "CAM_BACK": ((0.028, 0.003, 1.579), (0.50379, -0.49740, -0.49419, 0.50455), (809.2, 829.2, 481.8), 0.010),
    "CAM_BACK_LEFT": ((1.036, 0.485, 1.591), (0.69242, -0.70316, -0.11648, 0.11203), (1256.7, 792.1, 492.8), 0.001),
    "CAM_FRONT_LEFT": ((1.524, 0.495, 1.509), (0.67573, -0.67363, 0.21214, -0.21123), (1272.6, 826.6, 479.8), 0.043),
}
LIDAR = ((0.944, 0.0, 1.840), (0.70780, -0.00649, 0.01065, -0.70631))
_LIDAR_BEAMS, _LIDAR_AZIMUTHS = 32, 180
_LIGHT = np.array([0.35, 0.25, 0.9], np.float32)  # towards the sun, world frame
_NOISE = 4.0  # of the sensor, grey levels: also makes files as large as a camera's
_SKY = np.array([[150, 185, 225], [215, 225, 235]], np.float32)
_ASPHALT = np.array([[88, 88, 92], [104, 103, 100]], np.float32)


@dataclass
class Hits:
    """The nearest surface along each ray.

    Attributes:
        distance: (rays,) along the ray, in lengths of its direction; infinite where nothing is.
        thing: (rays,) number of the box, -1 for the ground, -2 for the sky.
        normal: (rays, 3) of the box's surface, in the world.
        all_hits, first_hits: (things,) rays that meet a box at all, and before anything else.
    """

    distance: Array
    thing: Array
    normal: Array
    all_hits: Array
    first_hits: Array = field(init=False)

    def __post_init__(self) -> None:
        self.first_hits = np.zeros_like(self.all_hits)


def cast(origin: Array, rays: Array, boxes: list[tuple[Array, Thing]], rays_of: Callable[[int], Any]) -> Hits:
    """Meet every ray with the ground and all boxes.

    Args:
        origin: (3,) world.
        rays: (rays, 3) directions in the world, of any length.
        boxes: centre and thing.
        rays_of: numbers (or a slice) of the rays that may meet a box; the others are not tried.
    """
    down = rays[:, 2] < -1e-6
    distance = np.where(down, -origin[2] / np.where(down, rays[:, 2], 1.0), np.inf).astype(rays.dtype)
    hits = Hits(distance, np.where(down, -1, -2), np.zeros_like(rays), np.zeros(len(boxes), np.int64))
    for number, (centre, thing) in enumerate(boxes):
        chosen = rays_of(number)
        if chosen is not None:
            _meet(hits, number, origin - centre, rays, chosen, thing)
    seen = hits.thing[hits.thing >= 0]
    hits.first_hits[:] = np.bincount(seen, minlength=len(boxes))
    return hits


def _meet(hits: Hits, number: int, offset: Array, rays: Array, chosen: Array, thing: Thing) -> None:
    """The slab test: the ray is inside the box between its last entry into a slab and its first exit from one."""
    turn = rotation(yaw_quaternion(thing.yaw)).astype(rays.dtype)
    half = np.array([thing.size[1], thing.size[0], thing.size[2]], rays.dtype) / 2
    direction = rays[chosen] @ turn
    direction = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
    start = (offset @ turn).astype(rays.dtype)
    one, two = (-half - start) / direction, (half - start) / direction
    enter, leave = np.minimum(one, two), np.maximum(one, two)
    axis = enter.argmax(1)
    first = enter.max(1)
    met = (first < leave.min(1)) & (first > 0)
    hits.all_hits[number] = met.sum()
    nearer = chosen[met & (first < hits.distance[chosen])]
    keep = met & (first < hits.distance[chosen])
    hits.distance[nearer] = first[keep]
    hits.thing[nearer] = number
    sign = -np.sign(direction[keep, axis[keep]])
    hits.normal[nearer] = turn.T[axis[keep]] * sign[:, None]


def camera_matrix(channel: str, options: Options) -> list[list[float]]:
    """Intrinsics in pixels of the images that are asked for."""
    focal, cx, cy = MOUNTS[channel][2]
    sx, sy = options.width / 1600, options.height / 900
    return [[focal * sx, 0.0, cx * sx], [0.0, focal * sy, cy * sy], [0.0, 0.0, 1.0]]


def photograph(scene: Scene, channel: str, time_s: float, options: Options) -> tuple[Array, Hits]:
    """The image of a camera at a time, (height, width, 3) uint8, and what its rays met."""
    mount = MOUNTS[channel]
    world_T_cam = pose(*scene.ego(time_s)) @ pose(mount[0], mount[1])
    intrinsics = np.array(camera_matrix(channel, options))
    v, u = np.mgrid[0 : options.height, 0 : options.width] + 0.5
    in_camera = np.stack(
        [(u - intrinsics[0, 2]) / intrinsics[0, 0], (v - intrinsics[1, 2]) / intrinsics[1, 1], np.ones_like(u)], -1
    )
    rays = (in_camera.reshape(-1, 3) @ world_T_cam[:3, :3].T).astype(np.float32)
    boxes = [(thing.centre(time_s), thing) for thing in scene.things]
    pixels = np.arange(options.height * options.width).reshape(options.height, options.width)

    def rays_of(number: int) -> Array | None:
        centre, thing = boxes[number]
        corners = box_corners(centre, thing.size, rotation(yaw_quaternion(thing.yaw)))
        at, depth = project(corners, world_T_cam, intrinsics)
        if (depth <= 0).all():
            return None
        if (depth < 0.2).any():
            return pixels.ravel()
        low = np.floor(at.min(0)).astype(int).clip(0)
        high = np.ceil(at.max(0)).astype(int).clip(0)
        return pixels[low[1] : high[1] + 1, low[0] : high[0] + 1].ravel()

    hits = cast(world_T_cam[:3, 3], rays, boxes, rays_of)
    noise = np.random.default_rng([options.seed, round(time_s * 1e3) + 1000, CAMERAS.index(channel)])
    image = _paint(hits, world_T_cam[:3, 3], rays, scene) + _NOISE * noise.standard_normal((len(rays), 1), np.float32)
    return image.clip(0, 255).astype(np.uint8).reshape(options.height, options.width, 3), hits


def _paint(hits: Hits, origin: Array, rays: Array, scene: Scene) -> Array:
    """Sky by height, ground as a checker of 2.5 m for depth, boxes by the light on their sides, all fading with distance."""
    up = np.clip(rays[:, 2:] / np.linalg.norm(rays, axis=1, keepdims=True) * 3, 0, 1)
    sky = _SKY[1] * (1 - up) + _SKY[0] * up
    reach = np.where(np.isfinite(hits.distance), hits.distance, 0.0)[:, None]
    point = origin[:2] + (rays[:, :2] * reach).astype(np.float64)  # hundreds of metres from the origin of the world
    checker = (np.floor(point / 2.5).sum(1) % 2).astype(int)
    colours = np.array([thing.colour for thing in scene.things] or [(0.0, 0.0, 0.0)], np.float32)
    light = 0.45 + 0.55 * np.clip(hits.normal @ (_LIGHT / np.linalg.norm(_LIGHT)), 0, 1)
    boxes = colours[np.maximum(hits.thing, 0)] * light[:, None]
    solid = np.where((hits.thing >= 0)[:, None], boxes, _ASPHALT[checker])
    fog = np.exp(-reach / 140)
    return np.where((hits.thing == -2)[:, None], sky, solid * fog + _SKY[1] * (1 - fog))


def sweep(scene: Scene, time_s: float) -> tuple[Array, Hits]:
    """One turn of the lidar: (points, 5) float32 x, y, z in the sensor frame, intensity, ring; and what its rays met."""
    world_T_lidar = pose(*scene.ego(time_s)) @ pose(*LIDAR)
    azimuth = np.linspace(-np.pi, np.pi, _LIDAR_AZIMUTHS, endpoint=False)
    elevation = np.radians(np.linspace(-30.0, 10.0, _LIDAR_BEAMS))
    a, e = (grid.ravel() for grid in np.meshgrid(azimuth, elevation))
    local = np.stack([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)], 1)
    rays = local @ world_T_lidar[:3, :3].T
    everything = np.arange(len(rays))
    hits = cast(world_T_lidar[:3, 3], rays, [(t.centre(time_s), t) for t in scene.things], lambda _: everything)
    back = hits.distance < 70
    ring = np.repeat(np.arange(_LIDAR_BEAMS), _LIDAR_AZIMUTHS)
    points = np.c_[local * np.where(back, hits.distance, 0.0)[:, None], np.where(hits.thing >= 0, 40, 10), ring]
    return points[back].astype(np.float32), hits
