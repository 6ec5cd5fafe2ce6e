"""archfit and the pure Python packages that it needs, as one zip: any Python from 3.11 on runs it, on any processor.

What is compiled stays behind: `archfit doctor` and `verify` do without (zlib replaces isal, Python the compiled loop of the
reader, the rest is not asked for).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement

import archfit
from archfit.errors import UsageError

_NATIVE = (".so", ".pyd", ".dylib", ".dll")
_LEFT_OUT = frozenset({"pygments", "docutils", "rich-rst", "markdown-it-py", "mdurl", "uv"})
"""What only help pages and installing need: eight of nine megabytes."""


@cache
def pack() -> bytes:
    """The zip; made once."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", node_script())
        for name, path in sorted(_files().items()):
            archive.write(path, name)
    return buffer.getvalue()


def write_program(path: Path) -> None:
    """A file that is a program: ``python3 archfit.pyz doctor --json`` on any machine with Python 3.11 or newer.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        path.write_bytes(b"#!/usr/bin/env python3\n" + pack())
        path.chmod(0o755)
    except OSError as error:
        raise UsageError("output-failed", path=path, cause=error.strerror) from error


@cache
def node_script() -> str:
    """What a node runs to unpack and start it."""
    return (Path(archfit.__file__).parent / "target" / "run_archfit.py").read_text("utf-8")


def _files() -> dict[str, Path]:
    root = Path(archfit.__file__).parent
    found: dict[str, Path] = {
        f"archfit/{path.relative_to(root).as_posix()}": path
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (*_NATIVE, ".c")
    }
    for package in _needed("archfit", set()):
        found |= _pure_files(package)
    return found


def _needed(name: str, seen: set[str]) -> Iterator[Distribution]:
    """The packages that one needs, and those that they need; not itself."""
    for text in distribution(name).requires or ():
        wanted = Requirement(text)
        if wanted.name in seen | _LEFT_OUT or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        seen.add(wanted.name)
        try:
            yield distribution(wanted.name)
        except PackageNotFoundError:
            continue
        yield from _needed(wanted.name, seen)


def _pure_files(package: Distribution) -> dict[str, Path]:
    """The modules of a package; none where it holds compiled code, which fits one Python on one processor."""
    files = [file for file in package.files or () if ".." not in file.parts]
    if any(file.suffix in _NATIVE for file in files):
        return {}
    wanted = (file for file in files if file.suffix != ".pyc")
    return {
        PurePosixPath(file).as_posix(): Path(str(file.locate()))
        for file in wanted
        if Path(str(file.locate())).is_file()
    }
