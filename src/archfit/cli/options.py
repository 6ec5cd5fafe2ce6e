"""The parameters that commands share, and what their words mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from packaging.utils import canonicalize_name

from archfit import api
from archfit.errors import UsageError
from archfit.session import Session


class Lang(StrEnum):
    """Languages of the output."""

    EN = "en"
    ZH = "zh"


class Device(StrEnum):
    """Where kernels run."""

    CUDA = "cuda"
    CPU = "cpu"


class Strategy(StrEnum):
    """How to choose among builds."""

    NEAREST = "nearest"
    LATEST = "latest"


Target = Annotated[
    str | None,
    Parameter(help="option.target"),
]
Choice = Annotated[Strategy, Parameter(help="option.strategy")]
Level = Annotated[
    str | None,
    Parameter(help="option.level"),
]


GpuSpecs = Annotated[tuple[str, ...], Parameter("--gpu", help="option.gpu-only")]
Yes = Annotated[bool, Parameter(["--yes", "-y"], help="option.yes")]
Force = Annotated[bool, Parameter(help="option.force")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Pretend:
    """A machine that is not here."""

    gpu: Annotated[tuple[str, ...], Parameter("--gpu", help="option.gpu-pretended")] = ()
    driver: Annotated[str | None, Parameter(help="option.driver")] = None


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Manner:
    """How to answer."""

    lang: Annotated[Lang | None, Parameter(help="option.lang")] = None
    as_json: Annotated[bool, Parameter("--json", help="option.json")] = False
    output: Annotated[
        Path | None,
        Parameter(
            ["--output", "-o"],
            help="option.output",
        ),
    ] = None
    verbose: Annotated[bool, Parameter(["--verbose", "-v"], help="option.verbose")] = False
    no_color: Annotated[bool, Parameter(help="option.no-color")] = False

    def check_output(self, *suffixes: str) -> None:
        """Refuse a file that could not be written in the end, before the work is done."""
        if self.output and self.output.suffix.lower() not in suffixes:
            raise UsageError("output-suffix", path=self.output, known=", ".join(suffixes))

    def session(self) -> Session:
        """The session that speaks in this manner."""
        return Session(self.lang, color=not self.no_color, as_json=self.as_json)


HERE, PLAIN = Pretend(), Manner()


def names_of(packages: tuple[str, ...]) -> frozenset[str]:
    """Packages as the index spells them."""
    return frozenset(canonicalize_name(name) for name in packages)


def highest_level(levels: str | None) -> str | None:
    """The highest of the levels named, ``static,import``: each contains those below it. None where none is named."""
    if levels is None:
        return None
    named = [word.strip() for word in levels.split(",")]
    for word in named:
        if word not in api.LEVELS:
            raise UsageError("level-unknown", spec=word, known=", ".join(api.LEVELS))
    return max(named, key=api.LEVELS.index)


def python_tag(text: str | None) -> str | None:
    """``cp311`` of what a person calls a Python: ``3.11``, ``3.11.4``, ``cp311``.

    Raises:
        UsageError: no Python version.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(?:cp)?(\d)\.?(\d{1,2})(?:\.\d+)?(t?)", text)
    if not match:
        raise UsageError("python-unknown", spec=text)
    return f"cp{match[1]}{match[2]}{match[3]}"


def python_version(text: str | None) -> str | None:
    """``3.11`` of ``cp311``, ``3.13t`` of ``cp313t``."""
    tag = python_tag(text)
    return f"{tag[2]}.{tag[3:]}" if tag else None


def platform_tag(text: str | None) -> str | None:
    """``linux_x86_64`` of ``linux-x86_64``.

    Raises:
        UsageError: no such platform.
    """
    names = {"linux-x86_64": "linux_x86_64", "linux-aarch64": "linux_aarch64", "windows-x86_64": "win_amd64"}
    if text is not None and text not in names:
        raise UsageError("platform-unknown", spec=text)
    return names[text] if text else None
