"""Run a script in the target's Python and read its one line of JSON.

The child may crash, hang or print whatever it likes; none of that reaches archfit as an exception.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from archfit.model import Known, Unknown

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_TAIL_CHARACTERS = 600


def run_child(
    python: Path, script: str, arguments: Sequence[str] = (), *, timeout_s: float
) -> Known[dict[str, Any]] | Unknown:
    """Run ``archfit/target/<script>`` with `python`.

    Returns the decoded JSON, or why there is none: could not start, ended by a signal, exit code, too slow, no JSON.
    """
    path = resources.files("archfit.target").joinpath(script)
    command = [str(python), str(path), *arguments]
    environment = {**os.environ, **dict.fromkeys(_THREADS, "2"), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=timeout_s,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        return Unknown(f"no answer within {timeout_s:g} s", (str(python),))
    except OSError as error:
        return Unknown(error.strerror or str(error), (str(python),))
    return _decode(done, python)


def _decode(done: subprocess.CompletedProcess[bytes], python: Path) -> Known[dict[str, Any]] | Unknown:
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    if done.returncode == 0 and lines:
        try:
            value = json.loads(lines[-1])
        except ValueError:
            return Unknown("its answer is not JSON", (str(python),))
        if isinstance(value, dict):
            return Known(value, str(python))
    talk = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [""])[-1][-_TAIL_CHARACTERS:]
    if done.returncode < 0:
        return Unknown(f"ended by {_signal_name(-done.returncode)}" + (f": {talk}" if talk else ""), (str(python),))
    if done.returncode == 0:
        return Unknown("its answer is no record" if lines else "it answered nothing", (str(python),))
    return Unknown(f"exit code {done.returncode}" + (f": {talk}" if talk else ""), (str(python),))


def _signal_name(number: int) -> str:
    """``SIGSEGV``; real-time signals have numbers only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
