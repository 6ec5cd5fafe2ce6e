"""Run the build backend as a process group of its own, with its output in a log, and tell how far it is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from archfit.uv import uv_path

_PART = re.compile(rb"^\s*\[(\d+)/(\d+)\]")
_FILE = re.compile(rb"([\w.+-]+\.(?:cu|cpp|cc|cxx|c))\b")
_GRACE_S = 5

OnPart = Callable[[int, int, str], None]
"""Told how many of how many files are compiled, and the name of the last one; 0 of 0 where that is not known."""


def build(python: Path, source: Path, out: Path, log: Path, environ: Mapping[str, str], on_part: OnPart) -> bool:
    """Build a wheel of the folder `source` into the folder `out`; False where the backend failed.

    Everything it prints goes to `log`. On an interruption the whole group is ended before it is passed on.
    """
    command = [
        uv_path(),
        "build",
        "--wheel",
        "--no-build-isolation",
        "--python",
        str(python),
        "--out-dir",
        str(out),
        str(source),
    ]
    with (
        log.open("ab") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
            start_new_session=True,
        ) as child,
    ):
        try:
            assert child.stdout is not None
            for line in child.stdout:
                file.write(line)
                file.flush()
                _tell(line, on_part)
            return child.wait() == 0
        except BaseException:
            end_group(child)
            raise


def _tell(line: bytes, on_part: OnPart) -> None:
    files = _FILE.findall(line)
    name = files[-1].decode("utf-8", "replace") if files else ""
    if match := _PART.match(line):
        on_part(int(match[1]), int(match[2]), name)
    elif name and b" -c " in line:
        on_part(0, 0, name)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: asked first, then made to."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE_S)
    with suppress(ProcessLookupError):  # those that the first one left behind
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
