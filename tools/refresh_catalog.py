#!/usr/bin/env python3
"""Read the wheels of many packages from PyPI, and write what is in them into the catalog.

usage: python tools/refresh_catalog.py [--only torch,vllm] [--list] [--output FILE]

``refresh_catalog.toml`` says which packages and how many releases of each. Of each release one wheel per platform is read as
a stream, as ``archfit scan`` does; nothing is stored but the answer. What was read once is kept by its sha256 in the user's
cache, so a run that was ended goes on where it was, and a second run reads only what is new. The file is written after every
few wheels. The same wheels give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import tomllib
from packaging.utils import parse_wheel_filename
from platformdirs import user_cache_path
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from archfit.binary.wheel import Archive, inflate, list_members
from archfit.catalog.digest import Texts
from archfit.catalog.rows import Document, Published, document, platform_of, render, row_of
from archfit.errors import ArchfitError, FormatError
from archfit.model import Subject
from archfit.scan import cache
from archfit.scan.index import RemoteWheel, open_remote
from archfit.scan.wheels import read_wheel
from archfit.together import abandon, start
from archfit.uv import last_words, run_uv

HERE = Path(__file__).parent
CATALOG = HERE.parent / "src/archfit/catalog/wheels.json"
SOURCE = "the wheel on PyPI, read as a stream"
EDITION = 2
"""Raised whenever a row holds more than before: rows of an older edition are made anew."""

_LOCK = (
    "pip",
    "compile",
    "--no-deps",
    "--universal",
    "--quiet",
    "--no-header",
    "--only-binary",
    ":all:",
    "--no-python-downloads",
)
_NEWEST_FOR = ("3.12", "3.11", "3.10", "3.9", "3.8")
_OLDEST_FIRST = ("3.8", "3.9", "3.10", "3.11", "3.12")
_SIDE_BY_SIDE = 2
_WRITE_EVERY = 5

OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A wheel to read, and what the index says about it."""

    package: str
    version: str
    remote: RemoteWheel
    published: Published

    def __str__(self) -> str:
        return f"{self.package} {self.version} {self.published.platform}"


# --- what there is ---------------------------------------------------------------------------------------------------


def releases_of(package: str, plan: dict[str, Any], default: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The newest releases with wheels and the files of each, newest first; each is what uv resolves below the one before."""
    floor, wanted = plan.get("from"), plan.get("releases", default)
    below, found = "", 0
    while floor or found < wanted:
        bounds = ",".join(filter(None, (f">={floor}" if floor else "", below, plan.get("below", ""))))
        locked = lock(f"{package}{bounds}")
        if locked is None:
            return
        version, files = locked
        yield version, files
        below, found = f"<{version}", found + 1


def lock(requirement: str) -> tuple[str, list[dict[str, Any]]] | None:
    """The newest version that a requirement means and all its wheels, for as many Pythons as it serves, or None.

    uv is asked twice: which release is the newest for a Python of today, then for its wheels from the oldest Python on.
    """
    name = re.split(r"[<>=]", requirement)[0]
    found = next(filter(None, (_resolve(requirement, python) for python in _NEWEST_FOR)), None)
    if found is None:
        return None
    version = found[0]
    return next(filter(None, (_resolve(f"{name}=={version}", python) for python in _OLDEST_FIRST)), found)


def _resolve(requirement: str, python: str) -> tuple[str, list[dict[str, Any]]] | None:
    done = run_uv([*_LOCK, "--python-version", python, "--format", "pylock.toml", "-"], given=requirement + "\n")
    packages = tomllib.loads(done.stdout).get("packages") if done.returncode == 0 else None
    if packages:
        return packages[0]["version"], packages[0].get("wheels", [])
    if "No solution found" in done.stderr or "unsatisfiable" in done.stderr:
        return None
    sys.exit(f"{requirement}: {last_words(done.stderr)}")


def choose(package: str, version: str, files: list[dict[str, Any]], settings: dict[str, Any]) -> Iterator[Wanted]:
    """One wheel for each platform: of the preferred Python, of the highest build number, for the oldest glibc."""
    by_platform: dict[str, list[dict[str, Any]]] = {}
    for row in files:
        row["file"] = unquote(row["url"].rpartition("/")[2])
        if (platform := platform_of(row["file"])) and platform in settings["platforms"]:
            by_platform.setdefault(platform, []).append(row)
    for platform, rows in sorted(by_platform.items()):
        best = min(rows, key=lambda row: _preference(row["file"], settings["pythons"]))
        tags = {tag.interpreter + ("t" if tag.abi.endswith("t") else "") for r in rows for tag in tags_of(r["file"])}
        digest = best["hashes"]["sha256"]
        uploaded = best.get("upload-time")
        day = uploaded.date().isoformat() if isinstance(uploaded, datetime) else None
        published = Published(best["file"], platform, tuple(sorted(tags, key=_python_order)), digest, best["size"], day)
        yield Wanted(package, version, RemoteWheel(best["file"], best["url"], best["size"], digest), published)


def tags_of(file: str) -> Any:
    return parse_wheel_filename(file)[3]


def _preference(file: str, pythons: list[str]) -> tuple[int, bool, int, str]:
    build, tags = parse_wheel_filename(file)[2:]
    ranks = [pythons.index(tag.interpreter) for tag in tags if tag.interpreter in pythons]
    threads = any(tag.abi.endswith("t") for tag in tags)
    return min(ranks, default=len(pythons)), threads, -(build[0] if build else 0), file


def _python_order(tag: str) -> tuple[str, int, str]:
    match = re.fullmatch(r"([a-z]+)(\d)(\d*)(t?)", tag)
    return (match[1], int(match[2]) * 100 + int(match[3] or 0), match[4]) if match else (tag, 0, "")


# --- reading ---------------------------------------------------------------------------------------------------------


def measure(wanted: Wanted, today: str, on_total: OnBytes, on_bytes: OnBytes) -> Document:
    """The row of a wheel with its own list of targets, kept in the user's cache."""
    kept = user_cache_path("archfit") / "catalog" / f"{wanted.published.sha256}.json"
    if kept.exists():
        found: Document = json.loads(kept.read_text("utf-8"))
        if found["edition"] == EDITION:
            found["row"]["python_tags"] = list(wanted.published.python_tags)
            return found
    with open_remote(wanted.remote) as archive:
        metadata = read_metadata(archive)
        subject = cache.load(wanted.published.sha256) or read(archive, wanted, on_total, on_bytes)
    texts = Texts()
    row = row_of(subject, wanted.published, metadata, SOURCE, today, texts)
    found = {"edition": EDITION, "row": row, "targets": texts.all}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found), "utf-8")
    return found


