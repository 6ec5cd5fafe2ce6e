"""The order of the ways out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from archfit.model import Option

_EFFORT = {"install": 0, "run": 0, "driver": 0, "replace": 0, "rebuild": 1, "leave": 1, "build": 2}


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """What decides, the first field first; the last is the place among options that are alike in all others.

    `effort` is 0 where everything is ready to install, 1 where a package must be compiled again or is left behind, 2 where
    torch must.
    """

    leaves_a_gpu: bool
    changes_driver: bool
    nightly: bool
    effort: int
    place: int


def ranked(options: Iterable[Option], partial: Iterable[Option] = ()) -> list[Option]:
    """Best first; `partial` ones leave a GPU of the machine without code."""
    whole = list(options)
    placed = [(_rank(option, place, leaves=False), option) for place, option in enumerate(whole)]
    placed += [(_rank(option, place, leaves=True), option) for place, option in enumerate(partial, len(whole))]
    return [option for _, option in sorted(placed, key=lambda row: row[0])]


def _rank(option: Option, place: int, *, leaves: bool) -> Rank:
    effort = max((_EFFORT[step.action] for step in option.steps), default=0)
    if option.kind == "rebuild":
        effort = max(effort, 1)
    return Rank(leaves, option.kind == "driver", option.kind == "nightly", effort, place)
