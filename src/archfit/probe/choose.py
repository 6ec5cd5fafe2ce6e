"""Which environment does the person mean?"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from archfit.errors import ObserveError, UsageError

_PYTHON = r"(python|pypy)[\d.]*t?(\.exe)?"


@dataclass(frozen=True, slots=True)
class Choice:
    """An environment: its folder, its Python, and the key of the reason why it was taken."""

    root: Path
    python: Path
    reason: str


def choose_target(spec: str | None, environ: Mapping[str, str]) -> Choice:
    """Find the environment: what was named, else the active one, else the ``python`` on PATH.

    Raises:
        UsageError: nothing is there, or what is there is no environment.
        ObserveError: it may not be looked at.
    """
    if spec is not None:
        return _from_path(expand(spec), "named")
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environ.get(variable):
            return _from_path(Path(environ[variable]), variable)
    for name in ("python", "python3"):
        if found := shutil.which(name, path=environ.get("PATH")):
            return _from_path(Path(found), "PATH")
    raise UsageError("target-none")


def is_environment(path: Path) -> bool:
    """Is this the folder of a virtual environment or a conda prefix, or a Python in one?"""
    if path.is_dir():
        return any((path / mark).exists() for mark in ("pyvenv.cfg", "conda-meta"))
    return path.is_file() and os.access(path, os.X_OK) and re.fullmatch(_PYTHON, path.name, re.IGNORECASE) is not None


def expand(spec: str) -> Path:
    """A path as a shell would read it; the home of nobody is a folder of that name, which is not there."""
    try:
        return Path(spec).expanduser()
    except RuntimeError:
        return Path(spec)


def _from_path(path: Path, reason: str) -> Choice:
    try:
        path = Path(os.path.abspath(path))  # keeps symbolic links: a venv's python is one
        if path.is_dir():
            return _from_folder(path, reason)
        if path.is_file():
            return _from_interpreter(path, reason)
        if not os.path.lexists(path):
            path.parent.stat()  # a folder above that may not be entered is another problem than a missing file
    except PermissionError as error:
        raise ObserveError("target-forbidden", path=path, cause=error.strerror) from error
    except OSError:
        pass
    raise UsageError("target-missing", path=path)


def _from_folder(folder: Path, reason: str) -> Choice:
    os.listdir(folder)  # PermissionError here is said, not guessed around
    for name in ("bin/python", "bin/python3", "Scripts/python.exe", "python.exe"):
        if os.path.lexists(folder / name):
            return Choice(folder, folder / name, reason)
    raise UsageError("target-no-python", path=folder)


def _from_interpreter(python: Path, reason: str) -> Choice:
    # Only what is called like a Python is run: a script that was named by mistake would do its work.
    if not os.access(python, os.X_OK) or not re.match(r"(python|pypy)", python.name, re.IGNORECASE):
        raise UsageError("target-not-python", path=python)
    root = python.parent.parent if python.parent.name in ("bin", "Scripts") else python.parent
    return Choice(root, python, reason)
