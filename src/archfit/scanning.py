"""Steps that scan and audit share: read several things side by side with bars, and go on where one of them fails."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Event

from archfit import api
from archfit.arch import ComputeCapability
from archfit.bars import Bars
from archfit.errors import ArchfitError, ExitCode, FormatError, Interrupted, ObserveError
from archfit.model import Subject, Text
from archfit.session import Session
from archfit.together import abandon, start

Failure = tuple[str, ArchfitError]

_SIDE_BY_SIDE = 2
_GRACE_S = 1.0
_KERNELS_SHOWN = 6


def wishes_for(
    names: Sequence[str], platform: str | None, python: str | None, *, deep: bool = False, use_cache: bool = True
) -> list[api.ScanWish]:
    """One for each thing that was named; a folder of wheels stands for each of them."""
    things = dict.fromkeys(thing for name in names for thing in api.spread(name))
    return [api.ScanWish(thing, platform, python, deep, use_cache) for thing in things]


def scan_all(session: Session, wishes: Sequence[api.ScanWish]) -> tuple[list[Subject], list[Failure]]:
    """Scan everything; what cannot be scanned is a failure of its own and does not keep the rest from being read."""
    subjects: list[Subject] = []
    failures: list[Failure] = []
    stop = Event()
    with session.reading() as bars:
        tasks = start([partial(_scan, wish, bars, stop) for wish in wishes], _SIDE_BY_SIDE)
        try:
            for wish, task in zip(wishes, tasks, strict=True):
                try:
                    subjects.append(task.result())
                except (FormatError, OSError) as error:
                    failures.append((wish.name, ObserveError("file-failed", path=wish.name, cause=Text.why(error))))
                except ArchfitError as error:
                    failures.append((wish.name, error))
        except BaseException:
            stop.set()  # a thread cannot be ended from outside: each looks at this with every piece it reads
            abandon(tasks, _GRACE_S)
            raise
    return subjects, failures


def _scan(wish: api.ScanWish, bars: Bars, stop: Event) -> Subject:
    bar = bars.add(wish.name)

    def on_bytes(count: int) -> None:
        if stop.is_set():
            raise Interrupted("stopped")
        bar.advance(count)

    try:
        return api.scan(wish, on_bytes, bar.begin)
    finally:
        bar.end()


def code_of(subjects: Sequence[Subject], failures: Sequence[Failure]) -> ExitCode:
    """0 where everything was read, 3 where something could not be, 2 where a word meant nothing."""
    codes = [error.exit_code for _, error in failures]
    if ExitCode.USAGE in codes:
        return ExitCode.USAGE
    return ExitCode.UNDECIDED if codes or any(s.unreadable for s in subjects) else ExitCode.OK


def kernels_lacking(subject: Subject, devices: Sequence[ComputeCapability]) -> dict[str, list[str]]:
    """By library, some kernels of the containers that lack a GPU; only of files that lie on this disk."""
    root = Path(subject.name)
    found = {}
    for library in subject.libraries if subject.kind in ("library", "folder") else ():
        path = root if subject.kind == "library" else root / library.path
        names = api.kernels_lacking(path, library, devices, subject.cuda)
        if names:
            more = [f"… (+{len(names) - _KERNELS_SHOWN})"] if len(names) > _KERNELS_SHOWN else []
            found[library.path] = [*names[:_KERNELS_SHOWN], *more]
    return found
