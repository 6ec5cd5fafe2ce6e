"""Checkpoints read back: as they are, or as the model in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from lss_swin.config import Config, apply_option
from lss_swin.model import Lss
from nuscenes_bev.errors import UsageError


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Weights, optimiser, step and configuration; tensors and plain values only, so no file can run code.

    Raises:
        UsageError: the file is missing, damaged, or no checkpoint of this program.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as exc:
        first = (str(exc).strip() or type(exc).__name__).splitlines()[0]
        raise UsageError(f"cannot read checkpoint {path}: {first}") from exc
    if not isinstance(stored, dict) or stored.get("schema") != "lss_swin.checkpoint/1":
        raise UsageError(f"{path} is not a checkpoint of lss_swin")
    return stored


def newest_checkpoint(place: str) -> str:
    """The file itself; of a folder, its newest checkpoint.

    Raises:
        UsageError: there is none.
    """
    if not Path(place).is_dir():
        return place
    found = sorted(Path(place).glob("iter_*.pth"))
    if not found:
        raise UsageError(f"{place} holds no checkpoint (iter_*.pth)")
    return str(found[-1])


def open_model(checkpoint: str, device: torch.device, options: Iterable[str] = ()) -> tuple[Lss, Config]:
    """The model of a checkpoint with its own configuration, changed by `a.b=c` options."""
    stored = load_checkpoint(checkpoint)
    config: Config = stored["config"]
    for option in options:
        apply_option(config, option)
    model = Lss(config)
    try:
        model.load_state_dict(stored["model"])
    except RuntimeError as exc:
        raise UsageError(f"{checkpoint} does not fit these options: {str(exc).splitlines()[-1].strip()}") from exc
    return model.to(device, memory_format=torch.channels_last).eval(), config
