"""Many names in few words: ``node[001-128,130]``, as Slurm writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBERED = re.compile(r"(.*?)(\d{1,9})(\D{0,64})\Z", re.DOTALL)


def fold_names(names: Iterable[str]) -> str:
    """The names with runs of numbers folded, in order, each once."""
    names = list(names)
    split = {name: match.groups() for name in set(names) if (match := _NUMBERED.match(name))}
    plain = sorted(set(names) - split.keys())
    padded = {
        (head, tail, len(digits)) for head, digits, tail in split.values() if digits[0] == "0" and len(digits) > 1
    }
    groups: dict[tuple[str, str, int], list[int]] = {}
    for head, digits, tail in split.values():
        width = len(digits) if (head, tail, len(digits)) in padded else 0
        groups.setdefault((head, tail, width), []).append(int(digits))
    folded = [_folded(key, numbers) for key, numbers in groups.items()]
    return ", ".join(sorted([*plain, *folded]))


def _folded(key: tuple[str, str, int], numbers: list[int]) -> str:
    head, tail, width = key
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    texts = ["-".join(f"{number:0{width}d}" for number in run) for run in runs]
    inner = ",".join(texts)
    return f"{head}{inner}{tail}" if len(numbers) == 1 else f"{head}[{inner}]{tail}"


def short_names(names: Iterable[str], limit: int = 60) -> str:
    """Folded names, cut at about `limit` characters with the number of all."""
    names = list(names)
    folded = fold_names(names)
    return folded if len(folded) <= limit else f"{folded[: limit - 1].rstrip(' ,')}… ({len(set(names))})"
