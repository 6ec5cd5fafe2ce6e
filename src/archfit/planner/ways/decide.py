"""Decide what becomes of each extension: pure, one package at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from archfit.arch import ComputeCapability, CudaVersion, Target, judge_code
from archfit.buildscript import BuildScript
from archfit.catalog.extensions import Case, Extension, Extensions, Fixed, Successor, holds
from archfit.catalog.recipes import find_recipe, standard_for
from archfit.model import Distribution, Text, Way
from archfit.planner.ways.commands import Commands, rebuild_commands, successor_commands, wheel_commands
from archfit.planner.ways.goal import Goal, Offer

TORCH_FAMILY = frozenset({"torch", "torchvision", "torchaudio"})
_GIB = 1 << 30


def ways_of(goal: Goal, installed: Sequence[Distribution], extensions: Extensions) -> tuple[Way, ...]:
    """What becomes of every installed package with GPU code or torch's ABI, and of those that are known to care.

    Packages that are neither are not in the answer; torch and its family are the planner's.
    """
    found = (way_of(goal, d, extensions) for d in installed if d.version and d.name not in TORCH_FAMILY)
    return tuple(way for way in found if way)


def way_of(goal: Goal, package: Distribution, extensions: Extensions) -> Way | None:
    """What becomes of one package; None where nothing about it depends on torch or the GPU."""
    row = extensions.find(package.name)
    lacks = package.name in goal.lacking
    if row is None and not package.torch_extensions and not lacks:
        return None
    build = goal.builds.get(package.name) if row is None else None
    row = row or _unknown(package, build)
    cases = [case for case in row.cases if _fits(case, goal, package)]
    notes = (*(Text(case.says) for case in cases), *_seen_in(build))
    if row.how == "pure":
        return _keep(package, notes) if notes and goal.torch_moves else None
    served = tuple(d for d in goal.devices if not _refused(row, package, d))
    refusals = _refusal_notes(row, package, goal)
    if not served:
        return Way("refused", package.name, package.version, package.name, None, None, refusals)
    if row.how == "jit":
        return _keep(package, (*refusals, *_jit_notes(goal, row), *notes))
    if not lacks and not _moved(goal, package):
        reason = Text("way-keep-unlinked") if goal.torch_moves else Text("way-keep-code")
        return _keep(package, (*refusals, reason))
    if successor := _successor(goal, row, served):
        return _replace(goal, package, successor)
    if offer := _offer(goal, package, served):
        return _wheel(goal, package, offer)
    if row.page and holds(row.page_torch, goal.torch) and goal.cuda and package.torch_extensions:
        return _from_page(goal, package, row)
    if row.how == "wheels" and not row.sdist:
        why = (*refusals, Text("way-no-wheel", {"package": str(package), "torch": goal.torch}), *notes)
        return Way("none", package.name, package.version, package.name, None, None, why)
    return _rebuild(
        goal, package, row, served, (*refusals, *notes), [c for case in cases for c in case.patch], extensions
    )


def _unknown(package: Distribution, build: BuildScript | None) -> Extension:
    """A package without a row: what its sources say where they were read, else the advice to look into them.

    A list in the sources counts; for all others torch's own variable is tried.
    """
    plain = Extension(package.name, (package.name,), "sdist", "", "")
    if build is None or build.choice not in ("hard-coded", "torch"):
        return plain
    read = replace(plain, source=f"{build.package} {build.version}: its sources, read for this plan")
    if build.choice == "torch":
        return read
    exactly = SpecifierSet(f"=={package.version.partition('+')[0]}")
    return replace(read, hard_coded=True, fixed=(Fixed(exactly, build.targets, build.version),))


def _seen_in(build: BuildScript | None) -> tuple[Text, ...]:
    """Where the sources of a package name their GPUs."""
    if build is None or build.choice != "hard-coded":
        return ()
    spot = build.flags[0].spot
    return (Text("way-seen", {"sources": f"{build.package} {build.version}", "spot": f"{spot.file}:{spot.line}"}),)


def _fits(case: Case, goal: Goal, package: Distribution) -> bool:
    if case.beside:
        version = goal.installed.get(canonicalize_name(case.beside.name))
        if version is None or not holds(case.beside.specifier, version):
            return False
    cuda = str(goal.cuda) if goal.cuda else "0"
    pairs = ((case.versions, package.version), (case.torch, goal.torch), (case.python, goal.python), (case.cuda, cuda))
    return all(holds(bounds, version) for bounds, version in pairs)


def _refused(row: Extension, package: Distribution, device: ComputeCapability) -> bool:
    return any(r.refuses(device) and holds(r.versions, package.version) for r in row.refusals)


def _refusal_notes(row: Extension, package: Distribution, goal: Goal) -> tuple[Text, ...]:
    notes = []
    for refusal in row.refusals:
        refused = [d.sm for d in goal.devices if refusal.refuses(d) and holds(refusal.versions, package.version)]
        if refused:
            notes.append(Text(refusal.says, {"package": str(package), "targets": ", ".join(refused)}))
    return tuple(notes)


def _moved(goal: Goal, package: Distribution) -> bool:
    """Does a new torch break it: compiled against the old one, or pinned to it?"""
    return goal.torch_moves and (bool(package.torch_extensions) or not _admits(package.requires, goal.torch))


def _admits(requires: Sequence[str], torch: str) -> bool:
    """Do these requirements let this release of torch in?"""
    for text in requires:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue
        always = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
        if canonicalize_name(wanted.name) == "torch" and always and not holds(wanted.specifier, torch):
            return False
    return True


def _keep(package: Distribution, why: tuple[Text, ...]) -> Way:
    return Way("keep", package.name, package.version, package.name, package.version, None, why)


def _jit_notes(goal: Goal, row: Extension) -> tuple[Text, ...]:
    archs = ";".join(str(device) for device in goal.devices)
    return (Text("way-jit", {"package": row.package, "cuda": str(goal.cuda or "?"), "archs": archs}),)


# --- another wheel, or another package -------------------------------------------------------------------------------


def _successor(goal: Goal, row: Extension, served: Sequence[ComputeCapability]) -> Successor | None:
    """Ready wheels for exactly this torch, CUDA and Python, with code for every GPU."""
    if goal.platform != "linux_x86_64":
        return None
    return next(
        (
            s
            for s in row.successors
            if s.torch == goal.torch
            and s.cuda == goal.cuda
            and goal.python_tag in s.pythons
            and not lacking(s.targets, served, s.cuda)
        ),
        None,
    )


def lacking(
    targets: Sequence[Target], devices: Sequence[ComputeCapability], cuda: CudaVersion | None
) -> list[ComputeCapability]:
    """GPUs that none of these targets serves."""
    return [d for d in devices if not any(judge_code(target, d, cuda).runs for target in targets)]


def _replace(goal: Goal, package: Distribution, successor: Successor) -> Way:
    values = {"package": str(package), "successor": successor.package, "torch": goal.torch, "cuda": str(goal.cuda)}
    commands = successor_commands(goal, package.name, successor.package, successor.version, successor.index)
    return Way(
        "replace",
        package.name,
        package.version,
        successor.package,
        successor.version,
        successor.index,
        (Text("way-replace", values),),
        pip=commands.pip,
        uv=commands.uv,
    )


def _offer(goal: Goal, package: Distribution, served: Sequence[ComputeCapability]) -> Offer | None:
    """The newest wheel that fits Python and platform, lets this torch in and has code for every GPU.

    One that links torch must name it: who names no torch does not say which ABI it has.
    """
    fitting = [
        offer
        for offer in goal.offers(package.name)
        if offer.platform in (goal.platform, "any")
        and _for_python(offer, goal)
        and _for_glibc(offer, goal.glibc)
        and offer.version != package.version
        and _admits(offer.requires, goal.torch)
        and (not package.torch_extensions or _names_torch(offer.requires))
        and all(offer.verdict(device).runs for device in served)
    ]
    return max(fitting, key=lambda offer: _version(offer.version), default=None)


def _names_torch(requires: Sequence[str]) -> bool:
    return any(text.replace(" ", "").startswith("torch=") for text in requires)


def _for_python(offer: Offer, goal: Goal) -> bool:
    """``cp311`` for itself; ``py39``, and ``cp38`` with the stable ABI, for their own Python and all newer ones."""
    if offer.requires_python and not holds(SpecifierSet(offer.requires_python), goal.python):
        return False
    stable = "-abi3-" in offer.file and not goal.python_tag.endswith("t")
    floors = [tag[2:] for tag in offer.python_tags if tag.startswith("py3") or (stable and tag.startswith("cp3"))]
    own = int(goal.python_tag.removeprefix("cp3").rstrip("t") or 0)
    return goal.python_tag in offer.python_tags or any(int(floor[1:] or 0) <= own for floor in floors)


def _for_glibc(offer: Offer, glibc: tuple[int, ...] | None) -> bool:
    return not offer.glibc or not glibc or glibc >= tuple(map(int, offer.glibc.split(".")))


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")


def _wheel(goal: Goal, package: Distribution, offer: Offer) -> Way:
    index = None if offer.index == "PyPI" else offer.index
    commands = wheel_commands(goal, f"{package.name}=={offer.version}", index, None)
    why = (Text("way-wheel", {"package": f"{package.name} {offer.version}", "torch": goal.torch}),)
    return _act("wheel", package, offer.version, offer.index, why, commands)


def _from_page(goal: Goal, package: Distribution, row: Extension) -> Way:
    variant = f"cu{goal.cuda.major}{goal.cuda.minor}" if goal.cuda else "cpu"
    page = row.page.format(torch=goal.torch, variant=variant)
    commands = wheel_commands(goal, package.name, None, page)
    return _act("wheel", package, None, page, (Text("way-page", {"page": page, "source": row.source}),), commands)


# --- compile again ---------------------------------------------------------------------------------------------------


def _rebuild(
    goal: Goal,
    package: Distribution,
    row: Extension,
    served: Sequence[ComputeCapability],
    notes: tuple[Text, ...],
    patch: Sequence[str],
    extensions: Extensions,
) -> Way:
    version = package.version.partition("+")[0]
    listed = row.fixed_targets(version)
    missing = lacking(listed, served, goal.cuda) if listed else []
    values = {"package": str(package), "targets": _names(missing), "listed": " ".join(str(t) for t in listed)}
    if missing and (newer := _newer_release(row, served, goal.cuda)):
        version = newer
        notes = (Text("way-fixed-newer", {**values, "newer": newer}), *notes)
    elif missing and not row.hard_coded:
        why = (Text("way-fixed-refuses", values), *notes)
        return Way("refused", package.name, package.version, package.name, None, None, why)
    elif missing:
        notes = (Text("way-fixed-append", values), *notes)
    needed, edits = standard_for(goal.torch), list[str]()
    if row.cxx and row.cxx < needed:
        edit = f"sed -i 's/-std=c++{row.cxx}/-std=c++{needed}/g' {row.build_file}"
        edits = [edit]
        notes = (*notes, _standard_note(goal, row, needed))
    reason = "way-rebuild-abi" if _moved(goal, package) else "way-rebuild-code"
    why = (Text(reason, {"package": str(package), "torch": goal.torch}), *notes, *_build_notes(goal, row, extensions))
    commands = rebuild_commands(goal, row, version, served, edits, patch)
    return _act("rebuild", package, version, None, why, commands, goal, row)


def _standard_note(goal: Goal, row: Extension, needed: int) -> Text:
    values = {"asked": str(row.cxx), "needed": str(needed), "torch": goal.torch, "package": row.package}
    return Text("way-standard" if row.sdist else "way-standard-edit", values)


def _newer_release(row: Extension, served: Sequence[ComputeCapability], cuda: CudaVersion | None) -> str | None:
    """The newest release whose sources name every GPU."""
    return next((f.release for f in reversed(row.fixed) if not lacking(f.targets, served, cuda)), None)


def _build_notes(goal: Goal, row: Extension, extensions: Extensions) -> list[Text]:
    """Which compiler, how long, how much memory, from where."""
    notes = []
    if goal.cuda:
        gcc = extensions.gcc_below(goal.cuda)
        values = {"cuda": str(goal.cuda), "major": str(goal.cuda.major), "gcc": str(gcc)}
        notes.append(Text("way-toolkit-gcc" if gcc else "way-toolkit", values))
    memory = {"memory": f"{find_recipe(row.package).gib_per_job:g}"}
    if row.cost:
        values = {"minutes": str(row.cost.minutes), "jobs": str(row.cost.jobs), "source": row.cost.source, **memory}
        notes.append(Text("way-cost", values))
    else:
        notes.append(Text("way-cost-unknown", memory))
    notes += [Text("way-git", {"address": row.address})] if row.how == "git" else []
    notes += [] if row.source else [Text("way-unknown", {"package": row.package})]
    return notes


def _act(
    kind: str,
    package: Distribution,
    wanted: str | None,
    index: str | None,
    why: tuple[Text, ...],
    commands: Commands,
    goal: Goal | None = None,
    row: Extension | None = None,
) -> Way:
    memory = find_recipe(row.package).gib_per_job if row else None
    return Way(
        "rebuild" if kind == "rebuild" else "wheel",
        package.name,
        package.version,
        package.name,
        wanted,
        index,
        why,
        toolkit=str(goal.cuda) if goal and goal.cuda else None,
        minutes=row.cost.minutes if row and row.cost else None,
        memory_bytes=round(memory * _GIB) if memory else None,
        pip=commands.pip,
        uv=commands.uv,
    )


def _names(devices: Sequence[ComputeCapability]) -> str:
    return ", ".join(device.sm for device in devices)