def read(archive: Archive, wanted: Wanted, on_total: OnBytes, on_bytes: OnBytes) -> Subject:
    """What ``archfit scan`` would read, and keep."""
    distribution, unreadable, cuda = read_wheel(archive, wanted.remote.file, on_bytes, on_total)
    if unreadable:
        raise FormatError(unreadable[0][1].key, **dict(unreadable[0][1].values))
    subject = Subject(
        str(wanted), "wheel", (distribution,), (), wanted.remote.file, wanted.published.sha256, archive.size_bytes, cuda
    )
    cache.keep(wanted.published.sha256, subject)
    return subject


def read_metadata(archive: Archive) -> str:
    member = next(m for m in list_members(archive) if m.name.endswith(".dist-info/METADATA") and m.name.count("/") == 1)
    return b"".join(inflate(archive, member)).decode("utf-8", "replace")


# --- writing ---------------------------------------------------------------------------------------------------------


class Table:
    """``wheels.json`` in the making: what is in it already stays until it is read anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.targets = Texts()
        self._rows: dict[str, Document] = {}
        if path.exists():
            old = json.loads(path.read_text("utf-8"))
            for row in old["wheels"]:
                self.add({**row, "source": old["sources"][row["source"]]}, old["targets"])

    def drop(self, package: str) -> None:
        """Forget the rows of a package that is read anew."""
        self._rows = {key: row for key, row in self._rows.items() if row["package"] != package}

    def add(self, row: Document, targets: list[str]) -> None:
        """A row with numbers in `targets`."""
        moved = [self.targets.number(text) for text in targets]
        row = {**row, "libraries": [[p, f, [[n, x, moved[t]] for n, x, t in cs]] for p, f, cs in row["libraries"]]}
        if "compilers" in row:
            row["compilers"] = [[path, kind, cuda, moved[t]] for path, kind, cuda, t in row["compilers"]]
        self._rows[row["sha256"]] = row

    def write(self) -> None:
        """All rows in order, never half a file."""
        draft = self._path.with_suffix(".new")
        draft.write_text(render(document(self._rows.values(), self.targets.all)), "utf-8")
        draft.replace(self._path)


def refresh(wishes: list[Wanted], table: Table, console: Console) -> int:
    """Read all wheels, two side by side; returns how many could not be read."""
    today = datetime.now(UTC).date().isoformat()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    failed = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        total = progress.add_task(f"{len(wishes)} wheels", total=sum(w.published.size_bytes for w in wishes))

        def task(wanted: Wanted) -> Document:
            bar = progress.add_task(str(wanted), total=None)
            try:
                return measure(
                    wanted,
                    today,
                    lambda size: progress.update(bar, total=size),
                    lambda size: progress.update(bar, advance=size),
                )
            finally:
                progress.remove_task(bar)
                progress.update(total, advance=wanted.published.size_bytes)

        tasks = start([partial(task, wanted) for wanted in wishes], _SIDE_BY_SIDE)
        try:
            for number, (wanted, future) in enumerate(zip(wishes, tasks, strict=True), start=1):
                try:
                    found = future.result()
                    table.add(found["row"], found["targets"])
                    console.print(f"{number}/{len(wishes)} {wanted}", highlight=False)
                except (ArchfitError, OSError, StopIteration) as error:
                    failed += 1
                    console.print(f"{number}/{len(wishes)} {wanted} FAILED: {error!r}", highlight=False)
                if number % _WRITE_EVERY == 0:
                    table.write()
        finally:
            abandon(tasks, 1.0)
            table.write()
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="packages, with commas between; the rows of all others stay")
    parser.add_argument("--list", action="store_true", help="only say what would be read")
    parser.add_argument("--output", type=Path, default=CATALOG)
    options = parser.parse_args()
    settings = tomllib.loads((HERE / "refresh_catalog.toml").read_text("utf-8"))
    only = set(filter(None, options.only.split(",")))
    plans = {name: plan for name, plan in settings["packages"].items() if not only or name in only}
    console = Console(stderr=True)
    table = Table(options.output)
    failed = 0
    for package, plan in plans.items():
        found = [
            w for v, fs in releases_of(package, plan, settings["releases"]) for w in choose(package, v, fs, settings)
        ]
        size = sum(w.published.size_bytes for w in found)
        console.print(f"{package}: {len(found)} wheels, {size / 1e9:.2f} GB", highlight=False)
        if options.list:
            print("\n".join(f"{wanted} {wanted.published.file} {wanted.published.size_bytes}" for wanted in found))
        else:
            table.drop(package)
            failed += refresh(found, table, console)
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
