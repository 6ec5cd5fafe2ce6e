"""Answers kept for a while: PyPI's own pages are good for ten minutes, and so is what follows from them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import site_config_path, user_cache_path, user_config_path

from archfit.model import LockedPackage, Pin, Question, Resolution
from archfit.resolver.ground import Ground

_GOOD_FOR_S = 600
_EDITION = 2
"""Raised whenever an answer means something else: older ones are asked anew."""


class Kept:
    """The answers about one environment, in the user's cache; a cache that cannot be used is no reason to fail."""

    def __init__(self, ground: Ground) -> None:
        self._folder = user_cache_path("archfit") / "resolver"
        settings = {name: value for name, value in os.environ.items() if name.startswith("UV_")}
        self._stands_on = repr(
            (
                _EDITION,
                version("uv"),
                ground.words,
                ground.python_tag,
                [(d.name, d.version, d.requires) for d in ground.installed],
                sorted(ground.markers.items()),
                sorted(settings.items()),
                [_stamp(path / "uv" / "uv.toml") for path in (user_config_path(), site_config_path())],
                str(Path.cwd()),  # uv reads the settings of the project that it is called in
            )
        )

    def load(self, question: Question) -> Resolution | None:
        """The answer that was kept; None if there is none, or it is too old."""
        path = self._path(question)
        try:
            if time.time() - path.stat().st_mtime > _GOOD_FOR_S:
                return None
            row = json.loads(path.read_text("utf-8"))
            return Resolution(
                row["state"],
                tuple(LockedPackage(**{**p, "hashes": tuple(p["hashes"])}) for p in row["locked"]),
                tuple(Pin(**pin) for pin in row["moved"]),
                tuple(Pin(**pin) for pin in row["broken"]),
                row["detail"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, question: Question, answer: Resolution) -> None:
        """Keep an answer; silence is none."""
        if answer.state == "unreachable":
            return
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._forget_old()
            _write(self._path(question), asdict(answer))

    def _path(self, question: Question) -> Path:
        digest = hashlib.sha256(f"{self._stands_on}{question!r}".encode())
        return self._folder / f"{digest.hexdigest()}.json"

    def _forget_old(self) -> None:
        for path in self._folder.glob("*.json"):
            if time.time() - path.stat().st_mtime > _GOOD_FOR_S:
                path.unlink(missing_ok=True)


def _write(path: Path, document: dict[str, Any]) -> None:
    """Never half a file under the name that is read."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", encoding="utf-8", delete=False) as file:
        json.dump(document, file)
    Path(file.name).replace(path)


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
