"""What the kept states of an environment take on the disk beside what they share."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from archfit.model import History

_BLOCK_BYTES = 512
"""Unit of `st_blocks`, whatever the file system's own blocks are: stat(2)."""


def kept_bytes(history: History) -> dict[int, int]:
    """For each state that stands on the disk, the bytes that only it takes: what giving it up alone would free.

    A file counts if all its names are in that one state; what it shares with another state, with the live environment or
    with an installer's cache would not become free.
    """
    return {s.id: freed_bytes([s.path]) for s in history.states if s.path and not s.live}


def freed_bytes(folders: Collection[Path]) -> int:
    """What removing these folders together would free."""
    names: dict[tuple[int, int], int] = {}
    total = 0
    for folder in folders:
        for status in _walk(folder):
            key = (status.st_dev, status.st_ino)
            names[key] = names.get(key, 0) + 1
            if names[key] == status.st_nlink:
                total += status.st_blocks * _BLOCK_BYTES
    return total


def _walk(folder: Path) -> Iterator[os.stat_result]:
    """Every file and link below a folder; folders themselves take next to nothing."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            else:
                yield entry.stat(follow_symlinks=False)
