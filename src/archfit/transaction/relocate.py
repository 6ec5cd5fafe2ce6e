"""What an installer writes into a clone must name the place where it will stand, not where it is made."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TEXT_BYTES = 1 << 20
"""Scripts and path files are small; what is larger is no text that an installer writes a path into."""


class relocatable:
    """While it lasts, installers write console scripts that find their Python beside themselves.

    `pyvenv.cfg` is replaced, never written into: it could be a hard link to the live one. A conda prefix has none.
    """

    def __init__(self, clone: Path) -> None:
        self.path = clone / "pyvenv.cfg"
        self.original = self.path.read_bytes() if self.path.exists() else None

    def __enter__(self) -> None:
        if self.original is None:
            return
        self.status = self.path.stat()
        text = self.original.decode("utf-8", "surrogateescape")
        lines = [line for line in text.splitlines() if not re.match(r"relocatable\s*=", line)]
        self._replace("\n".join([*lines, "relocatable = true", ""]).encode("utf-8", "surrogateescape"))

    def __exit__(self, *_: object) -> None:
        if self.original is not None:
            self._replace(self.original)
            os.utime(self.path, ns=(self.status.st_atime_ns, self.status.st_mtime_ns))

    def _replace(self, data: bytes) -> None:
        replace_file(self.path, data, self.status.st_mode)


def name_by(clone: Path, root: Path) -> None:
    """Let every script and path file that names the clone name `root`, and RECORD files tell so.

    Only files that were written into the clone name it, so none of them is shared with another state.
    """
    changed = {}
    for path in _naming(clone):
        data = path.read_bytes().replace(os.fsencode(str(clone)), os.fsencode(str(root)))
        replace_file(path, data, path.stat().st_mode)
        changed[path] = data
    if changed:
        for record in clone.glob("lib*/python*/site-packages/*.dist-info/RECORD"):
            _correct(record, changed)


def leaks_of(clone: Path) -> tuple[str, ...]:
    """Scripts and path files of the clone that carry the clone's own path: they would break after the exchange."""
    return tuple(str(path.relative_to(clone)) for path in _naming(clone))


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """A new file of the same name: whoever shares the old one keeps it."""
    with suppress(FileNotFoundError):
        path.unlink()
    path.write_bytes(data)
    path.chmod(mode & 0o7777)


def _naming(clone: Path) -> Iterator[Path]:
    needle = os.fsencode(str(clone))
    suspects = [*(clone / "bin").glob("*"), *clone.glob("lib/python*/site-packages/*.pth")]
    for path in sorted(suspects):
        if (
            path.is_file()
            and not path.is_symlink()
            and path.stat().st_size < _TEXT_BYTES
            and needle in path.read_bytes()
        ):
            yield path


def _correct(record: Path, changed: dict[Path, bytes]) -> None:
    """Put the new hashes and sizes of `changed` into one RECORD, if it lists them."""
    site = record.parent.parent
    names = {os.path.relpath(path, site): data for path, data in changed.items()}
    lines = record.read_text("utf-8").splitlines(keepends=True)
    new = [_row(name, names[name]) if (name := line.partition(",")[0]) in names else line for line in lines]
    if new != lines:
        replace_file(record, "".join(new).encode(), record.stat().st_mode)


def _row(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"
