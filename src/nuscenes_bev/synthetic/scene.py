"""What the generated world is: options, things that move, and the car among them, all drawn from a seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from nuscenes_bev.errors import UsageError
from nuscenes_bev.frames import VALIDATION
from nuscenes_bev.geometry import yaw_quaternion

Array = Any

_MINI_SCENES = tuple(f"scene-{n:04d}" for n in (61, 553, 103, 655, 757, 916, 796, 1077, 1094, 1100))

# name, width, length, height (metres), share of all objects, largest speed (m/s)
KINDS = (
    ("vehicle.car", 1.9, 4.6, 1.7, 0.58, 9.0),
    ("vehicle.truck", 2.5, 7.0, 3.0, 0.10, 7.0),
    ("vehicle.bus.rigid", 2.9, 11.0, 3.4, 0.04, 6.0),
    ("human.pedestrian.adult", 0.7, 0.7, 1.75, 0.16, 1.5),
    ("movable_object.barrier", 2.2, 0.5, 1.0, 0.12, 0.0),
)
ATTRIBUTES = ("vehicle.moving", "vehicle.parked", "pedestrian.moving", "pedestrian.standing")


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
    kind = int(random.choice(len(KINDS), p=[k[4] for k in KINDS]))
    _, width, length, height, _, fastest = KINDS[kind]
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
