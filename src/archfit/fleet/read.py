"""Reports of many machines, from files, folders and a pipe: one document each, one a line, one after another, or a list.

Also the nodes of an ``archfit.fleet/1`` document. What cannot be read is a row that says so.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import IO

import msgspec

from archfit.errors import FormatError, UsageError
from archfit.fleet.documents import Reader, clean, schema_of, unreadable
from archfit.model import Node, NodeProof, NodeState, Text

OnRead = Callable[[int, int], None]

_SUFFIXES = (".json", ".ndjson", ".jsonl")
_MOST_FILE_BYTES = 1 << 30  # of one file with many documents
_DOCUMENT = re.compile(rb"^(?=\{)", re.MULTILINE)
"""Where a document begins: a line whose first character is a brace, be it a whole document or the first line of one."""


class _Proof(msgspec.Struct, gc=False):
    level: str
    status: str
    failed: tuple[str, ...] = ()
    why: str = ""


class _Row(msgspec.Struct, gc=False):
    name: str
    state: NodeState
    source: str = ""
    why: str = ""
    report: msgspec.Raw = msgspec.Raw(b"null")
    proof: _Proof | None = None
    package_set: int | None = None


class _Run(msgspec.Struct, gc=False):
    """``archfit.fleet/1``, as far as its nodes go."""

    nodes: tuple[_Row, ...]
    package_sets: tuple[dict[str, str], ...] = ()


def read_nodes(places: Iterable[str], stdin: IO[bytes], on_read: OnRead | None = None) -> tuple[Node, ...]:
    """All nodes that files, folders and ``-`` tell of: one row for each host and target, and one for each bad report.

    Raises:
        UsageError: there is no such file or folder, or a folder without reports.
    """
    reader = Reader()
    found: list[Node] = []
    files = [path for place in places for path in _files(place)]
    for number, path in enumerate(files, 1):
        found += _read_stream(reader, stdin) if path is None else _read_file(reader, path)
        if on_read:
            on_read(number, len(files))
    return join(found)


def join(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """One row per host and target: the newest report counts and older ones are named; a proof goes to its report."""
    by_key: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        key = (node.name, node.target) if node.state == "reported" else (node.source, f"\0{len(by_key)}")
        by_key.setdefault(key, []).append(node)
    joined = [row for group in by_key.values() for row in _join_host(group)]
    return tuple(sorted(joined, key=attrgetter("name", "target", "source")))


def _join_host(group: list[Node]) -> list[Node]:
    """Of several reports of one host and target the newest; those without a diagnosis only lend their proof."""
    if len(group) == 1:
        return group
    newest_last = sorted(group, key=attrgetter("observed"))
    told = [node for node in newest_last if node.status] or newest_last[-1:]
    proofs = [node.proof for node in newest_last if node.proof]
    best = replace(told[-1], proof=proofs[-1] if proofs else None)
    older = [
        Node(node.name, "duplicate", node.source, Text("fleet-duplicate", {"source": best.source}), node.observed)
        for node in told[:-1]
    ]
    return [best, *older]


def _files(place: str) -> list[Path | None]:
    """The files that a word names; None stands for the pipe."""
    if place == "-":
        return [None]
    path = Path(place)
    if not path.is_dir():
        if not path.exists():
            raise UsageError("fleet-no-such-file", path=place)
        return [path]
    inside: list[Path | None] = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in _SUFFIXES]
    if not inside:
        raise UsageError("fleet-empty-folder", path=place, suffixes=" ".join(_SUFFIXES))
    return inside


def _read_file(reader: Reader, path: Path) -> list[Node]:
    try:
        seen = path.stat()
        if not stat.S_ISREG(seen.st_mode):
            return [unreadable(str(path), path.stem, Text("report-no-file"))]
        if seen.st_size > _MOST_FILE_BYTES:
            return [unreadable(str(path), path.stem, _too_large(seen.st_size, _MOST_FILE_BYTES))]
        data = path.read_bytes()
    except OSError as error:
        return [unreadable(str(path), path.stem, Text.why(error))]
    return list(_read_documents(reader, data, clean(str(path)), clean(path.stem)))


def _read_stream(reader: Reader, stdin: IO[bytes]) -> list[Node]:
    data = stdin.read(_MOST_FILE_BYTES + 1)
    if len(data) > _MOST_FILE_BYTES:
        return [unreadable("-", "-", _too_large(len(data), _MOST_FILE_BYTES))]
    return list(_read_documents(reader, data, "-", "-"))


def _too_large(size: int, limit: int) -> Text:
    return Text("report-large", {"size": str(size), "limit": str(limit)})


def _read_documents(reader: Reader, data: bytes, source: str, name: str) -> Iterator[Node]:
    """Every node of one file."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    pieces = list(_split(data))
    for number, piece in enumerate(pieces, 1):
        place = _Place(source, name) if len(pieces) == 1 else _Place(f"{source}:{number}", f"{name}:{number}")
        yield from _read_one(reader, piece, place)


@dataclass(frozen=True, slots=True)
class _Place:
    source: str
    name: str


def _read_one(reader: Reader, data: bytes, place: _Place) -> Iterator[Node]:
    if b"archfit.fleet/1" in data[:200]:
        yield from _read_run(reader, data, place)
    else:
        yield reader.read(data, place.source, place.name)


def _split(data: bytes) -> Iterator[bytes]:
    """The documents in `data`: one, one a line, pretty ones after one another, or the items of a list."""
    if data[:1].isspace():
        data = data.lstrip()
    if data.startswith(b"["):
        try:
            yield from (bytes(item) for item in msgspec.json.decode(data, type=list[msgspec.Raw]))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            yield data
        return
    if b"\n{" not in data or _is_one(data):
        yield data
        return
    starts = sorted(
        {0, *(match.start() for match in _DOCUMENT.finditer(data))}
    )  # what stands before the first is a row, too
    for start, end in zip(starts, [*starts[1:], len(data)], strict=True):
        yield data[start:end]


def _is_one(data: bytes) -> bool:
    """Is this one document that was written without indentation?"""
    try:
        schema_of(data)
    except FormatError:
        return False
    return True


def _read_run(reader: Reader, data: bytes, place: _Place) -> Iterator[Node]:
    """The nodes of an earlier run of ``archfit fleet``."""
    try:
        run = msgspec.json.decode(data, type=_Run)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        yield unreadable(place.source, place.name, Text("report-broken", {"cause": clean(str(error))}))
        return
    for row in run.nodes:
        if row.state != "reported":
            yield Node(clean(row.name), row.state, clean(row.source), Text("plain", {"text": clean(row.why)}))
            continue
        node = reader.read(bytes(row.report), clean(row.source), clean(row.name))
        number = row.package_set
        sets = run.package_sets[number : number + 1] if number is not None and number >= 0 else ()
        yield replace(node, proof=_proof(row.proof), packages=sets[0] if sets else {})


def _proof(row: _Proof | None) -> NodeProof | None:
    if row is None:
        return None
    why = Text("plain", {"text": clean(row.why)}) if row.why else None
    return NodeProof(clean(row.level), clean(row.status), tuple(map(clean, row.failed)), why)
