"""Explain one's own tracebacks: ``import archfit.excepthook; archfit.excepthook.install()``.

Importing and installing costs next to nothing; what explains is imported when an exception has ended the program.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

_before: Any = None


def install() -> None:
    """Print the explanation below tracebacks that end this program; what printed them before still does."""
    global _before
    if _before is None:
        _before = sys.excepthook
        sys.excepthook = _hook


def uninstall() -> None:
    """Leave things as they were before `install`."""
    global _before
    if _before is not None:
        sys.excepthook, _before = _before, None


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _before(kind, error, trace)
    if issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return
    try:
        _explain(kind, error, trace)
    except Exception:
        pass


def _explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    import os
    import traceback

    from archfit.logs import explain
    from archfit.report.explanation import show_explanation
    from archfit.report.messages import Messages, language_of

    found = explain("".join(traceback.format_exception(kind, error, trace)))
    if found.first.id == "other":
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    show_explanation(Messages(language_of(os.environ)), console, found)
