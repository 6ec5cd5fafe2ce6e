"""Which processes run from an environment, as /proc tells: what is exchanged under them would be mixed in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TOLD_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class User:
    """A process that uses an environment: its number and how it was called."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.pid} ({self.command})"


def users_of(root: Path) -> tuple[User, ...]:
    """Every process that runs a program of `root`, has a library of it loaded, or stands in it; never this one.

    A shell in which the environment is only active does not count. Processes of other users that may not be looked at are
    passed over; so is everything where there is no /proc.
    """
    own = {os.getpid(), *_ancestors(os.getpid())}
    found = (_look(int(name), root, related=int(name) in own) for name in _numbers() if int(name) != os.getpid())
    return tuple(user for user in found if user)


def _numbers() -> list[str]:
    try:
        return sorted((name for name in os.listdir(_PROC) if name.isdigit()), key=int)
    except OSError:
        return []


def _look(pid: int, root: Path, *, related: bool) -> User | None:
    """`related`: one of those that started this process, such as a shell, may stand where it likes."""
    words = _words(pid, "cmdline")
    runs = _within(_link(pid, "exe"), root) or _started_from(pid, words, root)
    if runs or _has_loaded(pid, root) or (not related and _within(_link(pid, "cwd"), root)):
        return User(pid, " ".join(words)[:_TOLD_CHARACTERS] or _name(pid))
    return None


def _started_from(pid: int, words: list[str], root: Path) -> bool:
    """Was it started by a name in the environment? The Python of a virtual environment is a link that leads out of it."""
    if not words:
        return False
    program: str | None = words[0]
    if "/" not in words[0]:
        path = next((v for v in _words(pid, "environ") if v.startswith("PATH=")), "PATH=")
        program = shutil.which(words[0], path=path.removeprefix("PATH="))
    if not program:
        return False
    folder = Path(_link(pid, "cwd") or "/", program).parent
    return _within(os.path.realpath(folder), root)


def _has_loaded(pid: int, root: Path) -> bool:
    try:
        return os.fsencode(f" {root}/") in (_PROC / str(pid) / "maps").read_bytes()
    except OSError:
        return False


def _within(path: str | None, root: Path) -> bool:
    return path is not None and (path == str(root) or path.startswith(f"{root}/"))


def _link(pid: int, name: str) -> str | None:
    with suppress(OSError):
        return os.readlink(_PROC / str(pid) / name)  # noqa: PTH115 - text, as it is
    return None


def _words(pid: int, name: str) -> list[str]:
    with suppress(OSError):
        return [os.fsdecode(word) for word in (_PROC / str(pid) / name).read_bytes().split(b"\0") if word]
    return []


def _name(pid: int) -> str:
    with suppress(OSError):
        return (_PROC / str(pid) / "comm").read_text("utf-8", "replace").strip()
    return "?"


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        try:
            status = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
        except OSError:
            return
        pid = int(status.rpartition(")")[2].split()[1])
        yield pid
