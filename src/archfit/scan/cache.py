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
from archfit.model import CodeObject, Compiler, Container, Distribution, Library, Text

_EDITION = 1
"""Raised whenever the reader learns to see more: older answers are read anew."""

_PIECE_BYTES = 1 << 20

Kept = tuple[Distribution, tuple[tuple[str, Text], ...], CudaVersion | None]


def hash_file(path: Path) -> str:
    """The sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def load(sha256: str) -> Kept | None:
    """What was kept for this hash; None if nothing was, or it can no longer be read."""
    try:
        document = json.loads(_path(sha256).read_text("utf-8"))
        if document["edition"] != _EDITION:
            return None
        unreadable = tuple((name, Text(key, values)) for name, key, values in document["unreadable"])
        cuda = CudaVersion.parse(document["cuda"]) if document["cuda"] else None
        return _distribution(document["distribution"]), unreadable, cuda
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(sha256: str, kept: Kept) -> None:
    """Keep an answer; a cache that cannot be written is no reason to fail."""
    distribution, unreadable, cuda = kept
    document = {
        "edition": _EDITION,
        "distribution": asdict(distribution),
        "unreadable": [[name, text.key, text.values] for name, text in unreadable],
        "cuda": str(cuda) if cuda else None,
    }
    path = _path(sha256)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(document, file, default=str, separators=(",", ":"))
        Path(file.name).replace(path)  # never half a file under the name that is read


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
        Container(tuple(map(_code, c["objects"])), c["registered"], c["count"], c["section"]) for c in row["containers"]
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
