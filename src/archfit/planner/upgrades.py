"""Another build of torch as an option: steps, price, risks and the commands that do the same by hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from archfit.catalog import Build
from archfit.model import LockedPackage, Option, Pin, Question, Requires, Resolution, Step, Text, TorchBuild
from archfit.planner.builds import Candidate, specs_of
from archfit.planner.extensions import way_steps, ways_for
from archfit.planner.jetson import jetson_risks
from archfit.planner.options import commands, install_step
from archfit.planner.situation import TORCH_INDEX, Situation

# Unpacked size over wheel size, of all wheels of torch 2.8.0 with CUDA 12.8 from PyPI: 6.80 GB over 3.95 GB. Measured
# 2026-11-23 on Linux x86_64; see docs/measurements.md.
_UNPACKED_PER_WHEEL_BYTE = 1.72


def upgrade_option(situation: Situation, candidate: Candidate) -> Option:
    """Install this build; torchvision and torchaudio move with it, and so does what the resolver had to move."""
    build, answer = candidate.build, candidate.answer
    index = None if build.on_pypi else build.index
    specs = specs_of(situation, build)
    same = situation.torch_release == build.torch
    capabilities = ", ".join(str(c) for c in situation.capabilities if build.verdict(c).runs)
    values = {"torch": build.torch, "cuda": str(build.cuda), "index": build.index, "capabilities": capabilities}
    why = (Text(f"build-{build.confidence}", {**values, "targets": " ".join(str(t) for t in build.targets)}),)
    locked = answer.locked if answer and candidate.confirmed else ()
    moved = moved_steps(answer) if answer and candidate.confirmed else ()
    ways = ways_for(situation, build.torch, build.cuda, moves=not same, changed={p.name for p in locked})
    wanted = [*(f"{name}=={version}" for name, version in specs.items()), *(f"{s.package}=={s.wanted}" for s in moved)]
    return Option(
        kind="upgrade",
        summary=Text("upgrade", values),
        steps=(
            *(install_step(situation, name, version, build.index, why) for name, version in specs.items()),
            *moved,
            *way_steps(ways),
        ),
        torch=TorchBuild(build.torch, str(build.cuda), build.index),
        requires=priced(
            Requires(driver=situation.driver_for(build), python=_requires_python(situation, build)),
            locked,
        ),
        risks=(
            *jetson_risks(situation),
            *_risks(situation, build),
            *_answer_risks(candidate),
            *_compiler_risks(candidate),
        ),
        locked=locked,
        extensions=ways,
        **commands(situation, wanted, index, same),
    )


def moved_steps(answer: Resolution) -> tuple[Step, ...]:
    """Packages that nobody asked to change and whose requirements were in the way: each moves to a version that fits."""
    found = {package.name: package for package in answer.locked}
    return tuple(
        Step("install", pin.package, pin.version, package.wanted, package.index, (Text("moved", _pin_values(pin)),))
        for pin in answer.moved
        if (package := found.get(pin.package))
    )


def _pin_values(pin: Pin) -> dict[str, str]:
    return {"package": f"{pin.package} {pin.version}", "requirement": pin.requirement, "found": pin.found}


def _answer_risks(candidate: Candidate) -> list[Text]:
    """What else changes, or what nobody could say."""
    if candidate.confirmed:
        names = ", ".join(candidate.others)
        return [Text("risk-others", {"count": str(len(candidate.others)), "packages": names})] if names else []
    risks = [Text("risk-pinned", _pin_values(pin)) for pin in candidate.pins]
    if candidate.answer:
        where = candidate.question.index or "PyPI"
        risks.append(Text("risk-unconfirmed", {"index": where}))
    return risks


def _compiler_risks(candidate: Candidate) -> list[Text]:
    values = {"packages": ", ".join(candidate.stuck), "cuda": str(candidate.build.cuda)}
    return [Text("no-compiler", values)] if candidate.stuck else []


def priced(requires: Requires, locked: Sequence[LockedPackage]) -> Requires:
    """With what the packages that change load and take on the disk; unknown where the index does not tell one size."""
    sizes = [package.wheel_bytes for package in locked]
    if not locked or None in sizes:
        return requires
    loaded = sum(size for size in sizes if size is not None)
    return replace(requires, download_bytes=loaded, disk_bytes=round(loaded * _UNPACKED_PER_WHEEL_BYTE))


def align_question(situation: Situation) -> Question | None:
    """Torch is fine, its companions are of another release: what would bring them in step, torch staying as it is."""
    release = situation.catalog.releases.get(situation.torch_release or "")
    if release is None or re.search(r"dev|a\d|rc", situation.torch.version if situation.torch else ""):
        return None  # a nightly of 2.9.0 is not 2.9.0: nothing that was released belongs to it
    offered = {"torchvision": release.torchvision, "torchaudio": release.torchaudio}
    specs = {name: offered[name][-1] for name in situation.companions if offered[name]}
    if not specs:
        return None
    local = (situation.torch.version if situation.torch else "").partition("+")[2]
    index = f"{TORCH_INDEX}/{local}" if local.startswith("cu") else None
    pinned = {"torch": release.torch, **specs}
    return Question(tuple(f"{name}=={version}" for name, version in pinned.items()), index)


def align_option(situation: Situation, question: Question, answer: Resolution | None) -> Option:
    """Bring the companions in step with the torch that is there."""
    (_, release), *specs = (tuple(spec.split("==")) for spec in question.specs)
    why = (Text("family-row", {"torch": release}),)
    index = question.index or "PyPI"
    locked = answer.locked if answer and answer.state == "resolved" else ()
    return Option(
        kind="upgrade",
        summary=Text("align", {"torch": release, "packages": ", ".join(f"{n} {v}" for n, v in specs)}),
        steps=tuple(install_step(situation, name, version, index, why) for name, version in specs),
        torch=TorchBuild(release, None, index),
        requires=priced(Requires(), locked),
        locked=locked,
        **commands(situation, [f"{name}=={version}" for name, version in specs], question.index, False),
    )


def partial_option(situation: Situation, candidate: Candidate) -> Option:
    """No build serves all GPUs: one that serves some, with the others out of its sight."""
    option = upgrade_option(situation, candidate)
    left = ", ".join(g.name for g in situation.gpus if not situation.has_code(candidate.build, g))
    return replace(option, risks=(Text("risk-leaves", {"gpus": left}), *option.risks))


def other_python_option(situation: Situation, there: Situation, candidate: Candidate) -> Option:
    """No build for this Python: a new environment beside this one, with a Python (that of `there`) that has builds."""
    build = candidate.build
    values = {"python": there.python, "now": situation.python, "torch": build.torch, "cuda": str(build.cuda)}
    folder = Path(f"{situation.environment.root}-py{there.python_tag[2:]}")
    new = shlex.quote(str(folder))
    specs = " ".join(f"{name}=={version}" for name, version in specs_of(situation, build).items())
    index = "" if build.on_pypi else f" --index-url {build.index}"
    python = shlex.quote(str(folder / ("Scripts/python.exe" if there.platform == "win_amd64" else "bin/python")))
    why = (Text("other-python-why", values),)
    return Option(
        kind="rebuild",
        summary=Text("new-environment", {**values, "folder": str(folder)}),
        steps=(Step("run", "python", situation.python, there.python, None, why),),
        torch=TorchBuild(build.torch, str(build.cuda), build.index),
        requires=Requires(driver=situation.driver_for(build), python=_requires_python(situation, build)),
        risks=(Text("risk-new-environment", {"count": str(len(situation.environment.distributions))}),),
        pip=(f"python{there.python} -m venv {new}", f"{python} -m pip install {specs}{index}"),
        uv=(f"uv venv --python {there.python} {new}", f"uv pip install --python {python} {specs}{index}"),
    )


def _requires_python(situation: Situation, build: Build) -> str | None:
    release = situation.catalog.releases.get(build.torch)
    return release.requires_python if release else None


def _risks(situation: Situation, build: Build) -> tuple[Text, ...]:
    risks = []
    current = situation.torch_release
    if current:
        order = tuple(int(part) for part in current.split("."))
        if build.order < order:
            risks.append(Text("risk-downgrade", {"current": current, "torch": build.torch}))
        if order < (2, 6) <= build.order:
            risks.append(Text("risk-weights-only"))
    if not build.on_pypi:
        risks.append(Text("risk-index", {"index": build.index}))
    if build.confidence != "measured":
        risks.append(Text(f"risk-{build.confidence}"))
    return tuple(risks)
