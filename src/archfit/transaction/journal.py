"""What was done to one environment, on the disk before it is done.

Beside the environment ``live`` stands ``live.archfit/`` with the journal, the lock and the upgrade records; states that
are not live stand as ``live.archfit-N``. A state is known by the identity of its folder, so no rename can confuse
the history.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from archfit.errors import ApplyError
from archfit.model import History, StateRecord
from archfit.transaction.exchange import sync_folder
from archfit.transaction.tree import identity

_FINAL = frozenset({"done", "aborted"})
_FIELDS: dict[str, dict[str, type]] = {
    "begin": {"id": int, "kind": str, "from": int},
    "state": {"id": int, "inode": str, "label": str},
    "live": {"id": int},
    "done": {"id": int, "from": int},
    "aborted": {"id": int},
    "removed": {"id": int},
}
"""What a line must tell to be one; a disk that lost power can hold anything."""


class Journal:
    """Append-only lines of JSON beside the environment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root.parent / f"{root.name}.archfit"
        self.path = self.folder / "journal.jsonl"

    def create(self) -> None:
        """Make the folder, durably; version control ignores it."""
        self.folder.mkdir(exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", "utf-8")
            sync_folder(self.root.parent)

    def append(self, event: str, **values: object) -> None:
        """Write one line and wait until it is on the disk."""
        line = json.dumps({"event": event, "time": _now(), **values}, ensure_ascii=False) + "\n"
        with self.path.open("ab") as file:
            if not file.tell():
                sync_folder(self.folder)  # a new file is on the disk only when its folder is
            elif not self._ends_clean():
                file.write(b"\n")  # a line that a power cut left half written stays a line of its own
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> tuple[dict[str, Any], ...]:
        """All whole lines, oldest first; a cut line is passed over, for its step did not begin."""
        try:
            text = self.path.read_text("utf-8", "replace")
        except FileNotFoundError:
            return ()
        return tuple(entry for line in text.split("\n") if (entry := _decode(line)))

    def state_path(self, state: int) -> Path:
        """Where a state stands while it is not live."""
        return self.root.parent / f"{self.root.name}.archfit-{state}"

    def record_path(self, state: int, suffix: str = ".md") -> Path:
        """Where the upgrade record of the change that made `state` is kept; ``.json`` is the same for programs."""
        return self.folder / f"record-{state}{suffix}"

    def unfinished(self) -> dict[str, Any] | None:
        """The first line of the change that has no end, if there is one."""
        opened: dict[str, Any] | None = None
        for entry in self.entries():
            if entry["event"] == "begin":
                opened = entry
            elif entry["event"] in _FINAL:
                opened = None
        return opened

    def states(self) -> dict[str, dict[str, Any]]:
        """The states that there are, by the identity of their folder.

        File systems give the inode of a removed folder to the next one: the last line counts, and a state that was removed,
        or whose change was undone, counts no more.
        """
        found: dict[str, dict[str, Any]] = {}
        kind = ""
        for entry in self.entries():
            if entry["event"] == "state":
                found[entry["inode"]] = entry
            elif entry["event"] == "begin":
                kind = entry["kind"]
            elif entry["event"] == "removed" or (entry["event"] == "aborted" and kind == "upgrade"):
                found = {inode: state for inode, state in found.items() if state["id"] != entry["id"]}
        return found

    def strangers(self) -> tuple[Path, ...]:
        """Folders with the name of a state that no line tells of: what is left of a clone, or of a journal that was cut."""
        known = self.states()
        return tuple(sorted(path for path in state_folders(self.root) if (identity(path) or "") not in known))

    def held(self) -> bool:
        """True while a process is at work on the environment."""
        try:
            with (self.folder / "lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the environment for this process.

        Raises:
            ApplyError: another archfit holds it; names the owner.
        """
        self.create()
        with (self.folder / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                raise ApplyError("locked", target=self.root, owner=file.read().strip() or "?") from error
            file.seek(0)
            file.truncate()
            file.write(f"pid {os.getpid()} on {socket.gethostname()}, since {_now()}")
            file.flush()
            yield

    def _ends_clean(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def read_history(root: Path) -> History:
    """All states and events of one environment; empty for one that archfit never changed."""
    journal = Journal(root)
    entries = journal.entries()
    places = {identity(path): path for path in state_folders(root)}
    known = {state["id"]: inode for inode, state in journal.states().items()}
    current = identity(root)
    opened = journal.unfinished()
    gone = {e["id"] for e in entries if e["event"] == "removed"}
    lived = {entry[key] for entry in entries if entry["event"] == "done" for key in ("id", "from")}
    begun = {e["id"]: e for e in entries if e["event"] == "begin" and e["kind"] == "upgrade"}
    states = []
    for entry in entries:
        if entry["event"] != "state":
            continue
        number = entry["id"]
        inode = known.get(number)
        live = inode is not None and inode == current
        if not live and number not in lived and (inode is None or (opened and opened["id"] == number)):
            continue  # it was made and cut off before it went live
        record = journal.record_path(number)
        states.append(
            StateRecord(
                id=number,
                label=entry["label"],
                time=entry["time"],
                why=entry.get("why", ""),
                path=root if live else None if number in gone else places.get(inode),
                live=live,
                verified=entry.get("verified", ""),
                record=record if record.exists() else None,
                origin=begun[number].get("before", "") if number in begun else "",
            )
        )
    return History(root, tuple(states), entries)


def state_folders(root: Path) -> list[Path]:
    """The folders that stand beside an environment under the name of a state."""
    pattern = re.compile(re.escape(root.name) + r"\.archfit-\d+")
    try:
        with os.scandir(root.parent) as entries:
            return [Path(e.path) for e in entries if pattern.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _decode(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("time"), str):
        return None
    fields = _FIELDS.get(str(entry.get("event")))
    return entry if fields and all(isinstance(entry.get(name), kind) for name, kind in fields.items()) else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
