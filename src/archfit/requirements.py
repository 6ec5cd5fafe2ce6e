"""What installed packages require of each other, going by their own metadata."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from archfit.model import Distribution, Environment, Known, Pin

Markers = Mapping[str, str]
"""What the markers of requirements ask about a Python and its platform; names as in PEP 508."""

_SYSTEMS = {
    "linux": ("Linux", "linux", "posix"),
    "win": ("Windows", "win32", "nt"),
    "macosx": ("Darwin", "darwin", "posix"),
}


def markers_of(env: Environment, python_tag: str | None = None, platform: str | None = None) -> Markers:
    """The markers of an environment's Python; of another one where a tag (``cp311``) or platform (``win_amd64``) is given.

    What is not known is left out: there archfit's own answers stand.
    """
    python = env.interpreter.value if isinstance(env.interpreter, Known) else None
    version = python.version if python else None
    if python_tag and not (python and python.tag == python_tag):
        version = f"{python_tag[2]}.{python_tag[3:].rstrip('t')}.0"
    platform = platform or (python.platform if python else None)
    markers = {"extra": ""}
    if version:
        markers |= {"python_version": ".".join(version.split(".")[:2]), "python_full_version": version}
    if platform:
        system, _, machine = platform.partition("_")
        platform_system, sys_platform, os_name = _SYSTEMS.get(system, (system, system, "posix"))
        markers |= {
            "platform_system": platform_system,
            "sys_platform": sys_platform,
            "os_name": os_name,
            "platform_machine": {"amd64": "AMD64"}.get(machine, machine),
        }
    return markers


def all_requirements(distribution: Distribution) -> list[Requirement]:
    """Its requirements on every platform and of every extra; a line that no parser takes is somebody else's problem."""
    return [requirement for line in distribution.requires if (requirement := _parse(line))]


def requirements_of(
    distribution: Distribution, markers: Markers, names: Container[str] | None = None
) -> list[Requirement]:
    """Its requirements that apply here, of `names` only where given; what an extra would add is left out."""
    here = tuple(sorted(markers.items()))
    lines = (line for line in distribution.requires if names is None or _name_in(line) in names)
    return [requirement for line in lines if (requirement := _parse(line)) and _applies(line, here)]


@lru_cache(maxsize=8192)
def _parse(line: str) -> Requirement | None:
    with suppress(InvalidRequirement):
        return Requirement(line)
    return None


@lru_cache(maxsize=8192)
def _applies(line: str, here: tuple[tuple[str, str], ...]) -> bool:
    requirement = _parse(line)
    try:
        return requirement is not None and (requirement.marker is None or requirement.marker.evaluate(dict(here)))
    except (UndefinedComparison, UndefinedEnvironmentName, InvalidVersion):
        return False


def _name_in(line: str) -> str:
    """The package that a requirement is about, without parsing all of it: most are not the one that is asked for."""
    match = re.match(r"\s*([A-Za-z0-9][\w.-]*)", line)
    return canonicalize_name(match[1]) if match else ""


def pins_against(
    installed: Iterable[Distribution], versions: Mapping[str, str], markers: Markers, leaving: Iterable[str] = ()
) -> tuple[Pin, ...]:
    """Requirements that hold now and would not any more with `versions`; `leaving` are packages that change themselves.

    A requirement that is unmet already is not counted: nobody breaks it.
    """
    known = {d.name: d.version for d in installed if d.version}
    pins = []
    for distribution in installed:
        if distribution.name in leaving or distribution.name in versions:
            continue
        for requirement in requirements_of(distribution, markers, versions):
            name = canonicalize_name(requirement.name)
            if _meets(requirement, known.get(name)) and not _meets(requirement, versions[name]):
                wanted = f"{name}{requirement.specifier}"
                pins.append(Pin(distribution.name, distribution.version, wanted, f"{name} {versions[name]}"))
    return tuple(pins)


def bounds_of(installed: Iterable[Distribution], markers: Markers, leaving: Iterable[str] = ()) -> list[str]:
    """The requirements that hold now, as lines of a constraints file: what may move, but only so far."""
    known = {d.name: d.version for d in installed if d.version}
    lines: dict[str, None] = {}
    for distribution in installed:
        for requirement in requirements_of(distribution, markers) if distribution.name not in leaving else ():
            name = canonicalize_name(requirement.name)
            if requirement.specifier and _meets(requirement, known.get(name)):
                lines[f"{name}{requirement.specifier}"] = None
    return list(lines)


def _meets(requirement: Requirement, version: str | None) -> bool:
    try:
        return version is not None and requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False
