"""Which wheels fit an interpreter that may not be here."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_USUAL_GLIBC = (2, 28)  # what PyPI's builds of torch ask for from 2.7 on
_OLDEST_MINOR = {"x86_64": 5, "aarch64": 17}


def tags_for(python_tag: str, platform: str, libc: str | None) -> tuple[Tag, ...]:
    """All tags of wheels that ``cp311`` on ``linux_x86_64`` takes, best first; `libc` is like ``glibc 2.36``."""
    digits = python_tag.removeprefix("cp").rstrip("t")
    version = (int(digits[:1]), int(digits[1:]))
    platforms = _platforms(platform, libc)
    own = cpython_tags(version, [python_tag] if python_tag.endswith("t") else None, platforms)
    return (*own, *compatible_tags(version, f"cp{digits}", platforms))


def best_fit(files: Iterable[str], tags: tuple[Tag, ...]) -> str | None:
    """The file name that fits best; None where none does."""
    order = {tag: place for place, tag in enumerate(tags)}
    ranked = [(min(places), file) for file in files if (places := [order[t] for t in _tags(file) if t in order])]
    return min(ranked)[1] if ranked else None


def _tags(file: str) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(file)[3]
    except InvalidWheelFilename:
        return frozenset()


def _platforms(platform: str, libc: str | None) -> list[str]:
    if not platform.startswith("linux_"):
        return [platform]
    machine = platform.removeprefix("linux_")
    match = re.match(r"glibc (\d+)\.(\d+)", libc or "")
    newest = (int(match[1]), int(match[2])) if match else _USUAL_GLIBC
    names = []
    for minor in range(newest[1], _OLDEST_MINOR.get(machine, 17) - 1, -1):
        names.append(f"manylinux_2_{minor}_{machine}")
        if legacy := _LEGACY.get((2, minor)):
            names.append(f"{legacy}_{machine}")
    return [*names, platform]
