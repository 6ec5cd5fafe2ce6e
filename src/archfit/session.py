"""One run of the command line: language, consoles, progress, and the door through which every error leaves."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TextIO, cast

from rich.console import Console
from rich.progress import Progress, TaskID

from archfit.bars import Bars, make_progress
from archfit.errors import ArchfitError, ExitCode, Interrupted, UsageError
from archfit.report.messages import Language, Messages, spoken_language
from archfit.report.screen import NEAREST, Screen


class Session:
    """What every command shares."""

    def __init__(self, language: str | None, *, color: bool, as_json: bool) -> None:
        self.language: Language = spoken_language(language, os.environ, sys.stdout.encoding)
        self.messages = Messages(self.language, os.environ.get("ARCHFIT_PROGRAM", "archfit"))
        self.as_json = as_json
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=NEAREST)  # an answer with escapes is better than none
        plain = None if color else True
        stdout = sys.stdout if sys.stdout.isatty() else cast(TextIO, _Trimmed(sys.stdout))
        out = _Console(file=stdout, no_color=plain, highlight=False, emoji=False, markup=False)
        self.talk = Console(stderr=True, no_color=plain, highlight=False, emoji=False)
        self.screen = Screen(self.messages, out, self.talk)

    def print_text(self, text: str) -> None:
        """A document to stdout, as it is."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def flush(self) -> None:
        """Send what is written so far; a reader that has left shows here."""
        sys.stdout.flush()

    def let_go(self) -> None:
        """Write to nobody from here on."""
        with suppress(OSError, ValueError):  # ValueError: a stdout without a descriptor, as in a test
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def write(self, path: Path, documents: Mapping[str, Callable[[], str | bytes]]) -> None:
        """Write the document that the suffix of `path` asks for, and say so."""
        document = documents[path.suffix.lower()]()
        try:
            path.write_bytes(document.encode("utf-8") if isinstance(document, str) else document)
        except OSError as error:
            raise UsageError("output-failed", path=path, cause=error.strerror) from error
        self.talk.print(self.messages.ui("written", path=path), soft_wrap=True, markup=False)

    @contextmanager
    def counting(self, key: str, *, in_bytes: bool = False) -> Iterator[Callable[[int, int], None]]:
        """A bar for work whose parts can be counted: how many of how many, how much longer; bytes with their speed, too.

        Gone when the work is done, silent where nobody watches.
        """
        with self.progress() as progress:
            task = progress.add_task(self.messages.ui(key), total=None, in_bytes=in_bytes)
            yield lambda done, total: progress.update(task, completed=done, total=total)

    @contextmanager
    def reading(self) -> Iterator[Bars]:
        """Bars for bytes that are read side by side: how many, how fast, how much longer."""
        with self.progress() as progress:
            yield Bars(progress)

    @contextmanager
    def steps(self) -> Iterator[tuple[Callable[[str], None], Callable[[str, int, int], None]]]:
        """For a transaction: each step leaves a line with its time, and probes move a bar."""
        steps = _Steps(self)
        try:
            yield steps.begin, steps.probe
            steps.end()
        finally:
            steps.stop()

    def progress(self) -> Progress:
        """Bars that are gone when they stop, and silent where nobody watches."""
        return make_progress(self.talk, unicode=self.screen.unicode)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let `error_door` end the process; rich would call a reader that leaves an error."""
        raise BrokenPipeError


class _Trimmed:
    """Stdout that is no terminal: the blanks that fill a table's last column to the edge are left out."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.encoding = file.encoding

    def write(self, text: str) -> int:
        return self._file.write(re.sub(r"[ \t]+(?=\n)", "", text))

    def flush(self) -> None:
        self._file.flush()

    def isatty(self) -> bool:
        return False


class _Steps:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.current: tuple[str, float] | None = None
        self.progress: Progress | None = None
        self.task: TaskID | None = None

    def begin(self, key: str) -> None:
        from time import monotonic

        self.end()
        sentence = self.session.messages.ui(f"step-{key}")
        self.current = (sentence, monotonic())
        if key == "install" or not self.session.talk.is_terminal:
            self.session.talk.print(f"  {sentence} …" if self.session.screen.unicode else f"  {sentence} ...")
            return  # uv draws its own bars; a log gets a line
        self.progress = self.session.progress()
        self.task = self.progress.add_task(sentence, total=None)
        self.progress.start()

    def probe(self, name: str, done: int, total: int) -> None:
        if self.progress and self.task is not None:
            text = self.session.messages.ui("probe", name=name)
            self.progress.update(self.task, description=text, completed=done, total=total)

    def end(self) -> None:
        from time import monotonic

        self.stop()
        if self.current:
            sentence, began = self.current
            mark = "✓" if self.session.screen.unicode else "ok"
            self.session.talk.print(f"  [green]{mark}[/green] {sentence}  [dim]{monotonic() - began:.1f} s[/dim]")
            self.current = None

    def stop(self) -> None:
        if self.progress:
            self.progress.stop()
            self.progress = None


@contextmanager
def error_door(session: Session) -> Iterator[None]:
    """Three endings: an error that speaks, an interruption, and a failure of archfit itself with a log to paste."""
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except ArchfitError as error:
        session.screen.error(error)
        sys.exit(int(error.exit_code))
    except (KeyboardInterrupt, EOFError):
        session.screen.error(Interrupted("stopped"))
        sys.exit(int(ExitCode.INTERRUPTED))
    except BrokenPipeError:
        session.let_go()
        sys.exit(int(ExitCode.OK))
    except Exception as error:
        log = _write_log()
        session.screen.error(ArchfitError("internal", cause=f"{type(error).__name__}: {error}", log=log))
        sys.exit(int(ExitCode.INTERNAL))
    finally:
        signal.signal(signal.SIGTERM, previous)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def last_failure() -> str:
    """The log of the last time that archfit itself failed; empty where it never did."""
    try:
        return _log_path().read_text("utf-8")
    except OSError:
        return ""


def _write_log() -> Path:
    path = _log_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(traceback.format_exc(), "utf-8")
    return path


def _log_path() -> Path:
    from platformdirs import user_log_path

    return user_log_path("archfit") / "failure.log"
