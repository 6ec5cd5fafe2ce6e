"""What a question to the resolver stands on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archfit.model import Distribution
from archfit.requirements import Markers

_PLATFORMS = {
    "linux_x86_64": "x86_64-manylinux_2_28",
    "linux_aarch64": "aarch64-manylinux_2_28",
    "win_amd64": "x86_64-pc-windows-msvc",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """What a question is asked about: a Python, what is installed beside it, and what its markers say.

    `python_tag` and `platform` are set where another Python (``cp38``) or platform (``win_amd64``) is pretended.
    """

    python: Path
    installed: tuple[Distribution, ...]
    markers: Markers
    python_tag: str | None = None
    platform: str | None = None

    @property
    def words(self) -> list[str]:
        """How uv is told."""
        words = ["--python", str(self.python)]
        if self.python_tag:
            words += ["--python-version", f"{self.python_tag[2]}.{self.python_tag[3:].rstrip('t')}"]
        if self.platform:
            words += ["--python-platform", _PLATFORMS.get(self.platform, self.platform)]
        return words
