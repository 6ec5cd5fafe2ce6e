"""uv, the resolver and installer that came with archfit: how it is run, and what it said last."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


def uv_path() -> str:
    """The uv that came with archfit, whatever is on PATH."""
    from uv import find_uv_bin

    return find_uv_bin()


def run_uv(arguments: Sequence[str], *, talk: bool = False) -> subprocess.CompletedProcess[str]:
    """Run uv to its end; `talk` lets it draw its progress bars on this terminal."""
    show = talk and sys.stderr.isatty()
    return subprocess.run(
        [uv_path(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if show else subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )


_LONG_CHAIN = 3


def last_words(stderr: str | None) -> str:
    """What uv ended with; of a long chain of causes (a network's) its error and where the trouble began."""
    lines = [line.strip(" ×╰─▶") for line in (stderr or "").splitlines() if not line.startswith("Using Python")]
    causes = [line.removeprefix("cause:").strip() for line in lines if line.startswith("cause:")]
    if len(causes) >= _LONG_CHAIN:
        lines = [next((line for line in lines if line.startswith("error:")), ""), causes[-1]]
    words = " ".join(line.removeprefix("error:").strip() for line in lines)
    return " ".join(words.split())[-600:] or "uv said nothing"
