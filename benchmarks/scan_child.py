#!/usr/bin/env python3
"""What the processes of ``benchmarks/scan.py`` do: each is prepared from the lists in a folder, and only the work is timed.

usage: python benchmarks/scan_child.py WORK FOLDER [WORD ...]

Prints the seconds that passed and those of the processor. It imports as little as it can, so that the memory of a process
is that of its work.
"""

from __future__ import annotations

import os
import re
import sys
import time
from functools import partial
from pathlib import Path

if False:  # for the reader of this file and for checkers: typing costs memory
    from collections.abc import Callable
    from typing import Any

    Work = Callable[[], object]

_SHARED_OBJECT = re.compile(r"\.so(\.\d+)*$")
PAGE_BYTES = 4096


def shared_objects(root: Path) -> list[Path]:
    sites = root.glob("lib/python3*/site-packages")
    return sorted(Path(d, f) for site in sites for d, _, fs in os.walk(site) for f in fs if _SHARED_OBJECT.search(f))


def prepare_floor(lists: Path, name: str) -> Work:
    import json

    files = json.loads((lists / name).read_text())

    def floor() -> None:
        pread = os.pread
        for path, offsets in files:
            descriptor = os.open(path, os.O_RDONLY)
            for offset in offsets:
                pread(descriptor, 4096, offset)
            os.close(descriptor)

    return floor


def prepare_reader(
    lists: Path, search: Any = (), *, together: bool = False, walk: bool = False, compiled: bool = True
) -> Work:
    from archfit.binary import fatbin
    from archfit.binary.library import read_library

    if not compiled:
        fatbin._follow = None  # type: ignore[assignment]

    files = [Path(line) for line in (lists / "files.txt").read_text().splitlines()]
    root = Path((lists / "root.txt").read_text())
    searched = lambda file: search  # noqa: E731
    if search == "catalog":
        from archfit.catalog import load_catalog

        catalog = load_catalog()
        searched = lambda file: "all" if (named := catalog.sections_of(file.name)) is None else named  # noqa: E731
    if together:
        from archfit.binary.many import Wanted, read_libraries

        return lambda: read_libraries([Wanted(file, str(file), searched(file)) for file in files])

    def work() -> object:
        return [read_library(file, search=searched(file)) for file in (shared_objects(root) if walk else files)]

    return work


def prepare_record(lists: Path) -> Work:
    """Write down where our reader reads; prints how much that is."""
    import json

    from archfit.binary import fatbin
    from archfit.binary.library import parse_library

    def work() -> None:
        headers, everything = Recorder(), Recorder()
        found = []
        for path in shared_objects(Path((lists / "root.txt").read_text())):
            found.append(parse_library(headers.reader(path), str(path), path.stat().st_size, search=()))
            parse_library(everything.reader(path), str(path), path.stat().st_size)
        (lists / "files.txt").write_text("\n".join(str(path) for path, _ in headers.reads))
        (lists / "pages.json").write_text(headers.pages())
        (lists / "places.json").write_text(headers.places())
        (lists / "all.json").write_text(everything.pages())
        containers = sum(c.count for library in found for c in library.containers)
        objects = sum(c.count * len(c.objects) for library in found for c in library.containers)
        told = f"{containers:,} containers with {objects:,} code objects in sections that hold nothing else"
        if fatbin._follow is None:
            told += "; the reader's compiled loop is missing"
        with_code = [library.path for library in found if library.containers]
        (lists / "told.json").write_text(json.dumps([told, with_code]))

    return work


class Recorder:
    """Reads files, and knows where it read."""

    def __init__(self) -> None:
        self.reads: list[tuple[Path, list[tuple[int, int]]]] = []

    def reader(self, path: Path) -> Callable[[int, int], bytes]:
        data, reads = path.open("rb"), []
        self.reads.append((path, reads))

        def read(size: int, offset: int) -> bytes:
            reads.append((size, offset))
            return os.pread(data.fileno(), size, offset)

        return read

    def pages(self) -> str:
        """Every page once."""
        import json

        rows = []
        for path, reads in self.reads:
            last = path.stat().st_size // PAGE_BYTES
            numbers = (
                n for size, at in reads for n in range(at // PAGE_BYTES, (at + max(size, 1) - 1) // PAGE_BYTES + 1)
            )
            rows.append((str(path), [n * PAGE_BYTES for n in dict.fromkeys(numbers) if n <= last]))
        return json.dumps(rows)

    def places(self) -> str:
        """Every place, in order."""
        import json

        return json.dumps([(str(path), [at for _, at in reads]) for path, reads in self.reads])


def prepare_stream(_: Path, wheel: str) -> Work:
    from archfit.binary.wheel import list_members, open_wheel, read_member

    def work() -> None:
        with open_wheel(Path(wheel)) as archive:
            for member in list_members(archive):
                if member.may_hold_code:
                    read_member(archive, member)

    return work


def prepare_inflate(_: Path, wheel: str) -> Work:
    from isal import isal_zlib

    from archfit.binary.wheel import list_members, open_wheel

    def work() -> None:
        with open_wheel(Path(wheel)) as archive:
            for member in list_members(archive):
                if member.may_hold_code:
                    header = archive.read(30, member.offset)
                    names = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
                    machine = isal_zlib.decompressobj(-15)
                    for packed in archive.stream(member.packed_bytes, member.offset + 30 + names):
                        piece = machine.decompress(packed, 1 << 20)
                        while piece and machine.unconsumed_tail:
                            piece = machine.decompress(machine.unconsumed_tail, 1 << 20)

    return work


WORK = {
    "record": prepare_record,
    "floor": prepare_floor,
    "headers": prepare_reader,
    "headers in Python": partial(prepare_reader, compiled=False),
    "headers side by side": partial(prepare_reader, together=True),
    "walk": partial(prepare_reader, walk=True),
    "catalog": partial(prepare_reader, search="catalog"),
    "catalog side by side": partial(prepare_reader, search="catalog", together=True),
    "everything": partial(prepare_reader, search="all"),
    "inflate": prepare_inflate,
    "stream": prepare_stream,
}


def be_child(name: str, lists: Path, words: list[str]) -> None:
    work = WORK[name](lists, *words)
    began, cpu_began = time.perf_counter(), time.process_time()
    work()
    print(time.perf_counter() - began, time.process_time() - cpu_began)


if __name__ == "__main__":
    be_child(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
