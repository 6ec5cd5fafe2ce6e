"""Run a command as if archfit were not there, and keep the end of what it prints.

Where the terminal is one the command gets one, too, so progress bars, colours and window size stay; where output goes into a file
or a pipe it still does. Keys, signals and the exit code pass through.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

from archfit.errors import UsageError

TAIL_BYTES = 4 << 20  # of the end of the output that is kept, and a quarter of that of its beginning
_READ_BYTES = 1 << 16
_SUSPEND = b"\x1a"
_FORWARDED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGINT")


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended: its exit code as a shell would give it, and the kept part of its output."""

    code: int
    tail: bytes


class Tail:
    """The beginning and the end of a stream, in bounded memory: the first error often stands far from the last."""

    def __init__(self, size_bytes: int = TAIL_BYTES) -> None:
        self._head_left = size_bytes // 4
        self._left = size_bytes
        self._head: list[bytes] = []
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._dropped = False

    def add(self, data: bytes) -> None:
        """Keep `data`, and let go of the oldest pieces beyond the size."""
        if self._head_left > 0:
            self._head.append(data[: self._head_left])
            data = data[self._head_left :]
            self._head_left -= len(self._head[-1])
        if not data:
            return
        self._pieces.append(data)
        self._held += len(data)
        while self._held - len(self._pieces[0]) > self._left:
            self._held -= len(self._pieces.popleft())
            self._dropped = True

    def kept(self) -> bytes:
        """What is left, with a break where something was let go."""
        return b"".join(self._head) + (b"\n" if self._dropped else b"") + b"".join(self._pieces)


def run(command: Sequence[str]) -> Ended:
    """Run `command` to its end.

    Raises:
        UsageError: there is no command, or it cannot be started.
    """
    if not command:
        raise UsageError("run-nothing")
    tail = Tail()
    try:
        if os.name == "posix" and _terminals():
            code = _run_posix(command, tail)
        else:
            code = _run_pipes(command, tail)
    except OSError as error:
        cause = error.strerror or str(error)
        raise UsageError("run-not-found", command=command[0], cause=cause) from error
    return Ended(_shell_code(code), tail.kept())


def _shell_code(code: int) -> int:
    """128 and the number of the signal, as shells say it; subprocess says it as a negative number."""
    return 128 - code if code < 0 else code


def _terminals() -> list[int]:
    """Which of stdout and stderr are terminals."""
    return [number for number in (1, 2) if os.isatty(number)]


# --- pipes -----------------------------------------------------------------------------------------------------------


def _run_pipes(command: Sequence[str], tail: Tail) -> int:
    """No terminal: each stream goes through a pipe of its own to where it went before."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    lock = threading.Lock()
    with _forwarding(lambda number: _send_to_one(process.pid, number)):
        threads = [
            threading.Thread(target=_relay, args=(source.fileno(), out, tail, lock), daemon=True)
            for source, out in ((process.stdout, 1), (process.stderr, 2))
            if source is not None
        ]
        for thread in threads:
            thread.start()
        code = process.wait()
        for thread in threads:
            thread.join(timeout=2)  # a grandchild may hold the pipe open for ever
    return code


def _relay(source: int, out: int, tail: Tail, lock: threading.Lock) -> None:
    broken = False
    while data := os.read(source, _READ_BYTES):
        with lock:
            tail.add(data)
        if not broken:
            broken = not _write_all(out, data)


def _write_all(out: int, data: bytes) -> bool:
    """False if nobody reads any more."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(out, view) :]
    except OSError as error:
        if error.errno in (errno.EPIPE, errno.EIO, errno.EBADF):
            return False
        raise
    return True


# --- terminal --------------------------------------------------------------------------------------------------------


def _run_posix(command: Sequence[str], tail: Tail) -> int:
    """The command on a terminal of its own; what is not a terminal stays the pipe or file that it is."""
    import pty
    import termios
    import tty

    master, slave = pty.openpty()
    pipes = {number: os.pipe() for number in (1, 2) if not os.isatty(number)}
    outputs = {number: pipes[number][1] if number in pipes else slave for number in (1, 2)}
    keyboard = os.isatty(0)
    _copy_size(slave)
    before = termios.tcgetattr(0) if keyboard else None
    if before is not None:
        termios.tcsetattr(slave, termios.TCSANOW, before)
    process = subprocess.Popen(
        command,
        stdin=slave if keyboard else None,
        stdout=outputs[1],
        stderr=outputs[2],
        start_new_session=True,
        preexec_fn=lambda: _take_terminal(slave),
    )
    for descriptor in (slave, *(ends[1] for ends in pipes.values())):
        os.close(descriptor)
    sources = {master: 1 if os.isatty(1) else 2, **{ends[0]: number for number, ends in pipes.items()}}
    try:
        if before is not None:
            tty.setraw(0, termios.TCSANOW)
        with _forwarding(lambda number: _send_to_all(process.pid, number), on_resize=lambda: _copy_size(master)):
            _pump(process, master, sources, tail, keyboard=keyboard)
        return process.wait()
    finally:
        if before is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, before)
        for descriptor in sources:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _take_terminal(slave: int) -> None:
    """In the child: make the new terminal the controlling one, so that Ctrl-C reaches the command."""
    import fcntl
    import termios

    with contextlib.suppress(OSError):
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


