"""Ways that look like one and are none, each with its reason: most bad advice is one of these."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from archfit.arch import CudaVersion
from archfit.catalog import Build, Toolkit
from archfit.model import DriverRelease, Gpu, Pin, Rejected, Text
from archfit.planner.builds import Candidate, order_of
from archfit.planner.situation import Situation


def rejections(situation: Situation, asked: Sequence[Candidate]) -> tuple[Rejected, ...]:
    """Everything that could be taken for a way out, and why it is none.

    An index whose CUDA cannot serve a GPU; a build that was made without code for one; PyPI's CPU builds; a build without a
    wheel for this Python or glibc; one that the driver blocks; one that the resolver refuses; one that leaves an extension
    without a compiler, where another does not; and 'only a new driver'.
    """
    return (
        *_toolkits(situation),
        *_built_without(situation),
        *_cpu_builds(situation),
        *_no_wheel(situation),
        *_blocked_by_driver(situation),
        *_refused(asked),
        *_stuck(asked),
        *_driver_alone(situation),
    )


# --- no code ---------------------------------------------------------------------------------------------------------


def _toolkits(situation: Situation) -> list[Rejected]:
    """One row for all CUDA releases older than a GPU, one for all that have dropped one; each in the order of releases."""
    variants = {b.variant: b.cuda for b in situation.catalog.builds if b.cuda and b.platform == situation.platform}
    for nightly in situation.catalog.nightlies:
        variants |= {v: CudaVersion.parse(v) for v in nightly.variants}
    useless: dict[tuple[str, Gpu], list[tuple[str, Toolkit]]] = {}
    for variant, cuda in sorted(variants.items(), key=lambda item: item[1]):
        toolkit = situation.catalog.toolkit(cuda)
        if toolkit and (why := _why_not(situation, toolkit)):
            useless.setdefault(why, []).append((variant, toolkit))
    return [_reject(situation, key, gpu, rows) for (key, gpu), rows in useless.items()]


def _why_not(situation: Situation, toolkit: Toolkit) -> tuple[str, Gpu] | None:
    """Which GPU this CUDA release cannot make machine code for, being too old or too new; None if it can for all."""
    for gpu in situation.gpus:
        if not situation.catalog.can_target(toolkit, gpu.capability):
            oldest = min(t.capability for t in toolkit.targets)
            return ("toolkit-too-new" if gpu.capability < oldest else "toolkit-too-old"), gpu
    return None


def _reject(situation: Situation, key: str, gpu: Gpu, rows: list[tuple[str, Toolkit]]) -> Rejected:
    plain = [t.capability for _, toolkit in rows for t in toolkit.targets if not t.suffix]
    able = [t.cuda for t in situation.catalog.toolkits if situation.catalog.can_target(t, gpu.capability)]
    values = {
        "oldest_cuda": str(rows[0][1].cuda),
        "newest_cuda": str(rows[-1][1].cuda),
        "sm": gpu.capability.sm,
        "gpu": gpu.name,
        "oldest": min(plain).sm,
        "newest": max(plain).sm,
        "first": str(min(able, default="?")),
        "last": str(max(able, default="?")),
        "driver": str(situation.driver_floor or "?"),
    }
    names = ", ".join(variant for variant, _ in rows)
    return Rejected(Text("stable-and-nightly", {"names": names}), Text(key, values))


def _built_without(situation: Situation) -> list[Rejected]:
    """Their compiler could, but these builds were made without code for a GPU."""

    def why(build: Build) -> Text | None:
        toolkit = situation.catalog.toolkit(build.cuda) if build.cuda else None
        if toolkit is None or _why_not(situation, toolkit):
            return None
        lacking = (gpu for gpu in situation.gpus if not situation.has_code(build, gpu))
        return next((Text("build-lacks", {"gpu": gpu.name, "sm": gpu.capability.sm}) for gpu in lacking), None)

    return _grouped(_here(situation), why)


def _cpu_builds(situation: Situation) -> list[Rejected]:
    """What ``pip install torch`` gives here, where that has no GPU code at all."""
    builds = [b for b in situation.catalog.builds if b.platform == situation.platform and b.on_pypi]
    values = {"platform": situation.platform}
    return _grouped(builds, lambda b: Text("cpu-build", values) if b.cuda is None else None)


# --- no wheel --------------------------------------------------------------------------------------------------------


def _no_wheel(situation: Situation) -> list[Rejected]:
    """Builds that would serve the GPUs and have no wheel for this Python, or need a newer glibc."""

    def why(build: Build) -> Text | None:
        if not situation.serves(build) or situation.installable(build):
            return None
        if situation.python_tag not in build.python_tags:
            return Text("no-wheel-python", {"python": situation.python})
        release = situation.catalog.releases[build.torch]
        mine = ".".join(map(str, situation.glibc or ()))
        return Text("no-wheel-glibc", {"needed": str(release.glibc), "glibc": mine})

    return _grouped(_here(situation), why)


def _here(situation: Situation) -> list[Build]:
    return [b for b in situation.catalog.builds if b.platform == situation.platform and b.cuda]


def _grouped(builds: Iterable[Build], why: Callable[[Build], Text | None]) -> list[Rejected]:
    """One row per reason: ``torch 2.10.0 to 2.14.1+cu126, torch 2.11.0+cu128``."""
    found: dict[Hashable, tuple[Text, dict[str, list[str]]]] = {}
    for build in builds:
        if reason := why(build):
            _, variants = found.setdefault((reason.key, *sorted(reason.values.items())), (reason, {}))
            variants.setdefault(build.variant, []).append(build.torch)
    return [Rejected(_names(_span(v, found) for v, found in variants.items()), r) for r, variants in found.values()]


def _span(variant: str, releases: Sequence[str]) -> Text:
    ordered = sorted(set(releases), key=lambda release: order_of(release) or ())
    if len(ordered) == 1:
        return Text("plain", {"text": f"torch {ordered[0]}+{variant}"})
    return Text("span", {"first": ordered[0], "last": ordered[-1], "variant": variant})


def _names(names: Iterable[Text]) -> Text:
    first, *more = names
    for name in more:
        first = Text("and", {"one": first, "other": name})
    return first


# --- the driver ------------------------------------------------------------------------------------------------------


def _blocked_by_driver(situation: Situation) -> list[Rejected]:
    """One row per driver that is wanted: the builds that would serve the GPUs but do not load on this driver."""
    if situation.driver is None or situation.driver_unfit:
        return []
    blocked: dict[DriverRelease, dict[str, str]] = {}
    for build in situation.catalog.builds:  # oldest first, so the newest release of a variant stays
        needed = situation.driver_for(build)
        if needed and situation.installable(build) and situation.serves(build) and not situation.loads(build):
            blocked.setdefault(needed, {})[build.variant] = f"torch {build.torch}+{build.variant}"
    for variant in situation.catalog.nightlies[-1].variants:
        toolkit = situation.catalog.toolkit(CudaVersion.parse(variant))
        needed = toolkit.floor.on(situation.platform) if toolkit else None
        blocks = needed and situation.driver < needed
        blocks = blocks and not situation.environment.driver_knows(CudaVersion.parse(variant))
        if toolkit and needed and blocks and _why_not(situation, toolkit) is None:
            blocked.setdefault(needed, {})[f"nightly/{variant}"] = f"nightly/{variant}"
    return [
        Rejected(
            Text("plain", {"text": ", ".join(names.values())}),
            Text("driver-blocks", {"needed": str(needed), "driver": str(situation.driver)}),
        )
        for needed, names in sorted(blocked.items())
    ]


def _driver_alone(situation: Situation) -> list[Rejected]:
    if not situation.findings & {"arch-missing-torch", "arch-dropped-torch"}:
        return []
    return [Rejected(Text("driver-only"), Text("driver-alone", {"sm": situation.capabilities[-1].sm}))]


# --- the resolver ----------------------------------------------------------------------------------------------------


def _refused(asked: Iterable[Candidate]) -> list[Rejected]:
    """Builds that the resolver says cannot be installed beside what is there."""
    rows: dict[tuple[str, ...], tuple[Text, list[str]]] = {}
    for candidate in asked:
        if candidate.answer and candidate.refused:
            name = f"torch {candidate.build.torch}+{candidate.build.variant}"
            broken, state, detail = candidate.answer.broken, candidate.answer.state, candidate.answer.detail
            key = (state, *(f"{p.package}:{p.requirement}" for p in broken)) if broken else (state, detail)
            rows.setdefault(key, (_why_refused(state, broken, detail), []))[1].append(name)
    return [Rejected(Text("plain", {"text": ", ".join(names)}), why) for why, names in rows.values()]


def _stuck(asked: Sequence[Candidate]) -> list[Rejected]:
    """Builds for which an extension cannot be compiled here, where it can for the best one."""
    if not asked or asked[0].stuck:
        return []
    found = {c.build: c for c in asked if c.stuck}

    def why(build: Build) -> Text:
        return Text("no-compiler", {"packages": ", ".join(found[build].stuck), "cuda": str(build.cuda)})

    return _grouped(sorted(found, key=lambda build: build.order), why)


def _why_refused(state: str, broken: Sequence[Pin], detail: str) -> Text:
    if state == "conflict" and broken:
        return Text("conflict-pins", {"pins": "; ".join(map(str, broken))})
    return Text(f"resolver-{state}", {"detail": detail})
