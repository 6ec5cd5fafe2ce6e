"""The commands that compile, replace or fetch an extension, for pip and for uv."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from packaging.requirements import Requirement

from archfit.arch import ComputeCapability, CudaVersion, judge_code
from archfit.buildscript import append_flags
from archfit.catalog.extensions import Extension
from archfit.catalog.recipes import Recipe, find_recipe
from archfit.planner.ways.goal import Goal

_JOBS = 4
_PIP_ANEW, _UV_ANEW = "--force-reinstall --no-cache-dir", "--reinstall --no-cache"


@dataclass(frozen=True, slots=True)
class Commands:
    """The same, twice."""

    pip: tuple[str, ...]
    uv: tuple[str, ...]


def rebuild_commands(
    goal: Goal,
    row: Extension,
    version: str,
    devices: Sequence[ComputeCapability],
    edits: Sequence[str],
    patch: Sequence[str],
) -> Commands:
    """Check the compiler, bring what the build needs, change the sources where they must be, compile and install.

    `edits` change flags; `patch` is for sources that the target's own Python cannot even ask for their name.
    Caches are passed by: both installers keep what they compiled under the same name and version for another torch.
    """
    recipe = find_recipe(row.package)
    check = [_compiler_check(goal.cuda)] if goal.cuda else []
    needs = () if row.isolated else tuple(dict.fromkeys((*_bounded(recipe), *recipe.constraints)))
    sources, thing = _sources(goal, row, version, edits, patch, needs)
    flags = ("--no-deps " if row.isolated else "--no-build-isolation --no-deps ") + thing
    tools = " ".join(shlex.quote(tool) for tool in needs)
    first = variables(goal, row, version, devices)
    return Commands(
        pip=(*check, *([f"{goal.pip} {tools}"] if tools else []), *sources, f"{first}{goal.pip} {_PIP_ANEW} {flags}"),
        uv=(
            *check,
            *([f"{goal.uv} {tools}"] if tools else []),
            *_with_pip(goal, sources),
            *sources,
            f"{first}{goal.uv} {_UV_ANEW} {flags}",
        ),
    )


def _sources(
    goal: Goal, row: Extension, version: str, edits: Sequence[str], patch: Sequence[str], tools: Sequence[str]
) -> tuple[list[str], str]:
    """The commands that bring sources which must be changed, and what the installer is given.

    pip runs the build's own code before it hands sources out: in the target, which has torch; or in an older Python.
    """
    name = row.package
    if (edits or patch) and row.sdist:
        file = row.sdist.format(version=version)
        folder = file.removesuffix(".tar.gz")
        beside = "".join(f"--with {shlex.quote(tool)} " for tool in tools)
        pip = f"uvx --python '<3.13' {beside}pip" if patch else _pip_of(goal)
        alone = "" if row.isolated else "--no-build-isolation "
        fetch = f"{pip} download --no-deps {alone}--no-binary {name} {name}=={version} && tar xzf {file}"
        return [fetch, *(f"(cd {folder} && {command})" for command in (*edits, *patch))], f"./{folder}"
    if row.how == "git":
        return [], f"'{name} @ {row.address}'"
    return [], f"--no-binary {name} {name}=={version}"


def _pip_of(goal: Goal) -> str:
    return goal.pip.removesuffix(" install")


def _with_pip(goal: Goal, sources: Sequence[str]) -> list[str]:
    """What brings pip into an environment of uv: pip hands sources out, uv does not."""
    return [f"{goal.uv} pip"] if any(command.startswith(_pip_of(goal)) for command in sources) else []


def _bounded(recipe: Recipe) -> list[str]:
    """What the build needs, without what a constraint says more exactly."""
    bounded = {Requirement(text).name for text in recipe.constraints}
    return [text for text in recipe.requires if Requirement(text).name not in bounded]


def variables(goal: Goal, row: Extension, version: str, devices: Sequence[ComputeCapability]) -> str:
    """``FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST="12.0" MAX_JOBS=4 ``, to stand before a command."""
    plain = ";".join(device.sm.removeprefix("sm_") for device in devices)
    words = {"arch_list": ";".join(str(d) for d in devices), "sm_list": plain, "archs": plain, "jobs": str(_JOBS)}
    given = (
        row.environment if row.isolated else {k: v for k, v in find_recipe(row.package).env.items() if k != "CFLAGS"}
    )
    named = {name: value.format(**words) for name, value in given.items()}
    if len([v for v in given.values() if "_list}" in v]) > 1 or row.hard_coded:
        named.pop("TORCH_CUDA_ARCH_LIST", None)  # the package chooses by a variable of its own, or by none
    if row.hard_coded and (left_out := _left_out(row, goal, version, devices)):
        named["NVCC_APPEND_FLAGS"] = append_flags(left_out)
    return "".join(f"{name}={_value(value)} " for name, value in named.items())


def _left_out(
    row: Extension, goal: Goal, version: str, devices: Sequence[ComputeCapability]
) -> list[ComputeCapability]:
    """GPUs that the list in the sources of this version leaves out."""
    listed = row.fixed_targets(version)
    return [d for d in devices if listed and not any(judge_code(t, d, goal.cuda).runs for t in listed)]


def successor_commands(goal: Goal, package: str, name: str, version: str, index: str) -> Commands:
    """Remove what has the same import name, then bring the successor from its own index."""
    spec = f"{name}=={version}"
    return Commands(
        pip=(
            f"{goal.pip.removesuffix(' install')} uninstall -y {package}",
            f"{goal.pip} --extra-index-url {index} {spec}",
        ),
        uv=(
            goal.uv.replace(" install ", f" uninstall {package} ", 1),
            f"{goal.uv} --index {index} {spec}",
        ),
    )


def wheel_commands(goal: Goal, spec: str, index: str | None, page: str | None) -> Commands:
    """Take another wheel, by itself: what it needs is there."""
    where = f" --index-url {index}" if index else ""
    pages = f" -f {page}" if page else ""
    links = f" --find-links {page}" if page else ""
    return Commands(
        pip=(f"{goal.pip} --upgrade{where}{pages} {shlex.quote(spec)}",),
        uv=(f"{goal.uv} --upgrade{where}{links} {shlex.quote(spec)}",),
    )


def _compiler_check(cuda: CudaVersion) -> str:
    return f"nvcc --version | grep 'release {cuda.major}\\.'"


def _value(value: str) -> str:
    return value if value.isalnum() else f'"{value}"'
