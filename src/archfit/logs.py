"""Compose the rooms for logs: read, explain, look at the environment beside them, run a command and explain its end.

Light on purpose: a log is explained before anything heavy is imported.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from archfit.errors import ArchfitError, ExitCode, UsageError
from archfit.explainer import explain_lines, explain_text
from archfit.explainer.scan import read_log
from archfit.model import Explanation, Quote
from archfit.redact import redact

if TYPE_CHECKING:
    from archfit.model import Diagnosis

__all__ = [
    "Run",
    "exit_code",
    "explain",
    "explain_file",
    "explain_stream",
    "join_environment",
    "redacted",
    "run_command",
]

_KNOWN = 0.5  # confidence from which something else is known to be the cause
_SEARCHED_BYTES = 1 << 20
# What a look at the environment can prove or refute.
_WORTH_A_LOOK = frozenset({"architecture", "driver", "package", "compiler"})

OnRead = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Run:
    """The end of a command: its exit code, and the explanation where it failed of something that archfit explains."""

    code: int
    explanation: Explanation | None


def explain(text: str) -> Explanation:
    """Explain a log that is at hand as text; touches nothing else.

    >>> explain("RuntimeError: CUDA error: no kernel image is available for execution on the device").first.id
    'arch-missing-torch'
    """
    if len(text) > _SEARCHED_BYTES:
        return explain_stream(io.BytesIO(text.encode("utf-8", "surrogatepass")))
    return explain_text(text)


def explain_file(path: Path, on_read: OnRead | None = None) -> Explanation:
    """Explain a log of any size; raises UsageError where it cannot be read or is empty."""
    try:
        with path.open("rb") as stream:
            return _not_empty(explain_stream(stream, on_read, path.stat().st_size), path)
    except OSError as error:
        raise UsageError("log-unreadable", path=path, cause=error.strerror or error) from error


def explain_stream(stream: BinaryIO, on_read: OnRead | None = None, total: int = 0) -> Explanation:
    """Explain what comes out of a pipe."""
    return explain_lines(*read_log(stream, on_read, total))


def _not_empty(explanation: Explanation, path: Path) -> Explanation:
    if not any(cause.evidence for cause in explanation.causes):
        raise UsageError("log-empty", path=path)
    return explanation


def join_environment(explanation: Explanation, target: str | None, on_read: OnRead | None = None) -> Explanation:
    """Look at an environment beside the log.

    Args:
        explanation: what the log alone says.
        target: the environment; None: the active one, if paths of the log lie in it.
        on_read: told how many libraries are read.

    Raises:
        UsageError, ObserveError: an environment was named and cannot be looked at.
    """
    chosen = target or _active_in(explanation, os.environ)
    if chosen is None or explanation.first.id == "other":
        return explanation
    try:
        diagnosis = _diagnose(chosen, on_read)
    except ArchfitError:
        if target:
            raise
        return explanation
    from archfit.explainer.join import join

    return join(explanation, diagnosis)


def _diagnose(target: str, on_read: OnRead | None) -> Diagnosis:
    from archfit.catalog import load_catalog
    from archfit.checks import diagnose
    from archfit.probe import Wish, observe

    return diagnose(observe(Wish(target), load_catalog(), on_read), load_catalog())


def _active_in(explanation: Explanation, environ: Mapping[str, str]) -> str | None:
    """The active environment, where the log speaks of its paths."""
    active = environ.get("VIRTUAL_ENV") or environ.get("CONDA_PREFIX")
    return active if active and any(path.startswith(active.rstrip("/") + "/") for path in explanation.paths) else None


def exit_code(found: Explanation) -> ExitCode:
    """4 where it is a GPU or environment problem, 3 where nobody can tell, 0 where it is something else."""
    if found.first.environment:
        return ExitCode.PROBLEMS
    known = found.first.id != "other" or found.first.confidence > _KNOWN
    return ExitCode.OK if known else ExitCode.UNDECIDED


def redacted(explanation: Explanation) -> Explanation:
    """The same with tokens, user names, addresses and hosts taken out of everything that is quoted."""
    causes = tuple(
        replace(cause, evidence=tuple(Quote(q.line, redact(q.text)) for q in cause.evidence))
        for cause in explanation.causes
    )
    joined = Path(redact(str(explanation.joined))) if explanation.joined else None
    return replace(explanation, causes=causes, joined=joined)


def run_command(command: Sequence[str], *, look: bool = True) -> Run:
    """Run a command with the terminal untouched; if it fails of something that archfit explains, explain it.

    `look` says whether the environment of the command is looked at beside its output.

    Raises:
        UsageError: there is no command, or it cannot be started.
    """
    from archfit.runner import run

    ended = run(command)
    if ended.code in (0, 130, 143) or not ended.tail.strip():
        return Run(ended.code, None)
    found = explain_stream(io.BytesIO(ended.tail))
    if found.first.id == "other" or (found.first.row == "python-import" and found.first.confidence < 0.5):
        return Run(ended.code, None)
    return Run(ended.code, _joined(found, command) if look else found)


def _joined(found: Explanation, command: Sequence[str]) -> Explanation:
    from archfit.catalog.signatures import load_signatures

    if load_signatures().classes[found.first.id].area not in _WORTH_A_LOOK:
        return found
    try:
        return join_environment(found, _environment_of(command, os.environ))
    except (ArchfitError, OSError):
        return found  # what the log says stands without it


def _environment_of(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """The Python that the command runs in: itself, that of its first line, or the active environment."""
    import shutil

    path = shutil.which(command[0])
    if path is None:
        return None
    if Path(path).name.startswith("python"):
        return path
    try:
        first = Path(path).read_bytes()[:256].partition(b"\n")[0].decode("utf-8", "replace")
    except OSError:
        first = ""
    if first.startswith("#!") and "python" in first and Path(first[2:].split()[0]).name.startswith("python"):
        return first[2:].split()[0]
    return environ.get("VIRTUAL_ENV") or environ.get("CONDA_PREFIX")
