"""What conda installed is conda's to change: who owns what in a prefix, and the command that changes it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from packaging.utils import canonicalize_name

from archfit.errors import ApplyError

_METADATA = re.compile(r"site-packages/(?P<name>[^/]+?)-(?P<version>[^/-]+)(?:-[^/]*)?\.(?:dist|egg)-info/")
_TORCH_PACKAGE = "pytorch-gpu"
"""conda-forge's name for torch with CUDA; its builds for CUDA 12.9 hold code up to 12.0 (recipe of torch's extensions in
prefix-dev/rattler-build-parser-tests, read 2026-11-25). The `pytorch` channel ended with torch 2.5 (pytorch.org)."""


def refuse_conda_owned(root: Path, wanted: Mapping[str, str | None], cuda: str | None) -> None:
    """Refuse to replace with wheels what conda installed.

    `wanted` are the packages that change, with their new versions; `cuda` is that of the torch that is wanted.

    Raises:
        ApplyError: names the packages, and the conda command that does it.
    """
    owned = conda_owned(root)
    mine = {name: version for name, version in wanted.items() if name in owned}
    if mine:
        command = _command(root, mine, owned, cuda)
        raise ApplyError("refuse-conda-owned", packages=", ".join(mine), target=root, command=command)


def conda_owned(root: Path) -> dict[str, str]:
    """Python packages that conda installed and that are still those: their name, and conda's name for them."""
    owned: dict[str, str] = {}
    for record in (root / "conda-meta").glob("*.json"):
        try:
            told = json.loads(record.read_bytes())
            files, name = list(map(str, told["files"])), str(told["name"])
        except (KeyError, OSError, TypeError, ValueError):
            continue  # a record that conda itself could not read
        owned |= dict.fromkeys(_distributions(root, files), name)
    return owned


def _distributions(root: Path, files: Collection[str]) -> Iterator[str]:
    for file in files:
        # What pip replaced is listed still, but its metadata is gone.
        if (match := _METADATA.search(file)) and (root / file).exists():
            yield canonicalize_name(match["name"])


def _command(root: Path, wanted: Mapping[str, str | None], owned: Mapping[str, str], cuda: str | None) -> str:
    words = ["conda", "install", "--prefix", str(root), "--channel", "conda-forge"]
    for name, version in wanted.items():
        release = (version or "").partition("+")[0]
        if name == "torch":
            words += [f"{_TORCH_PACKAGE}>={release}" if release else _TORCH_PACKAGE]
            words += [f"cuda-version>={cuda}"] if cuda else []
        else:
            words.append(f"{owned[name]}={release}" if release else owned[name])
    return shlex.join(words)
