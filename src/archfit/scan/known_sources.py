"""What the sources of a release say, kept for a day: an index may yet get a source package, a release does not change."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from archfit.buildscript import BuildScript

_EDITION = 1
"""Raised whenever the reader learns to see more."""

_GOOD_FOR_S = 86_400


@dataclass(frozen=True, slots=True)
class Known:
    """What was found for a requirement; None: the index has no source package, or one too large to be read."""

    build: BuildScript | None


def load(requirement: str) -> Known | None:
    """What was kept; None where nothing was, or it is too old, or no longer to be read."""
    path = _path(requirement)
    try:
        if time.time() - path.stat().st_mtime > _GOOD_FOR_S:
            return None
        return msgspec.json.decode(path.read_bytes(), type=Known)
    except (OSError, msgspec.MsgspecError):
        return None


def keep(requirement: str, known: Known) -> None:
    """Keep it; a cache that cannot be written is no reason to fail."""
    path = _path(requirement)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("wb", dir=path.parent, suffix=".part", delete=False) as file:
            file.write(msgspec.json.encode(known))
        Path(file.name).replace(path)


def _path(requirement: str) -> Path:
    """Other indexes may have other files under the same name."""
    settings = sorted((name, value) for name, value in os.environ.items() if name.startswith("UV_"))
    digest = hashlib.sha256(repr((_EDITION, requirement, settings)).encode())
    return user_cache_path("archfit") / "sources" / f"{digest.hexdigest()}.json"
