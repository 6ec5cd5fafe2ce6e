"""How the rooms of the catalog read their files: each once, when first asked for."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent  # importlib.resources would cost a tenth of the start-up


@cache
def load_json(name: str) -> dict[str, Any]:
    """A JSON table of this folder."""
    loaded: dict[str, Any] = json.loads((_FOLDER / name).read_text("utf-8"))
    return loaded


@cache
def load_toml(name: str) -> dict[str, Any]:
    """A TOML table of this folder."""
    return tomllib.loads((_FOLDER / name).read_text("utf-8"))
