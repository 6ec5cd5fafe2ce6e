"""A ray-cast data set that is shaped like nuScenes: `python -m lss_swin.data generate DIR`.

One slab test per ray and box gives images with exact occlusion, the lidar sweep and honest visibility. Camera mounts and
focal lengths are those of a nuScenes car. Everything is drawn from the seed. Standard library, numpy and Pillow only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lss_swin.config import PACKAGE, UsageError
from lss_swin.geometry import box_corners, pose, project, rotation, yaw_quaternion
from lss_swin.nuscenes import CAMERAS, MARKER, VALIDATION, cache_folder

Array = Any

# Mounts of a nuScenes car: translation (metres), rotation (w, x, y, z), focal length and centre (pixels of 1600x900), and how
# long before the lidar's time stamp the camera is exposed (seconds).
_MOUNTS = {
    "CAM_FRONT": ((1.701, 0.016, 1.511), (0.49980, -0.50303, 0.49978, -0.49737), (1266.4, 816.3, 491.5), 0.035),
    "CAM_FRONT_RIGHT": ((1.551, -0.493, 1.496), (0.20603, -0.20269, 0.68245, -0.67136), (1260.8, 808.0, 495.3), 0.027),
    "CAM_BACK_RIGHT": ((1.015, -0.481, 1.562), (0.12281, -0.13240, -0.70043, 0.69050), (1259.5, 807.3, 501.2), 0.020),
    "CAM_BACK": ((0.028, 0.003, 1.579), (0.50379, -0.49740, -0.49419, 0.50455), (809.2, 829.2, 481.8), 0.010),
    "CAM_BACK_LEFT": ((1.036, 0.485, 1.591), (0.69242, -0.70316, -0.11648, 0.11203), (1256.7, 792.1, 492.8), 0.001),
    "CAM_FRONT_LEFT": ((1.524, 0.495, 1.509), (0.67573, -0.67363, 0.21214, -0.21123), (1272.6, 826.6, 479.8), 0.043),
}
_LIDAR = ((0.944, 0.0, 1.840), (0.70780, -0.00649, 0.01065, -0.70631))
_MINI_SCENES = tuple(f"scene-{n:04d}" for n in (61, 553, 103, 655, 757, 916, 796, 1077, 1094, 1100))
_STEP_S = 0.5
_RANGE_M = 55.0
_START_US = 1_532_402_927_000_000
_RELEASE = 2  # a new number whenever the same options give other bytes

# name, width, length, height (metres), share of all objects, largest speed (m/s)
_KINDS = (
    ("vehicle.car", 1.9, 4.6, 1.7, 0.58, 9.0),
    ("vehicle.truck", 2.5, 7.0, 3.0, 0.10, 7.0),
    ("vehicle.bus.rigid", 2.9, 11.0, 3.4, 0.04, 6.0),
    ("human.pedestrian.adult", 0.7, 0.7, 1.75, 0.16, 1.5),
    ("movable_object.barrier", 2.2, 0.5, 1.0, 0.12, 0.0),
)
_ATTRIBUTES = ("vehicle.moving", "vehicle.parked", "pedestrian.moving", "pedestrian.standing")
_LIDAR_BEAMS, _LIDAR_AZIMUTHS = 32, 180
_LIGHT = np.array([0.35, 0.25, 0.9], np.float32)  # towards the sun, world frame
_NOISE = 4.0  # of the sensor, grey levels: also makes files as large as a camera's
_SKY = np.array([[150, 185, 225], [215, 225, 235]], np.float32)
_ASPHALT = np.array([[88, 88, 92], [104, 103, 100]], np.float32)


@dataclass(frozen=True)
class Options:
    """What to generate."""

    scenes: int = 10
    frames: int = 2
    width: int = 352
    height: int = 198
    seed: int = 0

    def check(self) -> None:
        """Raise UsageError for what cannot be generated."""
        if not 1 <= self.scenes <= 700 or self.frames < 1:
            raise UsageError("scenes must be 1 to 700 and frames at least 1")
        if self.width < 32 or self.height < 18:
            raise UsageError("images must have at least 32x18 pixels")

    def scene_names(self) -> list[str]:
        """Official names, so that official splits hold: of mini up to ten, else of trainval, every fifth for validation."""
        if self.scenes <= len(_MINI_SCENES):
            return list(_MINI_SCENES[: self.scenes])
        held_out = VALIDATION["v1.0-trainval"]
        train = (name for name in (f"scene-{n:04d}" for n in range(1, 1101)) if name not in held_out)
        val = iter(sorted(held_out))
        return [next(val) if i % 5 == 4 else next(train) for i in range(self.scenes)]

    @property
    def version(self) -> str:
        """Of nuScenes."""
        return "v1.0-mini" if self.scenes <= len(_MINI_SCENES) else "v1.0-trainval"


@dataclass(frozen=True)
class Thing:
    """A box that moves along its heading."""

    kind: int
    place: tuple[float, float]
    yaw: float
    size: tuple[float, float, float]
    speed: float
    colour: tuple[float, float, float]

    def centre(self, time_s: float) -> Array:
        """World position at a time."""
        along = np.array([np.cos(self.yaw), np.sin(self.yaw)]) * self.speed * time_s
        return np.array([self.place[0] + along[0], self.place[1] + along[1], self.size[2] / 2])


@dataclass(frozen=True)
class Scene:
    """A car that drives through things."""

    name: str
    start: tuple[float, float, float]
    speed: float
    turn: float
    things: tuple[Thing, ...]

    def ego(self, time_s: float) -> tuple[list[float], list[float]]:
        """Translation and quaternion of the ego frame in the world."""
        x, y, yaw = self.start
        middle, yaw = yaw + self.turn * time_s / 2, yaw + self.turn * time_s
        x, y = x + self.speed * time_s * np.cos(middle), y + self.speed * time_s * np.sin(middle)
        return [float(x), float(y), 0.0], yaw_quaternion(yaw)


def make_scene(name: str, seed: int) -> Scene:
    """Draw a scene: the road runs along the car, most vehicles along the road, some across."""
    random = np.random.default_rng([seed, int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)])
    start = (float(random.uniform(300, 1000)), float(random.uniform(300, 1000)), float(random.uniform(-np.pi, np.pi)))
    scene = Scene(name, start, float(random.uniform(0, 8)), float(random.uniform(-0.1, 0.1)), ())
    things: list[Thing] = []
    for _ in range(int(random.integers(24, 44))):
        thing = _make_thing(random, start)
        if all(_apart(thing, other) for other in things):
            things.append(thing)
    return Scene(scene.name, scene.start, scene.speed, scene.turn, tuple(things))


def _make_thing(random: np.random.Generator, start: tuple[float, float, float]) -> Thing:
    kind = int(random.choice(len(_KINDS), p=[k[4] for k in _KINDS]))
    _, width, length, height, _, fastest = _KINDS[kind]
    while True:
        along, across = random.uniform(-48, 48), random.normal(0, 16)
        if abs(across) < 45 and (abs(along) > 9 or abs(across) > 4):
            break
    x, y, yaw = start
    turn = random.choice([0.0, np.pi, np.pi / 2, -np.pi / 2], p=[0.4, 0.3, 0.15, 0.15]) + random.normal(0, 0.12)
    place = (x + along * np.cos(yaw) - across * np.sin(yaw), y + along * np.sin(yaw) + across * np.cos(yaw))
    factor = random.uniform(0.88, 1.14, 3)
    return Thing(
        kind,
        (float(place[0]), float(place[1])),
        float(yaw + turn),
        (float(width * factor[0]), float(length * factor[1]), float(height * factor[2])),
        float(random.uniform(0, fastest) if random.random() < 0.4 else 0.0),
        tuple(float(c) for c in random.uniform(30, 235, 3)),  # type: ignore[arg-type]
    )


def _apart(a: Thing, b: Thing) -> bool:
    reach = (np.hypot(*a.size[:2]) + np.hypot(*b.size[:2])) / 2
    return all(np.linalg.norm(a.centre(t)[:2] - b.centre(t)[:2]) > reach for t in (0.0, 2.0, 5.0, 10.0))


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


def _camera_matrix(channel: str, options: Options) -> list[list[float]]:
    focal, cx, cy = _MOUNTS[channel][2]
    sx, sy = options.width / 1600, options.height / 900
    return [[focal * sx, 0.0, cx * sx], [0.0, focal * sy, cy * sy], [0.0, 0.0, 1.0]]


def photograph(scene: Scene, channel: str, time_s: float, options: Options) -> tuple[Array, Hits]:
    """The image of a camera at a time, (height, width, 3) uint8, and what its rays met."""
    mount = _MOUNTS[channel]
    world_T_cam = pose(*scene.ego(time_s)) @ pose(mount[0], mount[1])
    intrinsics = np.array(_camera_matrix(channel, options))
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
    world_T_lidar = pose(*scene.ego(time_s)) @ pose(*_LIDAR)
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


def token(*parts: object) -> str:
    """32 hexadecimal digits that depend on nothing but the name."""
    return hashlib.md5(repr(parts).encode(), usedforsecurity=False).hexdigest()


Tables = dict[str, list[dict[str, Any]]]


def _render_scene(root: str, name: str, options: Options) -> Tables:
    """Write the files of a scene and return its rows."""
    scene = make_scene(name, options.seed)
    tables: Tables = {
        k: [] for k in ("log", "scene", "sample", "sample_data", "ego_pose", "sample_annotation", "instance")
    }
    log = token("log", name)
    tables["log"].append(
        {
            "token": log,
            "logfile": name,
            "vehicle": "synthetic",
            "date_captured": "2018-07-24",
            "location": "boston-seaport",
        }
    )
    seen = [_render_frame(Path(root), scene, frame, options, tables) for frame in range(options.frames)]
    _add_annotations(scene, options, seen, tables)
    _add_samples(scene, log, options, tables)
    return tables


def _render_frame(root: Path, scene: Scene, frame: int, options: Options, tables: Tables) -> tuple[Array, Array]:
    """Images and sweep of a keyframe; returns lidar points and visible share (0 to 1, -1: in no image) of each thing."""
    time = frame * _STEP_S
    points, lidar_hits = sweep(scene, time)
    place = f"samples/LIDAR_TOP/{scene.name}__LIDAR_TOP__{_stamp(time)}.pcd.bin"
    (root / place).write_bytes(points.tobytes())
    _add_data(scene, frame, "LIDAR_TOP", time, place, (0, 0), tables)
    everywhere, first = np.zeros(len(scene.things)), np.zeros(len(scene.things))
    for channel in CAMERAS:
        at = time - _MOUNTS[channel][3]
        image, hits = photograph(scene, channel, at, options)
        place = f"samples/{channel}/{scene.name}__{channel}__{_stamp(at)}.jpg"
        Image.fromarray(image).save(root / place, quality=85)
        _add_data(scene, frame, channel, at, place, (options.width, options.height), tables)
        everywhere, first = everywhere + hits.all_hits, first + hits.first_hits
    return lidar_hits.first_hits, np.where(everywhere > 0, first / np.maximum(everywhere, 1), -1.0)


def _stamp(time_s: float) -> int:
    return _START_US + round(time_s * 1e6)


def _add_data(
    scene: Scene, frame: int, channel: str, time_s: float, place: str, size: tuple[int, int], tables: Tables
) -> None:
    own, ego = token("data", scene.name, frame, channel), token("ego", scene.name, frame, channel)
    translation, turn = scene.ego(time_s)
    tables["ego_pose"].append({"token": ego, "timestamp": _stamp(time_s), "translation": translation, "rotation": turn})
    tables["sample_data"].append(
        {
            "token": own,
            "sample_token": token("sample", scene.name, frame),
            "ego_pose_token": ego,
            "calibrated_sensor_token": token("mount", channel),
            "timestamp": _stamp(time_s),
            "fileformat": "pcd" if channel == "LIDAR_TOP" else "jpg",
            "is_key_frame": True,
            "width": size[0],
            "height": size[1],
            "filename": place,
            "prev": token("data", scene.name, frame - 1, channel) if frame else "",
            "next": "",
        }
    )


def _add_annotations(scene: Scene, options: Options, seen: list[tuple[Array, Array]], tables: Tables) -> None:
    """Boxes that the lidar sees within range; each thing is one instance, its annotations are linked."""
    for number, thing in enumerate(scene.things):
        frames = [f for f in range(options.frames) if _is_annotated(scene, thing, f, seen[f][0][number])]
        if not frames:
            continue
        name = _KINDS[thing.kind][0]
        instance = token("instance", scene.name, number)
        chain = ["", *(token("box", scene.name, number, f) for f in frames), ""]
        tables["instance"].append(
            {
                "token": instance,
                "category_token": token("category", name),
                "nbr_annotations": len(frames),
                "first_annotation_token": chain[1],
                "last_annotation_token": chain[-2],
            }
        )
        for i, frame in enumerate(frames):
            points, share = seen[frame][0][number], seen[frame][1][number]
            tables["sample_annotation"].append(
                {
                    "token": chain[i + 1],
                    "sample_token": token("sample", scene.name, frame),
                    "instance_token": instance,
                    "visibility_token": str(1 + sum(bool(share > bound) for bound in (0.4, 0.6, 0.8))),
                    "attribute_tokens": [token("attribute", a) for a in _attribute(name, thing.speed)],
                    "translation": thing.centre(frame * _STEP_S).tolist(),
                    "size": list(thing.size),
                    "rotation": yaw_quaternion(thing.yaw),
                    "prev": chain[i],
                    "next": chain[i + 2],
                    "num_lidar_pts": int(points),
                    "num_radar_pts": 0,
                }
            )


def _is_annotated(scene: Scene, thing: Thing, frame: int, points: int) -> bool:
    """As in nuScenes: within range, and with at least one point of the lidar; its evaluator drops the others."""
    apart = thing.centre(frame * _STEP_S)[:2] - np.array(scene.ego(frame * _STEP_S)[0][:2])
    return bool(np.abs(apart).max() < _RANGE_M and points > 0)


def _attribute(name: str, speed: float) -> list[str]:
    if name.startswith("vehicle"):
        return ["vehicle.moving" if speed else "vehicle.parked"]
    return ["pedestrian.moving" if speed else "pedestrian.standing"] if name.startswith("human") else []


def _add_samples(scene: Scene, log: str, options: Options, tables: Tables) -> None:
    chain = ["", *(token("sample", scene.name, f) for f in range(options.frames)), ""]
    own = token("scene", scene.name)
    for frame in range(options.frames):
        tables["sample"].append(
            {
                "token": chain[frame + 1],
                "timestamp": _stamp(frame * _STEP_S),
                "prev": chain[frame],
                "next": chain[frame + 2],
                "scene_token": own,
            }
        )
    followers = {row["prev"]: row["token"] for row in tables["sample_data"]}
    for row in tables["sample_data"]:
        row["next"] = followers.get(row["token"], "")
    tables["scene"].append(
        {
            "token": own,
            "log_token": log,
            "nbr_samples": options.frames,
            "first_sample_token": chain[1],
            "last_sample_token": chain[-2],
            "name": scene.name,
            "description": "synthetic, ray-cast",
        }
    )


def _shared_tables(logs: list[str], options: Options) -> Tables:
    """Rows that all scenes share."""
    sensors = [
        ("LIDAR_TOP", "lidar", *_LIDAR, []),
        *((c, "camera", *_MOUNTS[c][:2], _camera_matrix(c, options)) for c in CAMERAS),
    ]
    return {
        "category": [{"token": token("category", k[0]), "name": k[0], "description": ""} for k in _KINDS],
        "attribute": [{"token": token("attribute", a), "name": a, "description": ""} for a in _ATTRIBUTES],
        "visibility": [
            {"token": str(i + 1), "level": f"v{low}-{high}", "description": f"{low} to {high} % visible"}
            for i, (low, high) in enumerate(((0, 40), (40, 60), (60, 80), (80, 100)))
        ],
        "sensor": [{"token": token("sensor", c), "channel": c, "modality": kind} for c, kind, *_ in sensors],
        "calibrated_sensor": [
            {
                "token": token("mount", c),
                "sensor_token": token("sensor", c),
                "translation": list(translation),
                "rotation": list(turn),
                "camera_intrinsic": intrinsics,
            }
            for c, _, translation, turn, intrinsics in sensors
        ],
        "map": [
            {"token": token("map"), "log_tokens": logs, "category": "semantic_prior", "filename": "maps/synthetic.png"}
        ],
    }


def generate(
    root: Path, options: Options, workers: int | None = None, on_scene: Callable[[int], object] = lambda done: None
) -> None:
    """Write a whole data set to `root`, which must not exist; it appears there complete or not at all.

    Raises:
        UsageError: the options make no sense, or `root` is there already.
    """
    options.check()
    if root.exists():
        raise UsageError(f"{root} is there already; name a new folder, or remove it first")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as scratch:
        draft = Path(scratch) / "set"
        _write(draft, options, workers or min(_processors(), options.scenes), on_scene)
        try:
            os.rename(draft, root)
        except OSError:
            if not (root / MARKER).exists():  # otherwise another process was quicker: the same bytes
                raise


def _write(root: Path, options: Options, workers: int, on_scene: Callable[[int], object]) -> None:
    for folder in (*(f"samples/{c}" for c in (*CAMERAS, "LIDAR_TOP")), "maps", options.version):
        (root / folder).mkdir(parents=True)
    Image.new("L", (8, 8)).save(root / "maps" / "synthetic.png")
    tables: Tables = {}
    for done, rows in enumerate(_render_all(root, options, workers), 1):
        for name, more in rows.items():
            tables.setdefault(name, []).extend(more)
        on_scene(done)
    tables.update(_shared_tables([row["token"] for row in tables["log"]], options))
    for name, rows_of_table in tables.items():
        (root / options.version / f"{name}.json").write_text(json.dumps(rows_of_table), "utf-8")
    marker = {"schema": "lss_swin.synthetic/1", "release": _RELEASE, **asdict(options)}
    (root / MARKER).write_text(json.dumps(marker), "utf-8")


def _render_all(root: Path, options: Options, workers: int) -> Iterator[Tables]:
    names = options.scene_names()
    if workers <= 1:
        yield from (_render_scene(str(root), name, options) for name in names)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_render_scene, [str(root)] * len(names), names, [options] * len(names))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_root(options: Options) -> Path:
    """Where the set of these options is kept between runs."""
    name = f"synthetic-{_RELEASE}-{options.scenes}x{options.frames}-{options.width}x{options.height}-{options.seed}"
    return cache_folder() / name


def ensure(options: Options, say: Callable[[str], object] = print) -> Path:
    """The set of these options, generated by a process of its own on first use.

    A process of its own, because it forks workers, which a process with torch's threads must not.

    Raises:
        UsageError: it could not be written.
    """
    options.check()
    root = default_root(options)
    if (root / MARKER).exists():
        return root
    say(f"no data.root given: generating a synthetic set of {options.scenes * options.frames} frames in {root} …")
    shutil.rmtree(root, ignore_errors=True)
    arguments = [f"--{name}={value}" for name, value in asdict(options).items()]
    # One thread each: the processes are as many as the processors.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    search = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "lss_swin.synthetic", str(root), *arguments]
    run = subprocess.run(
        command, env={**os.environ, **threads, "PYTHONPATH": search}, stdout=subprocess.DEVNULL, check=False
    )
    if run.returncode:
        raise UsageError(
            f"the synthetic set could not be written to {root}; see the lines above, or name another with XDG_CACHE_HOME"
        )
    return root


def main(arguments: Iterable[str] | None = None) -> int:
    """`python -m lss_swin.data generate DIR`."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m lss_swin.data generate",
        description="Generate a ray-cast data set that is shaped like nuScenes.",
        epilog="example: python -m lss_swin.data generate /data/synthetic --scenes 60 --frames 5",
    )
    parser.add_argument("root", type=Path, help="new folder")
    for name, value in asdict(Options()).items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    parser.add_argument("--workers", type=int, help="processes; default: one per processor")
    given = vars(parser.parse_args(None if arguments is None else list(arguments)))
    root, workers = given.pop("root"), given.pop("workers")
    options = Options(**given)
    talks = sys.stderr.isatty()
    try:
        generate(root, options, workers, lambda done: _count(done, options.scenes) if talks else None)
    except (UsageError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    print(root)
    return 0


def _count(done: int, total: int) -> None:
    print(f"\rscene {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
