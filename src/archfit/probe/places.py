"""Who this machine is, and on which file systems the folders lie that it may share with others."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from archfit.arch import ComputeCapability
from archfit.coverage import targets_of
from archfit.model import CacheEntry, Environment, Host, Known, Place, PlaceKind, Storage

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS = Path("/proc/self/mountinfo")
_MOST_ENTRIES = 2000  # of one folder, as for the caches themselves


def observe_host(environ: Mapping[str, str]) -> Host:
    """The machine we are on; ``ARCHFIT_HOST`` names it where its own name says nothing, as in a pod."""
    boot = ""
    with suppress(OSError):
        boot = _BOOT.read_text("ascii").strip()
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Host(environ.get("ARCHFIT_HOST") or socket.gethostname(), boot, now)


def observe_places(
    env: Environment, folders: Mapping[PlaceKind, Path | None], caches: Sequence[CacheEntry]
) -> tuple[Place, ...]:
    """The environment and those caches that are there, each with where it lies and what it holds."""
    mounts = _read_mounts()
    sites = env.interpreter.value.site_dirs if isinstance(env.interpreter, Known) else ()
    inside = next((site for site in sites if site.is_relative_to(env.root)), env.root)
    places = [Place("environment", str(env.root), find_storage(env.root, mounts), fingerprint(inside))]
    for kind, folder in folders.items():
        if folder is not None and folder.is_dir():
            own = [entry for entry in caches if entry.kind == kind]
            storage, count = find_storage(folder, mounts), sum(entry.count for entry in own)
            places.append(Place(kind, str(folder), storage, fingerprint(folder), _targets(own), count))
    return tuple(places)


def _targets(entries: Iterable[CacheEntry]) -> tuple[ComputeCapability, ...]:
    found: set[ComputeCapability] = set()
    for entry in entries:
        found.update(entry.targets)
        compiled = targets_of(entry.library) if entry.library else ()
        found.update(ComputeCapability.parse(re.sub(r"[af]$", "", name)) for name in compiled)
    return tuple(sorted(found))


def fingerprint(folder: Path) -> str:
    """What is directly in a folder: names, sizes and times to the nanosecond; equal on two machines only for one folder or
    for copies that kept their times. Empty where it cannot be read, or is empty.
    """
    rows: list[str] = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            seen = entry.stat(follow_symlinks=False)
            rows.append(f"{entry.name}\0{seen.st_size}\0{seen.st_mtime_ns}")
            if len(rows) == _MOST_ENTRIES:
                break
    if not rows:
        return ""
    return hashlib.sha256("\n".join(sorted(rows)).encode("utf-8", "surrogateescape")).hexdigest()[:16]


# 36 35 0:52 / /home rw,noatime shared:1 - nfs4 server:/export/home rw,vers=4.2
def parse_mounts(text: str) -> dict[str, tuple[str, str]]:
    """Read ``/proc/self/mountinfo``: mount point to file system and source; the last mount on a point is the one seen."""
    mounts: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, rest = left.split(" "), right.split(" ")
        if len(fields) > 4 and len(rest) > 1:
            mounts[_unescape(fields[4])] = (rest[0], _unescape(rest[1]))
    return mounts


def find_storage(folder: Path, mounts: Mapping[str, tuple[str, str]]) -> Storage | None:
    """Where a folder lies; None where it cannot be asked."""
    try:
        real = folder.resolve()
        seen = real.stat()
    except OSError:
        return None
    nearest = next((str(place) for place in (real, *real.parents) if str(place) in mounts), None)
    filesystem, source = mounts[nearest] if nearest else ("", "")
    return Storage(filesystem, source, seen.st_dev, seen.st_ino, is_remote(filesystem, source))


def is_remote(filesystem: str, source: str) -> bool:
    """Do other machines mount this file system, too?"""
    rows = _load_rows()
    smb = filesystem in rows["smb"] and source.startswith("//")
    return ":" in source or smb or filesystem in rows["types"]


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _read_mounts() -> dict[str, tuple[str, str]]:
    try:
        return parse_mounts(_MOUNTS.read_text("utf-8", "surrogateescape"))
    except OSError:
        return {}


@cache
def _load_rows() -> dict[str, Any]:
    return tomllib.loads(resources.files("archfit.catalog").joinpath("filesystems.toml").read_text("utf-8"))
