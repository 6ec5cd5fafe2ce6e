"""Answers kept by the hash of the wheel: a wheel never changes, so neither does what is in it."""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from archfit.arch import ComputeCapability, CudaVersion, Target
from archfit.model import CodeObject, Compiler, Container, Distribution, Library, Subject, Text

_EDITION = 2
"""Raised whenever the reader learns to see more: older answers are read anew."""

_PIECE_BYTES = 1 << 20


def hash_file(path: Path) -> str:
    """The sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def load(sha256: str) -> Subject | None:
    """What was kept for this hash; None if nothing was, or it can no longer be read."""
    try:
        document = json.loads(_path(sha256).read_text("utf-8"))
        if document["edition"] != _EDITION:
            return None
        return Subject(
            name="",
            kind="wheel",
            distributions=(_distribution(document["distribution"]),),
            sha256=sha256,
            size_bytes=document["size_bytes"],
            cuda=CudaVersion(**document["cuda"]) if document["cuda"] else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(sha256: str, subject: Subject) -> None:
    """Keep what a wheel holds; a cache that cannot be written is no reason to fail."""
    document = {
        "edition": _EDITION,
        "distribution": asdict(subject.distributions[0]),
        "size_bytes": subject.size_bytes,
        "cuda": asdict(subject.cuda) if subject.cuda else None,
    }
    text = json.dumps(document, separators=(",", ":"))
    with suppress(OSError):
        _write(_path(sha256), text)


def _write(path: Path, text: str) -> None:
    """Never half a file under the name that is read, and nothing else left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def _path(sha256: str) -> Path:
    return user_cache_path("archfit") / "scan" / f"{sha256}.json"


def _distribution(row: dict[str, Any]) -> Distribution:
    return Distribution(
        row["name"],
        row["version"],
        libraries=tuple(map(_library, row["libraries"])),
        compilers=tuple(map(_compiler, row["compilers"])),
    )


def _library(row: dict[str, Any]) -> Library:
    containers = tuple(
        Container(tuple(map(_code, c["objects"])), c["registered"], c["count"], c["section"], c["linked"])
        for c in row["containers"]
    )
    odd = tuple(Text(text["key"], text["values"]) for text in row["odd"])
    return Library(row["path"], row["size_bytes"], tuple(row["needed"]), containers, row["format"], odd)


def _compiler(row: dict[str, Any]) -> Compiler:
    release = CudaVersion(**row["release"]) if row["release"] else None
    return Compiler(row["path"], row["kind"], release, tuple(map(_target, row["targets"])))


def _code(row: dict[str, Any]) -> CodeObject:
    return CodeObject(**{**row, "target": _target(row["target"]) if row["target"] else None})


def _target(row: dict[str, Any]) -> Target:
    return Target(ComputeCapability(**row["capability"]), row["kind"], row["suffix"])
