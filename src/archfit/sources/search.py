"""Look through a folder of Python files and notebooks, bounded and whatever is in them."""

from __future__ import annotations

import ast
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from archfit.catalog.changes import Change
from archfit.errors import UsageError
from archfit.model import SourceHit, SourceSearch
from archfit.sources.match import match_module

OnFile = Callable[[int, int], None]

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages", "conda-meta"})
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")
_MOST_FILES = 50_000
_LARGEST_FILE_BYTES = 4 << 20


def search_source(root: Path, changes: Sequence[Change], on_file: OnFile | None = None) -> SourceSearch:
    """Every place below `root` (a folder, or one file) that one of these changes touches.

    Virtual environments, hidden folders and installed packages are passed over. `on_file` is told how many of how many files
    are done.

    Raises:
        UsageError: there is no such folder.
    """
    if not root.exists():
        raise UsageError("source-missing", path=root)
    files = [root] if root.is_file() else list(_files(root))
    base = root.parent if root.is_file() else root
    hits: list[SourceHit] = []
    unreadable: list[str] = []
    for number, path in enumerate(files[:_MOST_FILES], 1):
        name = path.relative_to(base).as_posix()
        try:
            for where, text in _parts(path, name):
                hits += _hits(where, text, changes)
        except (OSError, SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError):
            unreadable.append(name)
        if on_file:
            on_file(number, len(files))
    order = {change.id: position for position, change in enumerate(changes)}
    hits.sort(key=lambda hit: (order[hit.change], hit.file, hit.line))
    return SourceSearch(root, min(len(files), _MOST_FILES), tuple(hits), tuple(unreadable), len(files) > _MOST_FILES)


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not _is_skipped(folder, name))
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix in (".py", ".pyw", ".ipynb") and path.is_file():
                yield path


def _is_skipped(folder: str, name: str) -> bool:
    if name in _SKIPPED or name.startswith("."):
        return True
    return any(os.path.exists(os.path.join(folder, name, mark)) for mark in _ENVIRONMENT)  # noqa: PTH110


def _parts(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """A module, or the code cells of a notebook one by one, each with what it is called."""
    if path.stat().st_size > _LARGEST_FILE_BYTES:
        raise ValueError(name)
    content = path.read_bytes()
    if path.suffix != ".ipynb":
        yield name, content
        return
    cells = json.loads(content).get("cells", ())
    for number, cell in enumerate(cells, 1):
        if cell.get("cell_type") == "code":
            lines = "".join(cell.get("source", ())).splitlines()
            yield f"{name}[{number}]", "\n".join(_without_magic(line) for line in lines).encode()


def _without_magic(line: str) -> str:
    """``%matplotlib`` and ``!pip`` are no Python; the line stays, so that the next ones keep their numbers."""
    return "pass" if line.startswith(("%", "!", "?")) else line


def _hits(name: str, content: bytes, changes: Sequence[Change]) -> Iterator[SourceHit]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes in what is only read
        tree = ast.parse(content)
    lines = content.decode("utf-8", "replace").splitlines()
    for change, number in sorted(set(match_module(tree, changes)), key=lambda pair: pair[1]):
        code = lines[number - 1].strip()[:160] if 0 < number <= len(lines) else ""
        yield SourceHit(change.id, name, number, code)
