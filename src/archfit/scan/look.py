"""Find out what a word on the command line means, and read it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from archfit.binary.compilers import compiler_kind, read_compiler
from archfit.binary.library import read_library
from archfit.binary.wheel import Archive, OnBytes, open_wheel
from archfit.buildscript import BuildScript
from archfit.catalog import load_catalog
from archfit.errors import FormatError, ObserveError, UsageError
from archfit.model import Compiler, Distribution, Library, Subject, Text
from archfit.scan import cache, known_sources
from archfit.scan.index import find_wheel, open_remote, without_secrets
from archfit.scan.releases import find_sdist
from archfit.scan.sdist import is_sdist, read_sdist, read_sdist_stream, stream_of
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
    path = Path(os.path.expanduser(wish.name))  # noqa: PTH111  # which raises nothing for the home of nobody
    if path.is_dir():
        return _scan_folder(wish, path, on_bytes, on_total)
    if is_sdist(path.name) and path.is_file():
        return _scan_sdist(wish, path, on_bytes, on_total)
    if path.exists():
        is_wheel = path.suffix.lower() in (".whl", ".zip")
        return _scan_wheel(wish, path, on_bytes, on_total) if is_wheel else _scan_file(wish, path)
    return _scan_requirement(wish, _requirement(wish.name), on_bytes, on_total)


def wheels_in(root: Path) -> tuple[list[Path], bool]:
    """The wheels below a folder, and whether anything else in it can hold code."""
    files = [Path(folder, name) for folder, _, names in os.walk(root) for name in sorted(names)]
    wheels = sorted(path for path in files if path.suffix.lower() == ".whl")
    return wheels, any(_may_hold_code(path.name) for path in files)


def _requirement(text: str) -> str:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        raise UsageError("scan-missing" if _means_a_file(text) else "scan-unknown", name=text) from None
    if _means_a_file(text) and not requirement.url:
        raise UsageError("scan-missing", name=text)
    return text


def _means_a_file(text: str) -> bool:
    return os.sep in text or text.lower().endswith(".whl") or is_sdist(text) or _CODE.search(text) is not None


def _scan_file(wish: ScanWish, path: Path) -> Subject:
    library, compiler = _read_one(path, path.name, deep=True)
    libraries, compilers = ((library,) if library else ()), ((compiler,) if compiler else ())
    distribution = Distribution(path.name, "", (), (), libraries, compilers)
    return Subject(wish.name, "library", (distribution,), file=path.name, size_bytes=path.stat().st_size)


def _scan_wheel(wish: ScanWish, path: Path, on_bytes: OnBytes | None, on_total: OnTotal | None) -> Subject:
    subject = Subject(wish.name, "wheel", (), file=path.name, sha256=cache.hash_file(path))
    return _kept(wish, subject) or _read(open_wheel(path), subject, on_bytes, on_total)


def _scan_sdist(wish: ScanWish, path: Path, on_bytes: OnBytes | None, on_total: OnTotal | None) -> Subject:
    size_bytes = path.stat().st_size
    if on_total:
        on_total(size_bytes)
    build = read_sdist(path, on_bytes)
    digest = cache.hash_file(path)
    return Subject(wish.name, "sdist", (), file=path.name, sha256=digest, size_bytes=size_bytes, build=build)


def _scan_remote_sdist(
    wish: ScanWish, requirement: str, on_bytes: OnBytes | None, on_total: OnTotal | None
) -> Subject | None:
    """The source package that a requirement means where it has no wheel; None where there is none either."""
    found = find_sdist(requirement)
    if found is None:
        return None
    with open_remote(found) as archive:
        if on_total:
            on_total(archive.size_bytes)
        build = read_sdist_stream(found.file, stream_of(archive, on_bytes))
    name = without_secrets(wish.name)
    return Subject(name, "sdist", (), file=found.file, sha256=found.sha256, size_bytes=found.size_bytes, build=build)


def read_source(requirement: str, most_bytes: int) -> BuildScript | None:
    """What the source package that a requirement means says of its build; None where there is none, or a larger one.

    Raises:
        ObserveError, OSError, FormatError: it cannot be read.
    """
    if known := known_sources.load(requirement):
        return known.build
    found = find_sdist(requirement)
    build = None
    if found is not None and (found.size_bytes or 0) <= most_bytes:
        with open_remote(found) as archive:
            small = archive.size_bytes <= most_bytes
            build = read_sdist_stream(found.file, stream_of(archive)) if small else None
    known_sources.keep(requirement, known_sources.Known(build))
    return build


def _scan_requirement(wish: ScanWish, requirement: str, on_bytes: OnBytes | None, on_total: OnTotal | None) -> Subject:
    try:
        wheel = find_wheel(requirement, wish.platform, wish.python)
    except (ObserveError, UsageError) as error:
        if error.key not in ("no-wheel", "wheel-not-found"):
            raise
        if subject := _scan_remote_sdist(wish, requirement, on_bytes, on_total):
            return subject
        raise
    subject = Subject(without_secrets(wish.name), "requirement", (), file=wheel.file, sha256=wheel.sha256)
    return _kept(wish, subject) or _read(open_remote(wheel), subject, on_bytes, on_total)


def _kept(wish: ScanWish, subject: Subject) -> Subject | None:
    """`subject` as it was read before."""
    kept = cache.load(subject.sha256) if subject.sha256 and wish.use_cache else None
    return replace(kept, name=subject.name, kind=subject.kind, file=subject.file, cached=True) if kept else None


def _read(
    opened: AbstractContextManager[Archive], subject: Subject, on_bytes: OnBytes | None, on_total: OnTotal | None
) -> Subject:
    with opened as archive:
        distribution, unreadable, cuda = read_wheel(archive, subject.file, on_bytes, on_total)
        subject = replace(
            subject,
            distributions=(distribution,),
            unreadable=unreadable,
            cuda=cuda,
            size_bytes=archive.size_bytes,
        )
    if subject.sha256 and not unreadable:  # what failed may be read by the next archfit
        cache.keep(subject.sha256, subject)
    return subject


def _scan_folder(wish: ScanWish, root: Path, on_bytes: OnBytes | None, on_total: OnTotal | None) -> Subject:
    """Every file below that can hold code."""
    os.scandir(root).close()  # a folder that may not be looked into is no empty folder
    libraries: list[Library] = []
    compilers: list[Compiler] = []
    unreadable: list[tuple[str, Text]] = []
    files = list(_walk(root, unreadable))
    if on_total:
        on_total(sum(size for _, size in files))
    for path, size in files:
        name = path.relative_to(root).as_posix()
        try:
            library, compiler = _read_one(path, name, deep=wish.deep)
        except (FormatError, OSError) as error:
            unreadable.append((name, Text.why(error)))
        else:
            libraries += [library] if library else []
            compilers += [compiler] if compiler else []
        if on_bytes:
            on_bytes(size)
    distribution = Distribution(root.name or str(root), "", (), (), tuple(libraries), tuple(compilers))
    return Subject(wish.name, "folder", (distribution,), tuple(unreadable), file=root.name)


def _walk(root: Path, unreadable: list[tuple[str, Text]]) -> Iterator[tuple[Path, int]]:
    """Files that can hold code with their size in bytes; of a file with several names the first.

    Folders that may not be entered go to `unreadable`.
    """

    def note(error: OSError) -> None:
        unreadable.append((os.path.relpath(error.filename, root), Text.why(error)))

    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, onerror=note):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(names) if _may_hold_code(name)):
            try:
                status = path.stat()
            except OSError:
                yield path, 0  # a link that leads nowhere; reading it says so
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield path, status.st_size


def _may_hold_code(name: str) -> bool:
    return _CODE.search(name) is not None or compiler_kind(name) is not None


def _read_one(path: Path, name: str, *, deep: bool) -> tuple[Library | None, Compiler | None]:
    kind = compiler_kind(name)
    compiler = read_compiler(path, name) if kind else None
    if kind in ("ptxas", "libdevice"):
        return None, compiler
    sections = None if deep else load_catalog().sections_of(path.name)
    return read_library(path, name, search="all" if sections is None else sections), compiler
