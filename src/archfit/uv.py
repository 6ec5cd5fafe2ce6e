"""uv, the resolver and installer that came with archfit: how it is run, and what it said last."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from archfit.indexes import uv_environment
from archfit.redact import without_credentials


@cache
def uv_path() -> str:
    """The uv that came with archfit, whatever is on PATH.

    Ask once before several threads do: it asks `sysconfig`, which is not ready for two at a time (seen in Python 3.11).
    """
    from uv import find_uv_bin

    return find_uv_bin()


def run_uv(
    arguments: Sequence[str],
    *,
    given: str = "",
    talk: bool = False,
    settings: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
    named_only: bool = False,
    tethered: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run uv to its end with `given` on its stdin; `talk` lets it draw its progress bars on this terminal.

    `settings` are variables such as ``UV_HTTP_RETRIES`` that it gets beside those of this process. `named_only`: it looks
    into the default index and those that are named to it, and into none that other variables and settings add. `tethered`:
    it ends when this process ends, however that comes about.

    Raises:
        subprocess.TimeoutExpired: it took longer than `timeout_s`, and was ended.
    """
    tether = [sys.executable, "-I", "-S", _TETHER, str(os.getpid())] if tethered else []
    command = [*tether, uv_path(), *arguments]
    show = talk and sys.stderr.isatty()
    stderr = None if show else subprocess.PIPE
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        errors="replace",
        env=(uv_environment(os.environ) if named_only else dict(os.environ)) | dict(settings or {}),
    ) as child:
        _RUNNING.add(child)
        try:
            out, err = child.communicate(given, timeout=timeout_s)
        except BaseException:
            child.kill()
            raise
        finally:
            _RUNNING.discard(child)
    return subprocess.CompletedProcess(command, child.returncode, out, err)


_TETHER = str(Path(__file__).with_name("tether.py"))
_RUNNING: set[subprocess.Popen[str]] = set()


@atexit.register
def _end_running() -> None:
    """A thread that is left behind leaves no process behind."""
    for child in list(_RUNNING):
        child.kill()


_LONG_CHAIN = 3


def last_words(stderr: str | None) -> str:
    """What uv ended with; of a long chain of causes (a network's) its error and where the trouble began."""
    lines = [line.strip(" ×╰─▶") for line in (stderr or "").splitlines() if not line.startswith("Using Python")]
    causes = [line.removeprefix("cause:").strip() for line in lines if line.startswith("cause:")]
    if len(causes) >= _LONG_CHAIN:
        lines = [next((line for line in lines if line.startswith("error:")), ""), causes[-1]]
    words = " ".join(line.removeprefix("error:").strip() for line in lines)
    return without_credentials(" ".join(words.split()))[-600:] or "uv said nothing"
