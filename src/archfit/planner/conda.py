"""What conda installed is conda's to change: the commands that do it, in the place of pip's and uv's."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace

from archfit.arch import CudaVersion
from archfit.catalog.conda import load_conda
from archfit.model import Environment, Option, Rejected, Text

_FAMILY = ("torchvision", "torchaudio")
"""conda chooses their release to fit torch, by what its packages ask for."""

CHANNEL = "conda-forge"

_OF_WHEELS = frozenset({
    "risk-index", "risk-documented", "risk-inferred", "risk-others", "risk-pinned", "risk-unconfirmed", "risk-tegra",
})  # fmt: skip
"""What is said of a wheel, and of what the resolver of wheels found."""


def owned(environment: Environment, names: Iterable[str]) -> tuple[str, ...]:
    """Those of these Python packages that conda installed."""
    return tuple(name for name in names if environment.conda and name in environment.conda.owns)


def conda_commands(environment: Environment, wanted: Mapping[str, str | None], cuda: str | None) -> tuple[str, ...]:
    """How conda brings its packages among `wanted` to these releases; mamba and micromamba take the same words.

    `cuda` is that of the torch that is wanted: it stays within its major release, for a newer one may have no code for an
    older GPU. What was once asked for is named again, for conda holds on to it (tests/e2e/test_conda.py).
    """
    conda = environment.conda
    if conda is None:
        return ()
    names, mine = load_conda(), owned(environment, wanted)
    place = ["--prefix", str(environment.root)]
    held = sorted(conda.packages & set(names.holders)) if "torch" in mine else []
    remove = [shlex.join(["conda", "remove", "--force", *place, *held])] if held else []
    specs = [spec for name in mine for spec in _specs(name, wanted, conda.owns[name])]
    if "torch" in mine and cuda:
        specs.append(f"cuda-version>={cuda},<{CudaVersion.parse(cuda).major + 1}")
    return (*remove, shlex.join(["conda", "install", *place, "--channel", CHANNEL, *specs]))


def left_to_conda(options: Iterable[Option], environment: Environment) -> list[Option]:
    """The options with conda's commands, where they change what conda installed.

    Which release it becomes is conda's to choose, so of those for one major release of CUDA the best stands for all.
    """
    kept: list[Option] = []
    majors: set[int] = set()
    for option in (_by_conda(option, environment) for option in options):
        if option.torch and option.torch.cuda and option.torch.index == CHANNEL:
            major = CudaVersion.parse(option.torch.cuda).major
            if major in majors:
                continue
            majors.add(major)
        kept.append(option)
    return kept


def _by_conda(option: Option, environment: Environment) -> Option:
    wanted = {step.package: step.wanted for step in option.steps if step.action == "install"}
    mine = owned(environment, wanted)
    if not mine:
        return _after_conda(option, environment)
    commands = conda_commands(environment, wanted, option.torch.cuda if option.torch else None)
    why = (Text("conda-why"),)
    changed = replace(
        option,
        steps=tuple(replace(s, index=CHANNEL, why=why) if s.package in mine else s for s in option.steps),
        requires=replace(option.requires, disk_bytes=None, download_bytes=None),
        risks=(
            Text("risk-conda", {"packages": ", ".join(mine)}),
            *(r for r in option.risks if r.key not in _OF_WHEELS),
        ),
        pip=commands,
        uv=commands,
        locked=(),
    )
    if "torch" not in mine or option.torch is None:
        return changed
    values = {"torch": option.torch.version, "cuda": str(option.torch.cuda)}
    return replace(changed, summary=Text("by-conda", values), torch=replace(option.torch, index=CHANNEL))


def _after_conda(option: Option, environment: Environment) -> Option:
    """A change of what pip installed that needs other releases of what conda installed."""
    wanted = {package.name: package.wanted for package in option.locked}
    mine = owned(environment, wanted)
    if not mine:
        return option
    command = " && ".join(conda_commands(environment, wanted, None))
    risk = Text("risk-conda-first", {"packages": ", ".join(mine), "command": command})
    return replace(option, risks=(risk, *option.risks))


def nightly_of_conda(environment: Environment) -> tuple[Rejected, ...]:
    """A nightly build, where conda installed torch."""
    return (Rejected(Text("nightly-build"), Text("conda-no-nightly")),) if owned(environment, ["torch"]) else ()


def _specs(name: str, wanted: Mapping[str, str | None], conda_name: str) -> list[str]:
    release = (wanted[name] or "").partition("+")[0]
    if name == "torch":
        least = f">={release}" if release else ""
        return [f"{load_conda().torch}{least}", f"{conda_name}{least}"]
    follows = name in _FAMILY and "torch" in wanted
    return [conda_name if follows or not release else f"{conda_name}={release}"]
