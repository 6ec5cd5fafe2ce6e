"""What a question to the resolver stands on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from archfit.model import Distribution
from archfit.requirements import Markers
from archfit.standin import python_for

_PLATFORMS = {
    "linux_x86_64": "x86_64-manylinux_2_28",
    "linux_aarch64": "aarch64-manylinux_2_28",
    "win_amd64": "x86_64-pc-windows-msvc",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """What a question is asked about: a Python, what is installed beside it, and what its markers say.

    `python_tag` and `platform` are set where another Python (``cp38``) or platform (``win_amd64``) is pretended; `own_tag` is
    that of `python`.
    """

    python: Path
    installed: tuple[Distribution, ...]
    markers: Markers
    python_tag: str | None = None
    platform: str | None = None
    own_tag: str = ""

    @contextmanager
    def named(self) -> Iterator[Ground]:
        """The same with a Python of which uv says what is pretended, too: free-threaded or not; it is gone afterwards."""
        with python_for(self.python_tag, self.python, self.own_tag) as python:
            yield replace(self, python=python)

    @property
    def words(self) -> list[str]:
        """How uv is told; whether the Python is free-threaded it sees for itself."""
        words = ["--python", str(self.python)]
        if self.python_tag:
            words += ["--python-version", f"{self.python_tag[2]}.{self.python_tag[3:].rstrip('t')}"]
        if self.platform:
            words += ["--python-platform", _PLATFORMS.get(self.platform, self.platform)]
        return words
