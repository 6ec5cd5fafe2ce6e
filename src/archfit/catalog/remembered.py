"""What a user measured: rows of wheels of their own, laid over the catalog that ships.

One file for each wheel, named by its hash, in the user's data folder; the format is that of ``wheels.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path

from archfit.catalog.tables import load_json
from archfit.catalog.wheels import Wheel, wheel_of
from archfit.errors import UsageError
from archfit.model import Subject

SOURCE = "your own measurement"
_TORCH_INDEX = "https://download.pytorch.org/whl"
_TORCH_FAMILY = ("torch", "torchvision", "torchaudio", "torchtext", "torchcodec")


def remember(subject: Subject, today: date) -> Path:
    """Keep what a wheel holds; returns the file it is kept in.

    Raises:
        UsageError: it is no wheel with a release and a platform, or the folder cannot be written.
    """
    from archfit.catalog.digest import Texts
    from archfit.catalog.rows import Published, document, platform_of, python_tags_of, render, row_of

    platform = platform_of(subject.file)
    if subject.kind not in ("wheel", "requirement") or not subject.sha256 or platform is None:
        raise UsageError("remember-no-wheel", name=subject.name)
    known = next((w for w in _shipped() if w.sha256 == subject.sha256), None)
    tags = known.python_tags if known else python_tags_of(subject.file)
    published = Published(
        subject.file, platform, tags, subject.sha256, subject.size_bytes or 0, known.uploaded if known else None
    )
    texts = Texts()
    row = row_of(subject, published, "", SOURCE, today.isoformat(), texts)
    row |= {"index": known.index if known else _index_of(subject)}
    row |= {"requires": list(known.requires), "requires_python": known.requires_python} if known else {}
    path = _folder() / f"{subject.sha256}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(render(document([row], texts.all)), "utf-8")
        draft.replace(path)
    except OSError as error:
        raise UsageError("output-failed", path=path, cause=error.strerror) from error
    return path


def overlay(shipped: Sequence[Wheel]) -> tuple[Wheel, ...]:
    """The wheels that ship, with the user's own in the place of those for the same release, platform and index."""
    own = _remembered()
    if not own:
        return tuple(shipped)
    from packaging.version import Version

    taken = {_key(wheel) for wheel in own}
    rows = [*(wheel for wheel in shipped if _key(wheel) not in taken), *own]
    return tuple(sorted(rows, key=lambda w: (w.package, Version(w.version), w.platform, w.file)))


def _remembered() -> list[Wheel]:
    """Those that can be read; a file that cannot is no reason to answer nothing."""
    found = []
    for path in sorted(_folder().glob("*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError, IndexError):
            table = json.loads(path.read_text("utf-8"))
            found += [wheel_of(row, table) for row in table["wheels"]]
    return found


def _shipped() -> list[Wheel]:
    table = load_json("wheels.json")
    return [wheel_of(row, table) for row in table["wheels"]]


def _index_of(subject: Subject) -> str:
    """Where a wheel comes from: PyPI takes no local versions, and what lay on a disk may come from anywhere: empty."""
    distribution = subject.distributions[0]
    local = distribution.version.partition("+")[2]
    if local:
        return f"{_TORCH_INDEX}/{local}" if distribution.name in _TORCH_FAMILY and local.startswith("cu") else ""
    return "PyPI" if subject.kind == "requirement" else ""


def _key(wheel: Wheel) -> tuple[str, str, str, str]:
    return wheel.package, wheel.version, wheel.platform, wheel.index


def _folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("archfit") / "wheels"
