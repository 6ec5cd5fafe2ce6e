"""Which builds are worth offering, nearest first."""

from __future__ import annotations

from archfit.catalog import Build
from archfit.planner.situation import Situation

_TRUST = ("measured", "documented", "inferred")


def serving(situation: Situation) -> list[Build]:
    """Builds that can be installed and hold code for every GPU, whatever the driver; oldest first."""
    return [b for b in situation.catalog.builds if situation.installable(b) and situation.serves(b)]


def candidates(situation: Situation, *, latest: bool) -> list[Build]:
    """Builds that can be installed, hold code for every GPU and load on the driver; best first.

    Never downgrade if there is another way; then what PyPI has (the default of every installer, and measured) before
    what only the PyTorch index has; then by distance from what is installed, or the newest first.
    """
    fitting = serving(situation)
    current = _order(situation.torch_release)

    def rank(build: Build) -> tuple[bool, bool, int, tuple[int, ...], tuple[int, ...]]:
        downgrade = current is not None and build.order < current
        trust = _TRUST.index(build.confidence)
        newest = tuple(-part for part in build.order)
        if latest or current is None:
            return downgrade, not build.on_pypi, trust, newest, _cuda_order(build)
        return downgrade, not build.on_pypi, trust, _distance(build, current), _cuda_order(build)

    return sorted((b for b in fitting if situation.loads(b)), key=rank)


def select(builds: list[Build]) -> list[Build]:
    """The few worth showing: the best, the newest from PyPI, and the best from the PyTorch index."""
    from_pypi = [b for b in builds if b.on_pypi]
    picked = [*builds[:1], *([max(from_pypi, key=lambda b: b.order)] if from_pypi else [])]
    picked += [b for b in builds if not b.on_pypi and not any(b.torch == p.torch for p in picked)][:1]
    return list(dict.fromkeys(picked))


def _order(release: str | None) -> tuple[int, ...] | None:
    return tuple(int(part) for part in release.split(".")) if release else None


def _distance(build: Build, current: tuple[int, ...]) -> tuple[int, ...]:
    """Minor releases apart; within the same minor release the newest patch is the nearest in spirit."""
    major, minor, patch = build.order
    return abs(major - current[0]), abs(minor - current[1]), -patch


def _cuda_order(build: Build) -> tuple[int, ...]:
    return (build.cuda.major, build.cuda.minor) if build.cuda else (0, 0)
