"""Run a script in the target's Python and read its answers, each one line of JSON.

The child may crash, hang or print whatever it likes; none of that reaches archfit as an exception.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import IO, Any

from archfit.model import Known, Unknown

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_TAIL_CHARACTERS = 600

Answer = Known[dict[str, Any]] | Unknown

_running: set[subprocess.Popen[bytes]] = set()
_guard = threading.Lock()


def run_child(python: Path, script: str, arguments: Sequence[str] = (), *, timeout_s: float) -> Answer:
    """Run ``archfit/target/<script>`` with `python`.

    Returns the decoded JSON, or why there is none: could not start, ended by a signal, exit code, too slow, no JSON.
    """
    try:
        with _started(_command(python, script, arguments)) as (child, talk):
            output, _ = child.communicate(timeout=timeout_s)
            said = _tail(talk)
    except subprocess.TimeoutExpired:
        return Unknown(f"no answer within {timeout_s:g} s", (str(python),))
    except OSError as error:
        return Unknown(error.strerror or str(error), (str(python),))
    return _decode(child.returncode, output, said, python)


def stream_child(python: Path, script: str, arguments: Sequence[str] = (), *, idle_s: float) -> Iterator[Answer]:
    """The same for a script that answers many times, one line of JSON each, as they come.

    Ends after the last answer. A child that ends badly or is silent for `idle_s` gives an `Unknown` as its last.
    """
    try:
        with _started(_command(python, script, arguments)) as (child, talk):
            for line in _lines(child, idle_s):
                if line is None:
                    yield Unknown(f"no answer within {idle_s:g} s", (str(python),))
                    return
                yield _decode(0, line, "", python)
            child.wait()
            said = _tail(talk)
    except OSError as error:
        yield Unknown(error.strerror or str(error), (str(python),))
        return
    if child.returncode:
        yield _decode(child.returncode, b"", said, python)


def stream_warm(
    python: Path, scripts: Sequence[Sequence[str]], *, side_by_side: int, idle_s: float
) -> Iterator[tuple[int, Answer]]:
    """Numbers of scripts and the answers that `run_child` would give for them, as they come.

    The first script runs in a child, the others in forks of it, so that what the first imported need not be imported again.
    No answer comes for what that child took down with it, nor after `idle_s` of silence; what ended badly as a fork may still
    go well in a process of its own. Needs a system that forks.
    """
    order = {"side_by_side": side_by_side, "scripts": [list(words) for words in scripts]}
    for answer in stream_child(python, "warm_children.py", [json.dumps(order)], idle_s=idle_s):
        if isinstance(answer, Known):
            told = answer.value
            said = _last_line(str(told["said"]))
            yield told["number"], _decode(told["code"], str(told["printed"]).encode(), said, python)


def run_command(command: Sequence[str], *, timeout_s: float, environment: Mapping[str, str]) -> tuple[int | None, str]:
    """Run a command of the target's own with these variables added; its exit code and the last line it said.

    The code is None where it took longer than `timeout_s`, 127 where it could not be started.
    """
    try:
        with _started(command, environment) as (child, talk):
            child.communicate(timeout=timeout_s)
            return child.returncode, _tail(talk)
    except subprocess.TimeoutExpired:
        return None, ""
    except OSError as error:
        return 127, error.strerror or str(error)


def stop_children() -> None:
    """End every child that still runs; for whoever gives up waiting."""
    with _guard:
        running = list(_running)
    for child in running:
        _kill(child)


def _command(python: Path, script: str, arguments: Sequence[str]) -> list[str]:
    return [str(python), str(resources.files("archfit.target").joinpath(script)), *arguments]


@contextmanager
def _started(
    command: Sequence[str], extra: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A child in a session of its own, and what it says on stderr; whatever it left running ends with it."""
    fixed = {**dict.fromkeys(_THREADS, "2"), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    with tempfile.TemporaryFile() as talk:  # a pipe that nobody empties would stop the child
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=talk,
            env={**os.environ, **fixed, **(extra or {})},
            cwd="/",
            start_new_session=True,
        )
        with _guard:
            _running.add(child)
        try:
            yield child, talk
        finally:
            _kill(child)
            with _guard:
                _running.discard(child)
            child.wait()
            if child.stdout:
                child.stdout.close()


def _kill(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _lines(child: subprocess.Popen[bytes], idle_s: float) -> Iterator[bytes | None]:
    """Whole lines of the child's output; None once it has been silent too long."""
    if child.stdout is None:
        return
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        heard = time.monotonic()
        while True:
            if not selector.select(max(0.0, heard + idle_s - time.monotonic())):
                yield None
                return
            chunk = os.read(child.stdout.fileno(), 65536)
            if not chunk:
                return
            heard = time.monotonic()
            *whole, pending = (pending + chunk).split(b"\n")
            yield from (line for line in whole if line.strip())


def _tail(talk: IO[bytes]) -> str:
    """The last line of what was said on stderr."""
    end = talk.seek(0, os.SEEK_END)
    talk.seek(max(0, end - 4 * _TAIL_CHARACTERS))
    return _last_line(talk.read().decode("utf-8", "replace"))


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][-_TAIL_CHARACTERS:]


def _decode(code: int, output: bytes, talk: str, python: Path) -> Answer:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    if code == 0 and lines:
        try:
            value = json.loads(lines[-1])
        except ValueError:
            return Unknown("its answer is not JSON", (str(python),))
        if isinstance(value, dict):
            return Known(value, str(python))
    if code < 0:
        return Unknown(f"ended by {signal_name(-code)}" + (f": {talk}" if talk else ""), (str(python),))
    if code == 0:
        return Unknown("its answer is no record" if lines else "it answered nothing", (str(python),))
    return Unknown(f"exit code {code}" + (f": {talk}" if talk else ""), (str(python),))


def signal_name(number: int) -> str:
    """``SIGSEGV``; real-time signals have numbers only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
