"""Put one folder in the place of another, atomically where the system can."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})


def exchange(first: Path, second: Path) -> None:
    """Let the two folders trade names.

    One `renameat2(RENAME_EXCHANGE)` where kernel and file system have it: at no moment is a name missing. Elsewhere three
    renames over a name derived from `second`, which `repair` completes or undoes after a cut.

    Raises:
        OSError: nothing was renamed.
    """
    try:
        rename_exchange(first, second)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _rename_thrice(first, second)
    sync_folder(first.parent)


def aside_name(second: Path) -> Path:
    """Where `first` stands for a moment when the exchange takes three renames."""
    return second.with_name(second.name + ".aside")


def repair(first: Path, second: Path) -> None:
    """Undo a cut in the middle of three renames, so that both names exist again; does nothing otherwise."""
    aside = aside_name(second)
    if not os.path.lexists(aside):
        return
    if os.path.lexists(first) and not os.path.lexists(second):
        aside.rename(second)  # only the last rename was missing
    elif not os.path.lexists(first):
        aside.rename(first)
    sync_folder(first.parent)


@contextmanager
def uninterrupted(*, forget: bool = False) -> Iterator[None]:
    """Hold back Ctrl-C and termination while steps run that belong together; what came meanwhile is heard at the end.

    With `forget` it is not heard: what runs is itself the answer to an earlier one.
    With handlers, not with a mask: a mask holds for one thread only, and a progress bar runs in another.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python runs handlers in the main thread only
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda got, _: came.append(got)) for number in _HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for heard in () if forget else came:
            signal.raise_signal(heard)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_exchange(first: Path, second: Path) -> None:
    """Let two names trade what they name, in one step; raises OSError where kernel or file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    renameat2 = getattr(libc, "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(first), None, str(second))


def _rename_thrice(first: Path, second: Path) -> None:
    aside = aside_name(second)
    first.rename(aside)
    try:
        second.rename(first)
    except OSError:
        aside.rename(first)
        raise
    try:
        aside.rename(second)
    except OSError:
        first.rename(second)
        aside.rename(first)
        raise
