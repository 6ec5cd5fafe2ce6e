"""Reader of the nuScenes tables: keyframes with six cameras and boxes, all in the ego frame of the lidar's time stamp.

The tables are large (1 GB for trainval), so what is needed of them is kept in one file beside them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nuscenes_bev.errors import UsageError
from nuscenes_bev.geometry import box_corners, pose, rotation

Array = Any
CAMERAS = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT")
VERSIONS = ("v1.0-trainval", "v1.0-mini")
MARKER = "synthetic.json"
"""Its presence in the root says that the data set was generated."""

_FORMAT = 1
_TABLES = (
    "sample",
    "sample_data",
    "ego_pose",
    "calibrated_sensor",
    "sensor",
    "scene",
    "sample_annotation",
    "instance",
    "category",
)

# Scene numbers of the official validation split (nuscenes-devkit 1.2.0, utils/splits.py); trainval trains on all others.
_VAL = (
    *(3, *range(12, 19), 35, 36, 38, 39, *range(92, 111), 221, *range(268, 279), 329, 330, 331, 332, 344, 345, 346),
    *(*range(519, 525), *range(552, 566), 625, 626, 627, 629, 630, *range(632, 639), 770, 771, 775, 777, 778),
    *(*range(780, 785), *range(794, 801), 802, *range(904, 918), *range(919, 932), 962, 963, 966, 967, 968, 969),
    *(971, 972, *range(1059, 1074)),
)
VALIDATION = {
    "v1.0-trainval": frozenset(f"scene-{n:04d}" for n in _VAL),
    "v1.0-mini": frozenset({"scene-0103", "scene-0916"}),
}


@dataclass(frozen=True)
class Frames:
    """Keyframes of a data set; n frames, m boxes of vehicles.

    Attributes:
        root: folder that `files` are relative to.
        source: "nuscenes" or "synthetic".
        tokens: (n,) sample tokens.
        scenes: (n,) names.
        files: (n, 6) images, in the order of CAMERAS.
        ego_T_cam: (n, 6, 4, 4) from each camera at its own time to the ego frame at the lidar's time.
        intrinsics: (n, 6, 3, 3).
        offsets: (n + 1,) the boxes of frame i are offsets[i] to offsets[i + 1].
        boxes: (m, 10) centre, size (width, length, height), quaternion in the ego frame.
        visibility: (m,) 1 (up to 40 % visible) to 4 (80 to 100 %).
    """

    root: Path
    version: str
    source: str
    tokens: Array
    scenes: Array
    files: Array
    ego_T_cam: Array
    intrinsics: Array
    offsets: Array
    boxes: Array
    visibility: Array

    def split(self, name: str) -> list[int]:
        """Frame numbers of "train" or "val", by the official lists of scenes."""
        held_out = VALIDATION[self.version]
        return [i for i, scene in enumerate(self.scenes) if (str(scene) in held_out) == (name == "val")]

    def vehicles(self, number: int) -> tuple[Array, Array]:
        """Corners (boxes, 8, 3) in the ego frame, see `geometry.box_corners`, and visibility (boxes,) of a frame."""
        mine = slice(*self.offsets[number : number + 2])
        boxes = self.boxes[mine]
        return box_corners(boxes[:, :3], boxes[:, 3:6], rotation(boxes[:, 6:])), self.visibility[mine]


def load_frames(root: str | Path, version: str | None = None, say: Callable[[str], object] = print) -> Frames:
    """Read a data set, from the index of an earlier call if the tables are still the same.

    Raises:
        UsageError: the folder holds no such data set, or a table is missing or damaged.
    """
    root = Path(root).expanduser()
    version = _version(root, version)
    key = _fingerprint(root / version)
    source = "synthetic" if (root / MARKER).exists() else "nuscenes"
    for place in _index_places(root / version, key):
        arrays = _read_index(place, key)
        if arrays:
            return Frames(root, version, source, **arrays)
    if source == "nuscenes":
        say(f"reading the tables of {root / version} (once; up to a minute and several GB of memory for trainval) …")
    arrays = _collect(root / version)
    _write_index(_index_places(root / version, key), arrays, key)
    return Frames(root, version, source, **arrays)


def _version(root: Path, version: str | None) -> str:
    if version and version not in VERSIONS:
        raise UsageError(f"data.version {version!r} is not known; known: {', '.join(VERSIONS)}")
    there = [v for v in ((version,) if version else VERSIONS) if (root / v / "sample.json").is_file()]
    if not there:
        wanted = version or " or ".join(VERSIONS)
        raise UsageError(
            f"{root} holds no nuScenes tables ({wanted}/sample.json); data.root=None makes a synthetic set"
        )
    return there[0]


def _fingerprint(tables: Path) -> str:
    stamps = []
    for name in _TABLES:
        try:
            status = (tables / f"{name}.json").stat()
        except OSError as exc:
            raise UsageError(f"{tables} is not complete: {name}.json: {exc.strerror}") from exc
        stamps.append((name, status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr((_FORMAT, stamps)).encode()).hexdigest()


def cache_folder() -> Path:
    """Where this package keeps what it can make again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lss_swin"


def _index_places(tables: Path, key: str) -> tuple[Path, Path]:
    """Beside the tables; for those who may not write there, in the cache of the user."""
    return tables / ".lss_swin-index.npz", cache_folder() / f"index-{key[:16]}.npz"


def _read_index(place: Path, key: str) -> dict[str, Array] | None:
    try:
        with place.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except Exception:  # absent, cut, or of another program: it is only a cache
        return None
    return arrays if str(arrays.pop("key", "")) == key else None


