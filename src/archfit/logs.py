"""Compose the rooms for logs: read, explain, look at the environment beside them, run a command and explain its end.

Light on purpose: a log is explained before anything heavy is imported.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from archfit.errors import ArchfitError, ExitCode, UsageError
from archfit.runner import Ended, run

if TYPE_CHECKING:
    from archfit.model import Diagnosis, Explanation, LogFacts

__all__ = [
    "Ended",
    "exit_code",
    "explain",
    "explain_ended",
    "explain_file",
    "explain_stream",
    "failed",
    "join_environment",
    "redacted",
    "run",
]

_KNOWN = 0.5  # confidence from which something else is known to be the cause
_PLAIN = ("other", "shape-mismatch")  # what is wrong there is the program's own matter, and it has said so itself
_STOPPED = (0, 130, 143)  # success, Ctrl-C, SIGTERM
_SEARCHED_BYTES = 1 << 20
# What a look at the environment can prove or refute.
_WORTH_A_LOOK = frozenset({"architecture", "driver", "package", "compiler"})

OnRead = Callable[[int, int], None]


def explain(text: str) -> Explanation:
    """Explain a log that is at hand as text; touches nothing else.

    >>> explain("RuntimeError: CUDA error: no kernel image is available for execution on the device").first.id
    'arch-missing-torch'
    """
    if len(text) > _SEARCHED_BYTES:
        return explain_stream(io.BytesIO(text.encode("utf-8", "surrogatepass")))
    from archfit.explainer import explain_text

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
    from archfit.explainer import explain_lines
    from archfit.explainer.scan import read_log

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
        on_read: told how many bytes of libraries are done, and how many there are.

    Raises:
        UsageError, ObserveError: an environment was named and cannot be looked at.
    """
    chosen = target or _active_in(explanation, os.environ)
    if chosen is None or explanation.first.id == "other":
        return explanation
    try:
        diagnosis = _diagnose(chosen, explanation.facts, on_read)
    except ArchfitError:
        if target:
            raise
        return explanation
    from archfit.explainer.join import join

    return join(explanation, diagnosis)


def _diagnose(target: str, facts: LogFacts, on_read: OnRead | None) -> Diagnosis:
    """Look at an environment; on a machine without a GPU for the one that the log speaks of."""
    from archfit.catalog import load_catalog
    from archfit.checks import diagnose
    from archfit.model import Unknown
    from archfit.probe import Wish, observe

    catalog = load_catalog()
    seen = observe(Wish(target), catalog, on_read)
    if isinstance(seen.gpus, Unknown) and facts.capability:
        seen = observe(Wish(target, (facts.gpu or facts.capability,)), catalog, on_read)
    return diagnose(seen, catalog)


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
    from archfit.model import Quote
    from archfit.redact import redact

    causes = tuple(
        replace(cause, evidence=tuple(Quote(q.line, redact(q.text)) for q in cause.evidence))
        for cause in explanation.causes
    )
    joined = Path(redact(str(explanation.joined))) if explanation.joined else None
    return replace(explanation, causes=causes, joined=joined)


def explain_ended(ended: Ended, command: Sequence[str]) -> Explanation | None:
    """Explain the end of a command that `archfit.runner` ran, with its environment; None where there is nothing to say."""
    if not failed(ended):
        return None
    found = explain_stream(io.BytesIO(ended.tail))
    return None if found.first.id in _PLAIN or found.first.row == "file-not-found" else _joined(found, command)


def failed(ended: Ended) -> bool:
    """Did it fail, and not because somebody stopped it?"""
    return ended.code not in _STOPPED and bool(ended.tail.strip())


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
