"""Exact set cover on small tables: sets and elements are bits of integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_MOST_COVERS = 400
"""How many covers of the smallest size are looked at: more would only differ in taste."""


def smallest_covers(masks: Sequence[int], wanted: int) -> list[tuple[int, ...]]:
    """All ways to cover `wanted` with as few of `masks` as possible, as tuples of masks; none where it cannot be done.

    Exact: the size grows by one until a cover is found. Masks that cover the same are named once.
    """
    useful = sorted({mask & wanted for mask in masks} - {0}, key=lambda mask: (-mask.bit_count(), mask))
    if not wanted or _joined(useful) != wanted:
        return []
    telling = _telling(useful, wanted)
    full = {mask & telling: mask for mask in useful}
    short = sorted(full, key=lambda mask: (-mask.bit_count(), mask))
    for size in range(1, len(short) + 1):
        if found := _covers(short, telling, size):
            return [tuple(full[mask] for mask in cover) for cover in found]
    return []


def _telling(masks: Sequence[int], wanted: int) -> int:
    """One element of all those that the same masks cover: the rest follows it."""
    by_masks: dict[int, int] = {}
    for element in elements(wanted):
        by_masks.setdefault(sum((mask >> element & 1) << n for n, mask in enumerate(masks)), element)
    return sum(1 << element for element in by_masks.values())


def best_single(masks: Sequence[int], weights: Sequence[int]) -> int:
    """The mask with the greatest weight, element by element in `weights`; 0 where there is none."""
    return max(masks, key=lambda mask: (weight(mask, weights), mask), default=0)


def weight(mask: int, weights: Sequence[int]) -> int:
    """The sum of the weights of the elements in a mask."""
    return sum(weights[element] for element in elements(mask))


def elements(mask: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _covers(useful: list[int], wanted: int, size: int) -> list[tuple[int, ...]]:
    """Covers of exactly this size: whichever set serves the element that the fewest sets serve comes next."""
    found: dict[tuple[int, ...], None] = {}

    def search(left: int, chosen: tuple[int, ...]) -> None:
        if not left:
            found[tuple(sorted(chosen, reverse=True))] = None
            return
        room = size - len(chosen)
        if not room or len(found) >= _MOST_COVERS or useful[0].bit_count() * room < left.bit_count():
            return
        hardest = min(elements(left), key=lambda element: sum(mask >> element & 1 for mask in useful))
        for mask in useful:
            if mask >> hardest & 1:
                search(left & ~mask, (*chosen, mask))

    search(wanted, ())
    return list(found)


def _joined(masks: Sequence[int]) -> int:
    joined = 0
    for mask in masks:
        joined |= mask
    return joined
