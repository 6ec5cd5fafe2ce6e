"""Where built wheels, their logs and unfinished builds are kept.

``rebuilt/KEY/`` holds a finished build: the wheel, ``build.log`` and ``built.json``; it is renamed into place when all is in
it, so that half a build is never taken for one. ``logs/`` has the logs of builds that failed, ``work/`` what is being built;
a folder there belongs to a process that is alive as long as its lock is held.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from archfit.catalog.recipes import Recipe
from archfit.rebuild.records import BuildError, Built, Ground, Source, Wanted
from archfit.rebuild.source import hash_file
from archfit.rebuild.toolchain import Choice

_FORMAT = 1
_KEPT_LOGS = 20


class Store:
    """The folder of this user for built wheels."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or _usual_root()

    def find(self, key: str) -> Built | None:
        """A finished build, if its wheel is still the one that was scanned."""
        folder = self.root / "rebuilt" / key
        try:
            row = json.loads((folder / "built.json").read_text("utf-8"))
            wheel = folder / row["wheel"]
            if hash_file(wheel) != row["sha256"]:
                return None
            return Built(
                row["package"],
                row["version"],
                wheel,
                row["sha256"],
                folder / "build.log",
                row["compiler"],
                tuple(row["targets"]),
                row["seconds"],
                cached=True,
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, key: str, built: Built) -> Built:
        """Move a wheel and its log to where `find` finds them; what another archfit has put there meanwhile stays."""
        if kept := self.find(key):
            return kept
        home = self.root / "rebuilt"
        home.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
        shutil.move(built.wheel, folder / built.wheel.name)
        shutil.move(built.log, folder / "build.log")
        row = {**asdict(built), "wheel": built.wheel.name, "log": "build.log"}
        (folder / "built.json").write_text(json.dumps(row), "utf-8")
        final = home / key
        shutil.rmtree(final, ignore_errors=True)  # damaged, or it would have been found
        folder.rename(final)
        return replace(built, wheel=final / built.wheel.name, log=final / "build.log")

    def keep_log(self, log: Path, wanted: Wanted) -> Path:
        """Keep the log of a build that failed; of many the last ones."""
        home = self.root / "logs"
        home.mkdir(parents=True, exist_ok=True)
        for old in sorted(home.glob("*.log"), key=lambda path: path.stat().st_mtime)[: -_KEPT_LOGS + 1]:
            old.unlink(missing_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{wanted.name}-{wanted.version}-", suffix=".log", dir=home)
        os.close(handle)
        shutil.move(log, name)
        return Path(name)

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """A new folder to build in, removed at the end; what processes left that are no more is removed, too.

        Raises:
            BuildError: it cannot be made.
        """
        home = self.root / "work"
        try:
            home.mkdir(parents=True, exist_ok=True)
            _sweep(home)
            folder = Path(tempfile.mkdtemp(dir=home))
            lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise BuildError("rebuild-no-room", folder=home, cause=error.strerror or error) from error
        try:
            yield folder
        finally:
            os.close(lock)
            shutil.rmtree(folder, ignore_errors=True)


def key_of(source: Source, ground: Ground, choice: Choice, arch_list: Sequence[str], recipe: Recipe) -> str:
    """What decides what is built: another value of any of these is another wheel."""
    parts = [
        str(_FORMAT),
        source.sha256,
        ground.torch,
        str(ground.cuda),
        ground.interpreter.tag,
        ground.interpreter.platform,
        ground.interpreter.libc or "",  # a home folder may be shared with a machine that has an older one
        choice.toolkit.version if choice.toolkit else str(choice.cuda),
        ";".join(arch_list),
        recipe.digest,
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _usual_root() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("archfit")


def _sweep(home: Path) -> None:
    for folder in home.iterdir():
        with suppress(OSError):
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
