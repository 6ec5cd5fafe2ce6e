"""Published builds of torch, what belongs to each release, and the nightly builds.

Rows come from ``builds.json``; where the wheel of a row was read (`wheels`), what was measured takes the place of what the
row says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict, judge_code
from archfit.catalog.libraries import loading_of
from archfit.catalog.tables import load_json
from archfit.catalog.wheels import Wheel
from archfit.coverage import base_targets_of

_TABLE = "builds.json"
_RELEASE = re.compile(r"\d+(\.\d+)+")


@dataclass(frozen=True, slots=True)
class Build:
    """One published build of torch; `index` is ``PyPI`` or the address of a package index."""

    torch: str
    variant: str
    cuda: CudaVersion | None
    platform: str
    index: str
    python_tags: tuple[str, ...]
    targets: tuple[Target, ...]
    confidence: str
    source: str
    wheel: Wheel | None = None
    """What was read in its wheel, where that was done."""

    @property
    def on_pypi(self) -> bool:
        """True for what ``pip install torch==X`` gives without an index option."""
        return self.index == "PyPI"

    @property
    def order(self) -> tuple[int, ...]:
        """Sorts by release: 2.10.0 comes after 2.9.1."""
        return tuple(int(part) for part in self.torch.split("."))

    def verdict(self, device: ComputeCapability) -> Verdict:
        """Can this build run on `device`: by the bytes of its wheel, else by the targets in its row?"""
        if self.wheel and self.targets:
            return self.wheel.verdict(device)
        found = {judge_code(target, device, self.cuda) for target in self.targets}
        order = (Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT)
        return next((v for v in order if v in found), Verdict.NONE)


@dataclass(frozen=True, slots=True)
class Release:
    """What belongs to one torch release: the versions of its companions, and the glibc its wheels need."""

    torch: str
    torchvision: tuple[str, ...]
    torchaudio: tuple[str, ...]
    glibc: str | None
    requires_python: str
    source: str


@dataclass(frozen=True, slots=True)
class Nightly:
    """A period of nightly builds; `targets` is empty where no list was published."""

    torch: str
    period: str
    variants: tuple[str, ...]
    targets: tuple[Target, ...]
    source: str


def load_builds(measured: Iterable[Wheel]) -> tuple[Build, ...]:
    """Every published build that is known, oldest first; `measured` are the wheels of torch that were read."""
    table = load_json(_TABLE)
    rows = {
        (row["torch"], row["platform"], row["index"], row["cuda"] or ""): Build(
            torch=row["torch"],
            variant=row["variant"],
            cuda=CudaVersion.parse(row["cuda"]) if row["cuda"] else None,
            platform=row["platform"],
            index=row["index"],
            python_tags=tuple(row["python_tags"]),
            targets=_targets(row["sass"], row["ptx"]),
            confidence=row["confidence"],
            source=table["sources"][row["source"]],
        )
        for row in table["builds"]
    }
    for wheel in measured:
        if wheel.index and _RELEASE.fullmatch(wheel.version.partition("+")[0]):
            _add(rows, wheel)
    return tuple(sorted(rows.values(), key=lambda build: (build.order, build.variant)))


_Key = tuple[str, str, str, str]


def _add(rows: dict[_Key, Build], wheel: Wheel) -> None:
    """What was read in one wheel; PyPI has one build of a release for each platform, whatever was written about it."""
    key = (wheel.version.partition("+")[0], wheel.platform, wheel.index, str(wheel.cuda or ""))
    wrong = [k for k in rows if k[:3] == key[:3] and k != key] if wheel.on_pypi else []
    known = rows.get(key)
    for other in wrong:
        del rows[other]
    rows[key] = Build(
        torch=key[0],
        variant=f"cu{wheel.cuda.major}{wheel.cuda.minor}" if wheel.cuda else "cpu",
        cuda=wheel.cuda,
        platform=wheel.platform,
        index=wheel.index,
        python_tags=tuple(dict.fromkeys((*(known.python_tags if known else ()), *wheel.python_tags))),
        targets=_main_targets(wheel),
        confidence="measured",
        source=f"{wheel.source}: {wheel.file}, {wheel.read}",
        wheel=wheel,
    )


def _main_targets(wheel: Wheel) -> tuple[Target, ...]:
    """What torch's own library was built for, without the targets of single kernels."""
    named = loading_of(wheel.package).main
    mains = [lib for lib in wheel.libraries if any(fnmatchcase(lib.name, pattern) for pattern in named)]
    main = max(mains, key=lambda lib: sum(c.count for c in lib.containers), default=None)
    return tuple(map(_target, base_targets_of(main))) if main else ()


def load_releases() -> dict[str, Release]:
    """By torch version."""
    table = load_json(_TABLE)
    return {
        row["torch"]: Release(
            row["torch"],
            tuple(row["torchvision"] or ()),
            tuple(row["torchaudio"] or ()),
            row["glibc"],
            row["requires_python"],
            table["sources"][row["source"]],
        )
        for row in table["releases"]
    }


def load_nightlies() -> tuple[Nightly, ...]:
    """Nightly periods, oldest first."""
    table = load_json(_TABLE)
    return tuple(
        Nightly(
            row["torch"],
            row["period"],
            tuple(row["variants"]),
            _targets(row["sass"] or (), row["ptx"] or ()),
            table["sources"][row["source"]],
        )
        for row in table["nightlies"]
    )


def _targets(sass: list[str] | tuple[()], ptx: list[str] | tuple[()]) -> tuple[Target, ...]:
    return (*(_target("sm_" + text) for text in sass), *(_target("compute_" + text) for text in ptx))


@cache  # a dozen targets stand in hundreds of rows
def _target(text: str) -> Target:
    return Target.parse(text.replace(".", ""))