def _write_index(places: tuple[Path, ...], arrays: dict[str, Array], key: str) -> None:
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".npz", delete=False) as file:
                np.savez(file, key=np.array(key), **arrays)
            os.replace(file.name, place)
        except OSError:
            continue  # a cache that cannot be written costs time, nothing else
        return


def _table(tables: Path, name: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads((tables / f"{name}.json").read_bytes())
    except ValueError as exc:
        raise UsageError(f"{tables / name}.json is damaged: {exc}") from exc
    return rows  # type: ignore[no-any-return]


def _collect(tables: Path) -> dict[str, Array]:
    """The arrays of `Frames` from the tables."""
    try:
        return _join(tables)
    except (KeyError, IndexError, TypeError) as exc:
        raise UsageError(
            f"{tables} is not a valid nuScenes set: {type(exc).__name__} {exc} while joining its tables"
        ) from exc


def _join(tables: Path) -> dict[str, Array]:
    samples = sorted(_table(tables, "sample"), key=lambda row: (row["scene_token"], row["timestamp"]))
    scenes = {row["token"]: row["name"] for row in _table(tables, "scene")}
    keyframes = _keyframes(tables)
    needed = {data["ego_pose_token"] for by_channel in keyframes.values() for data in by_channel.values()}
    poses = {row["token"]: row for row in _table(tables, "ego_pose") if row["token"] in needed}
    mounts = {row["token"]: row for row in _table(tables, "calibrated_sensor")}
    vehicles = _vehicles(tables)
    parts = [_frame(keyframes[s["token"]], poses, mounts, vehicles.get(s["token"], [])) for s in samples]
    counts = [len(part["boxes"]) for part in parts]
    return {
        "tokens": np.array([s["token"] for s in samples]),
        "scenes": np.array([scenes[s["scene_token"]] for s in samples]),
        "files": np.array([part["files"] for part in parts]),
        "ego_T_cam": np.array([part["ego_T_cam"] for part in parts]),
        "intrinsics": np.array([part["intrinsics"] for part in parts], np.float64),
        "offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "boxes": np.concatenate([np.zeros((0, 10)), *(part["boxes"] for part in parts)]),
        "visibility": np.concatenate([np.zeros(0, np.int8), *(part["visibility"] for part in parts)]).astype(np.int8),
    }


def _keyframes(tables: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Sample token -> channel -> row of sample_data, cameras and lidar."""
    channels = {row["token"]: row["channel"] for row in _table(tables, "sensor")}
    mounts = {row["token"]: channels[row["sensor_token"]] for row in _table(tables, "calibrated_sensor")}
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in _table(tables, "sample_data"):
        channel = mounts[row["calibrated_sensor_token"]]
        if row["is_key_frame"] and (channel in CAMERAS or channel == "LIDAR_TOP"):
            found.setdefault(row["sample_token"], {})[channel] = row
    return found


def _vehicles(tables: Path) -> dict[str, list[dict[str, Any]]]:
    """Sample token -> annotations of vehicles, as LSS takes them: every category that begins with "vehicle."."""
    names = {row["token"]: row["name"] for row in _table(tables, "category")}
    wanted = {r["token"] for r in _table(tables, "instance") if names[r["category_token"]].startswith("vehicle.")}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in _table(tables, "sample_annotation"):
        if row["instance_token"] in wanted:
            found.setdefault(row["sample_token"], []).append(row)
    return found


def _frame(
    by_channel: dict[str, dict[str, Any]],
    poses: dict[str, dict[str, Any]],
    mounts: dict[str, dict[str, Any]],
    annotations: list[dict[str, Any]],
) -> dict[str, Array]:
    here = poses[by_channel["LIDAR_TOP"]["ego_pose_token"]]
    ego_T_world = np.linalg.inv(pose(here["translation"], here["rotation"]))
    cameras = [by_channel[name] for name in CAMERAS]
    calibrations = [mounts[row["calibrated_sensor_token"]] for row in cameras]
    moved = [poses[row["ego_pose_token"]] for row in cameras]
    return {
        "files": [row["filename"] for row in cameras],
        "ego_T_cam": [
            ego_T_world @ pose(ego["translation"], ego["rotation"]) @ pose(mount["translation"], mount["rotation"])
            for ego, mount in zip(moved, calibrations)
        ],
        "intrinsics": [mount["camera_intrinsic"] for mount in calibrations],
        "boxes": np.array([_box(ego_T_world, a) for a in annotations]).reshape(-1, 10),
        "visibility": np.array([int(a["visibility_token"] or 1) for a in annotations], np.int8),
    }


def _box(ego_T_world: Array, annotation: dict[str, Any]) -> list[float]:
    centre = ego_T_world[:3, :3] @ np.asarray(annotation["translation"]) + ego_T_world[:3, 3]
    turn = ego_T_world[:3, :3] @ rotation(annotation["rotation"])
    return [*centre, *annotation["size"], *_quaternion(turn)]


def _quaternion(turn: Array) -> list[float]:
    """w, x, y, z of a rotation matrix: the eigenvector of its largest eigenvalue in Bar-Itzhack's symmetric matrix."""
    m = turn
    k = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], 0, 0, 0],
            [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], 0, 0],
            [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], 0],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], np.trace(m)],
        ]
    )
    x, y, z, w = np.linalg.eigh(k / 3)[1][:, -1]
    return [float(w), float(x), float(y), float(z)]
