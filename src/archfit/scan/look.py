"""Find out what a word on the command line means, and read it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from archfit.binary.compilers import compiler_kind, read_compiler
from archfit.binary.library import read_library
from archfit.binary.wheel import OnBytes, open_wheel
from archfit.catalog import load_catalog
from archfit.errors import FormatError, UsageError
from archfit.model import Compiler, Distribution, Library, Subject, Text
from archfit.scan import cache
from archfit.scan.index import RemoteArchive, find_wheel
from archfit.scan.wheels import read_wheel

_CODE = re.compile(r"(\.so(\.\d+)*|\.dll|\.pyd|\.cubin|\.ptx|\.fatbin|\.a|\.lib|\.o|\.obj)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ScanWish:
    """What to scan: a path or a requirement, for which platform and Python, searching `deep` or where code is known to be."""

    name: str
    platform: str | None = None
    python: str | None = None
    deep: bool = False
    use_cache: bool = True


OnTotal = Callable[[int], None]


def scan(wish: ScanWish, on_bytes: OnBytes | None = None, on_total: OnTotal | None = None) -> Subject:
    """Read what a word means: a file, a wheel, a folder, an environment's folder of packages, or a requirement.

    `on_total` is told how many bytes there are to read, `on_bytes` how many were read since the last time.

    Raises:
        UsageError: there is no such file, and it is no requirement either.
        FormatError, OSError: the one file that was asked for cannot be read.
        ObserveError: the package index cannot be reached, or has no such wheel.
    """
    path = Path(wish.name).expanduser()
    if path.is_dir():
        return _scan_folder(wish, path, on_bytes, on_total)
    if path.exists():
        if path.suffix.lower() in (".whl", ".zip"):
            return _scan_wheel(wish, path, on_bytes, on_total)
        return _scan_file(wish, path)
    return _scan_requirement(wish, _requirement(wish.name), on_bytes, on_total)


def _requirement(text: str) -> str:
    if os.sep in text or _CODE.search(text) or text.lower().endswith(".whl"):
        raise UsageError("scan-missing", name=text)
    try:
        Requirement(text)
    except InvalidRequirement:
        raise UsageError("scan-unknown", name=text) from None
    return text


def _scan_file(wish: ScanWish, path: Path) -> Subject:
    library, compiler = _read_one(path, path.name, deep=True)
    libraries, compilers = ((library,) if library else ()), ((compiler,) if compiler else ())
    distribution = Distribution(path.name, "", (), (), libraries, compilers)
    return Subject(wish.name, "library", (distribution,), file=path.name)


def _scan_wheel(wish: ScanWish, path: Path, on_bytes: OnBytes | None, on_total: OnTotal | None) -> Subject:
    sha256 = cache.hash_file(path)
    kept = cache.load(sha256) if wish.use_cache else None
    fresh = kept is None
    if kept is None:
        with open_wheel(path) as archive:
            kept = read_wheel(archive, path.name, on_bytes, on_total)
        cache.keep(sha256, kept)
    distribution, unreadable, cuda = kept
    return Subject(wish.name, "wheel", (distribution,), unreadable, path.name, sha256, cuda, cached=not fresh)


def _scan_requirement(wish: ScanWish, requirement: str, on_bytes: OnBytes | None, on_total: OnTotal | None) -> Subject:
    wheel = find_wheel(requirement, wish.platform, wish.python)
    kept = cache.load(wheel.sha256) if wheel.sha256 and wish.use_cache else None
    fresh = kept is None
    if kept is None:
        kept = read_wheel(RemoteArchive(wheel), wheel.file, on_bytes, on_total)
        if wheel.sha256 and not kept[1]:
            cache.keep(wheel.sha256, kept)
    distribution, unreadable, cuda = kept
    return Subject(
        wish.name, "requirement", (distribution,), unreadable, wheel.file, wheel.sha256, cuda, cached=not fresh
    )


def _scan_folder(wish: ScanWish, root: Path, on_bytes: OnBytes | None, on_total: OnTotal | None) -> Subject:
    """Every file below that can hold code; wheels among them are opened, too."""
    files = list(_walk(root))
    if on_total:
        on_total(sum(size for _, size in files))
    libraries: list[Library] = []
    compilers: list[Compiler] = []
    unreadable: list[tuple[str, Text]] = []
    for path, size in files:
        name = path.relative_to(root).as_posix()
        try:
            library, compiler = _read_one(path, name, deep=wish.deep)
        except FormatError as error:
            unreadable.append((name, Text(error.key, {k: str(v) for k, v in error.values.items()})))
        except OSError as error:
            unreadable.append((name, Text("plain", {"text": error.strerror or str(error)})))
        else:
            libraries += [library] if library else []
            compilers += [compiler] if compiler else []
        if on_bytes:
            on_bytes(size)
    distribution = Distribution(root.name or str(root), "", (), (), tuple(libraries), tuple(compilers))
    return Subject(wish.name, "folder", (distribution,), tuple(unreadable), file=root.name)


def _walk(root: Path) -> Iterator[tuple[Path, int]]:
    """Files that can hold code with their size in bytes; of a file with several names the first."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if _CODE.search(name) or compiler_kind(name):
                path = Path(folder, name)
                try:
                    status = path.stat()
                except OSError:
                    yield path, 0  # a link that leads nowhere; reading it says so
                    continue
                if (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    yield path, status.st_size


def _read_one(path: Path, name: str, *, deep: bool) -> tuple[Library | None, Compiler | None]:
    kind = compiler_kind(name)
    compiler = read_compiler(path, name) if kind else None
    if kind in ("ptxas", "libdevice"):
        return None, compiler
    sections = None if deep else load_catalog().sections_of(path.name)
    return read_library(path, name, search="all" if sections is None else sections), compiler
