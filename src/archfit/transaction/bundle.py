"""A bundle: a plan and the wheels that it needs in one folder, for a machine without a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from archfit.errors import UsageError
from archfit.model import LockedPackage

OnBytes = Callable[[int, int], None]
"""Told bytes that were checked, and bytes in all."""

_READ_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of a bundle: its name, what its bytes hash to, how many there are."""

    file: str
    sha256: str
    size_bytes: int


def plan_file(folder: Path) -> Path:
    """Where a bundle keeps its plan."""
    return folder / "plan.json"


def wheel_folder(folder: Path) -> Path:
    """Where a bundle keeps its wheels."""
    return folder / "wheels"


def check_bundle(folder: Path, on_bytes: OnBytes = lambda *_: None) -> tuple[Wheel, ...]:
    """Read every wheel of a bundle and hold it against the plan.

    Raises:
        UsageError: no bundle, or a file is missing, cut or another one.
    """
    wheels = _listed(folder)
    total, done = sum(wheel.size_bytes for wheel in wheels), 0
    for wheel in wheels:
        path = wheel_folder(folder) / wheel.file
        digest, count = hashlib.sha256(), 0
        try:
            with path.open("rb") as file:
                while block := file.read(_READ_BYTES):
                    digest.update(block)
                    count += len(block)
                    on_bytes(done + count, total)
        except OSError as error:
            raise UsageError("bundle-unreadable", path=path, cause=error.strerror) from error
        if digest.hexdigest() != wheel.sha256:
            raise UsageError("bundle-damaged", path=path, found=digest.hexdigest(), expected=wheel.sha256)
        done += count
    return wheels


def pinned(packages: Sequence[LockedPackage], wheels: Sequence[Wheel], folder: Path) -> tuple[LockedPackage, ...]:
    """The packages of a plan, each bound to the one file of it that the bundle holds.

    Raises:
        UsageError: the bundle lacks a package, or holds another file of it than the plan allows.
    """
    held = {_name_and_version(wheel, folder): wheel for wheel in wheels}
    return tuple(_bound(package, held, folder) for package in packages)


def _bound(package: LockedPackage, held: Mapping[tuple[str, str], Wheel], folder: Path) -> LockedPackage:
    wheel = held.get((canonicalize_name(package.name), package.wanted))
    if wheel is None or (package.hashes and wheel.sha256 not in package.hashes):
        raise UsageError("bundle-lacks", package=f"{package.name} {package.wanted}", path=folder)
    name, current, wanted, index = package.name, package.current, package.wanted, package.index
    return LockedPackage(name, current, wanted, wheel.size_bytes, wheel.sha256, (wheel.sha256,), index)


def _listed(folder: Path) -> tuple[Wheel, ...]:
    path = plan_file(folder)
    try:
        document: Any = json.loads(path.read_text("utf-8"))
        rows = document["bundle"]["wheels"]
        wheels = tuple(Wheel(str(r["file"]), str(r["sha256"]), int(r["size_bytes"])) for r in rows)
    except OSError as error:
        raise UsageError("bundle-unreadable", path=path, cause=error.strerror) from error
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError("bundle-unreadable", path=path, cause=error) from error
    for wheel in wheels:
        if Path(wheel.file).name != wheel.file:
            raise UsageError("bundle-unreadable", path=path, cause=wheel.file)  # a name that leads out of the folder
    return wheels


def _name_and_version(wheel: Wheel, folder: Path) -> tuple[str, str]:
    try:
        name, version, _, _ = parse_wheel_filename(wheel.file)
    except InvalidWheelFilename as error:
        raise UsageError("bundle-unreadable", path=wheel_folder(folder) / wheel.file, cause=error) from error
    return name, str(version)
