"""What conda's own records of a prefix say."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from archfit.model import CondaPrefix

# A folder, or for what distutils installed a file: six-1.16.0.dist-info/METADATA, PyYAML-5.4-py3.9.egg-info
_METADATA = re.compile(r"site-packages/(?P<name>[^/]+?)-(?P<version>[^/-]+)(?:-[^/]*)?\.(?:dist-info/|egg-info(?:/|$))")


def read_conda(root: Path) -> CondaPrefix | None:
    """The records of a prefix; None for what conda, mamba and the like did not make."""
    folder = root / "conda-meta"
    if not folder.is_dir():
        return None
    packages: set[str] = set()
    owns: dict[str, str] = {}
    for record in sorted(folder.glob("*.json")):
        try:
            told = json.loads(record.read_bytes())
            files, name = list(map(str, told["files"])), str(told["name"])
        except (KeyError, OSError, TypeError, ValueError):
            continue  # a record that conda itself could not read
        packages.add(name)
        owns |= dict.fromkeys(_distributions(root, files), name)
    return CondaPrefix(frozenset(packages), owns)


def _distributions(root: Path, files: Collection[str]) -> Iterator[str]:
    for file in files:
        # What pip replaced is listed still, but its metadata is gone.
        if (match := _METADATA.search(file)) and (root / file).exists():
            yield canonicalize_name(match["name"])
