"""A command run by archfit behaves as without it: streams, terminal, keys, signals, exit codes."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from archfit.errors import UsageError
from archfit.runner import Tail, run

ARCHFIT = [sys.executable, "-m", "archfit", "run"]
TRACEBACK = "raise RuntimeError('CUDA error: no kernel image is available for execution on the device')"


def piped(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """`archfit run` without a terminal."""
    return subprocess.run(
        [*ARCHFIT, "--", *command], capture_output=True, text=True, input=stdin, timeout=60, check=False
    )


class Terminal:
    """`archfit run` on a terminal of 33 lines and 111 columns."""

    def __init__(self, *command: str, options: tuple[str, ...] = ()) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execv(sys.executable, [*ARCHFIT, *options, "--", *command])
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
        self.seen = b""

    def until(self, word: bytes, seconds: float = 30) -> bytes:
        """Read until `word` is printed."""
        end = time.monotonic() + seconds
        while word not in self.seen and time.monotonic() < end:
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    data = os.read(self.master, 65536)
                except OSError:
                    break
                self.seen += data
        return self.seen

    def end(self) -> tuple[bytes, int]:
        """Everything printed, and the exit code."""
        self.until(b"\0 what is never printed")
        _, status = os.waitpid(self.pid, 0)
        os.close(self.master)
        return self.seen, os.waitstatus_to_exitcode(status)


PY = sys.executable


# --- pipes -----------------------------------------------------------------------------------------------------------


def test_streams_stay_apart() -> None:
    ended = piped(PY, "-c", "import sys; print('out'); print('err', file=sys.stderr)")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "out\n", "err\n")


def test_stdin_reaches_the_command() -> None:
    assert piped(PY, "-c", "print(input()[::-1])", stdin="abc\n").stdout == "cba\n"


@pytest.mark.parametrize("code", [0, 1, 3, 77, 255])
def test_the_exit_code_is_the_commands(code: int) -> None:
    assert piped(PY, "-c", f"raise SystemExit({code})").returncode == code


def test_a_signal_is_told_as_shells_tell_it() -> None:
    assert piped("sh", "-c", "kill -9 $$").returncode == 137


def test_bytes_pass_unchanged() -> None:
    command = [*ARCHFIT, "--", PY, "-c", "import sys; sys.stdout.buffer.write(bytes(range(256)) * 999)"]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).stdout == bytes(range(256)) * 999


def test_a_pipe_is_no_terminal_for_the_command() -> None:
    assert piped(PY, "-c", "import sys; print(sys.stdout.isatty())").stdout == "False\n"


def test_options_of_the_command_are_its_own() -> None:
    assert (
        piped(PY, "-c", "import sys; print(sys.argv[1:])", "--json", "-v", "--report").stdout
        == "['--json', '-v', '--report']\n"
    )


@pytest.mark.parametrize("command", [["no-such-command-here"], ["/"]])
def test_what_cannot_be_started_is_said_in_one_sentence(command: list[str]) -> None:
    ended = piped(*command)
    assert (ended.returncode, ended.stderr.count("Traceback")) == (2, 0)
    assert command[0] in ended.stderr


def test_nothing_to_run_is_an_error_of_usage() -> None:
    with pytest.raises(UsageError):
        run([])


def test_a_failure_of_this_kind_is_explained_below_the_output() -> None:
    ended = piped(PY, "-c", TRACEBACK)
    assert ended.returncode == 1
    before, _, after = ended.stderr.partition("archfit: ")
    assert before.rstrip().endswith(
        "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    )
    assert "arch-missing-torch" in after


@pytest.mark.parametrize(
    "program", ["raise KeyError('x')", "raise SystemExit('no')", "import os; os.abort()", "open('/no/such/data.json')"]
)
def test_a_failure_of_another_kind_gets_no_comment(program: str) -> None:
    assert "archfit" not in piped(PY, "-c", program).stderr


def test_success_gets_no_comment_whatever_was_printed() -> None:
    ended = piped(
        PY, "-c", "print('RuntimeError: CUDA error: no kernel image is available for execution on the device')"
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("suffix", ["md", "json"])
def test_a_report_is_saved_without_names(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"why.{suffix}"
    program = "import sys; print('/home/liwei/x.py', file=sys.stderr); " + TRACEBACK.replace(
        "device')", "device /home/liwei')"
    )
    command = [*ARCHFIT, "--report", str(path), "--", PY, "-c", program]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 1
    text = path.read_text("utf-8")
    assert "arch-missing-torch" in text
    assert "liwei" not in text


def test_ctrl_c_reaches_the_command_and_its_answer_counts() -> None:
    program = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); "
        "print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([*ARCHFIT, "--", PY, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 9


def test_a_grandchild_that_holds_the_pipe_does_not_hold_us() -> None:
    began = time.monotonic()
    assert piped("sh", "-c", "sleep 30 & echo done").returncode == 0
    assert time.monotonic() - began < 20


# --- a terminal ------------------------------------------------------------------------------------------------------


def test_a_terminal_stays_a_terminal_with_its_size() -> None:
    program = "import os, sys; print([os.isatty(n) for n in (0, 1, 2)], tuple(os.get_terminal_size()), end='!')"
    terminal = Terminal("sh", "-c", f'sleep 0.3; exec {PY} -c "{program}"')
    seen, code = terminal.end()
    assert b"[True, True, True] (111, 33)!" in seen
    assert code == 0


def test_colours_and_carriage_returns_pass_unchanged() -> None:
    seen, _ = Terminal("printf", r"\033[31m50%%\r100%%\033[0m").end()
    assert seen == b"\x1b[31m50%\r100%\x1b[0m"


def test_keys_reach_the_command() -> None:
    terminal = Terminal(PY, "-c", "print('name? ', end='', flush=True); print('<' + input() + '>')")
    terminal.until(b"name? ")
    os.write(terminal.master, b"eva\r")
    assert b"<eva>" in terminal.end()[0]


def test_ctrl_c_on_a_terminal_interrupts_the_command_only() -> None:
    program = (
        "import time\ntry:\n print('up', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n print('caught'); raise SystemExit(5)"
    )
    terminal = Terminal(PY, "-c", program)
    terminal.until(b"up")
    os.write(terminal.master, b"\x03")
    seen, code = terminal.end()
    assert (b"caught" in seen, code) == (True, 5)


def test_a_new_size_is_passed_on() -> None:
    program = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGWINCH, lambda *_: print(os.get_terminal_size().columns, flush=True))\n"
        "print('up', flush=True)\n"
        "for _ in range(50): time.sleep(0.05)\n"
    )
    terminal = Terminal(PY, "-c", program)
    terminal.until(b"up")
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 77, 0, 0))
    assert b"77" in terminal.until(b"77", 10)
    terminal.end()


def test_the_terminal_is_as_before_after_a_failure() -> None:
    script = f"stty -g > /tmp/before.$$; {' '.join(ARCHFIT)} -- {PY} -c 'raise KeyError'; stty -g > /tmp/after.$$; " \
        "cmp /tmp/before.$$ /tmp/after.$$ && echo same; rm -f /tmp/before.$$ /tmp/after.$$"  # fmt: skip
    pid, master = pty.fork()
    if pid == 0:
        os.execv("/bin/sh", ["sh", "-c", script])
    seen = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        seen += data
    os.waitpid(pid, 0)
    assert b"same" in seen


# --- the tail --------------------------------------------------------------------------------------------------------


def test_short_output_is_kept_whole() -> None:
    tail = Tail(100)
    for piece in (b"a" * 20, b"b" * 20):
        tail.add(piece)
    assert tail.kept() == b"a" * 20 + b"b" * 20


def test_of_long_output_beginning_and_end_are_kept() -> None:
    tail = Tail(100)
    for number in range(1000):
        tail.add(f"{number:010}".encode())
    kept = tail.kept()
    assert kept.startswith(b"0000000000")
    assert kept.endswith(b"0000000999")
    assert len(kept) <= 100 + 25 + 1 + 10
