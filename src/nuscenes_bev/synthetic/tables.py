"""The files of a scene and its rows in the tables of nuScenes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nuscenes_bev.frames import CAMERAS
from nuscenes_bev.geometry import yaw_quaternion
from nuscenes_bev.synthetic.raycast import LIDAR, MOUNTS, camera_matrix, photograph, sweep
from nuscenes_bev.synthetic.scene import KINDS, Array, Options, Scene, Thing, make_scene

STEP_S = 0.5
_RANGE_M = 55.0
_START_US = 1_532_402_927_000_000
ATTRIBUTES = ("vehicle.moving", "vehicle.parked", "pedestrian.moving", "pedestrian.standing")


def token(*parts: object) -> str:
    """32 hexadecimal digits that depend on nothing but the name."""
    return hashlib.md5(repr(parts).encode(), usedforsecurity=False).hexdigest()


Tables = dict[str, list[dict[str, Any]]]


def render_scene(root: str, name: str, options: Options) -> Tables:
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
    time = frame * STEP_S
    points, lidar_hits = sweep(scene, time)
    place = f"samples/LIDAR_TOP/{scene.name}__LIDAR_TOP__{_stamp(time)}.pcd.bin"
    (root / place).write_bytes(points.tobytes())
    _add_data(scene, frame, "LIDAR_TOP", time, place, (0, 0), tables)
    everywhere, first = np.zeros(len(scene.things)), np.zeros(len(scene.things))
    for channel in CAMERAS:
        at = time - MOUNTS[channel][3]
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
        name = KINDS[thing.kind][0]
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
                    "translation": thing.centre(frame * STEP_S).tolist(),
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
    apart = thing.centre(frame * STEP_S)[:2] - np.array(scene.ego(frame * STEP_S)[0][:2])
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
                "timestamp": _stamp(frame * STEP_S),
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


def shared_tables(logs: list[str], options: Options) -> Tables:
    """Rows that all scenes share."""
    sensors = [
        ("LIDAR_TOP", "lidar", *LIDAR, []),
        *((c, "camera", *MOUNTS[c][:2], camera_matrix(c, options)) for c in CAMERAS),
    ]
    return {
        "category": [{"token": token("category", k[0]), "name": k[0], "description": ""} for k in KINDS],
        "attribute": [{"token": token("attribute", a), "name": a, "description": ""} for a in ATTRIBUTES],
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