def _copy_size(terminal: int) -> None:
    """Give `terminal` the size of ours."""
    import fcntl
    import termios

    for number in (1, 2, 0):
        if os.isatty(number):
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(number, termios.TIOCGWINSZ, b"\0" * 8)
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
            return


def _pump(
    process: subprocess.Popen[bytes], master: int, sources: dict[int, int], tail: Tail, *, keyboard: bool
) -> None:
    """Carry keys to the command and its output to where it belongs, until all of it has come."""
    with selectors.DefaultSelector() as selector:
        for descriptor in sources:
            selector.register(descriptor, selectors.EVENT_READ)
        if keyboard:
            selector.register(0, selectors.EVENT_READ)
        left = set(sources)
        while left:
            ended = process.poll() is not None
            ready = selector.select(timeout=0.05 if ended else 0.5)
            if ended and not ready:
                return  # a grandchild may hold the terminal open for ever
            for key, _ in ready:
                if key.fd == 0:
                    if not _feed(process, master):
                        selector.unregister(0)
                elif not _drain(key.fd, sources[key.fd], tail):
                    selector.unregister(key.fd)
                    left.discard(key.fd)


def _feed(process: subprocess.Popen[bytes], master: int) -> bool:
    try:
        keys = os.read(0, _READ_BYTES)
    except OSError:
        return False
    if _SUSPEND in keys and _wants_signals(master):
        _suspend(process.pid)
        keys = keys.replace(_SUSPEND, b"")
        return True if not keys else _write_all(master, keys)
    return bool(keys) and _write_all(master, keys)


def _wants_signals(terminal: int) -> bool:
    """False while an editor or the like takes keys as they are."""
    import termios

    try:
        return bool(termios.tcgetattr(terminal)[3] & termios.ISIG)
    except termios.error:
        return False


def _suspend(pid: int) -> None:
    """Ctrl-Z stops the command and archfit together; ``fg`` brings both back."""
    import termios
    import tty

    raw = termios.tcgetattr(0)
    _send_to_all(pid, signal.SIGSTOP)
    termios.tcsetattr(0, termios.TCSADRAIN, _cooked(raw))
    os.kill(os.getpid(), signal.SIGSTOP)
    tty.setraw(0, termios.TCSANOW)
    _send_to_all(pid, signal.SIGCONT)


def _cooked(raw: list[Any]) -> list[Any]:
    """The usual manners of a terminal: lines, echo and signals."""
    import termios

    modes = [*raw]
    modes[0] |= termios.ICRNL | termios.IXON | termios.BRKINT
    modes[1] |= termios.OPOST
    modes[3] |= termios.ICANON | termios.ECHO | termios.ISIG | termios.IEXTEN
    return modes


def _drain(source: int, out: int, tail: Tail) -> bool:
    """False at the end; Linux says EIO when the last one lets go of a terminal."""
    try:
        data = os.read(source, _READ_BYTES)
    except OSError:
        return False
    if data:
        tail.add(data)
        _write_all(out, data)
    return bool(data)


def _send_to_all(pid: int, number: int) -> None:
    """To the command and what it started: it leads a session of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _send_to_one(pid: int, number: int) -> None:
    """To the command alone. Ctrl-C of a terminal reaches it without us: it is in our group; twice would be once too often."""
    if number == signal.SIGINT and _has_terminal():
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _forwarding(send: Callable[[int], None], on_resize: Callable[[], None] | None = None) -> Iterator[None]:
    """Signals that reach archfit go on to the command."""

    def forward(number: int, _frame: FrameType | None) -> None:
        send(number)

    def resize(_number: int, _frame: FrameType | None) -> None:
        if on_resize:
            on_resize()

    wanted = {getattr(signal, name): forward for name in _FORWARDED if hasattr(signal, name)}
    if on_resize and hasattr(signal, "SIGWINCH"):
        wanted[signal.SIGWINCH] = resize
    if threading.current_thread() is not threading.main_thread():
        wanted = {}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
