"""A source package, from a file or from the package index: its build files, read without unpacking or running anything."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from archfit.binary.wheel import Archive, OnBytes
from archfit.buildscript import BuildScript, read_build_files
from archfit.errors import FormatError

_LARGEST_FILE_BYTES = 1 << 20
_LARGEST_TOTAL_BYTES = 8 << 30
_MOST_MEMBERS = 200_000
_DEEPEST = 4
_NAME = re.compile(r"^(?P<name>.+)-(?P<version>\d[^-]*)\.(?:tar\.(?:gz|bz2|xz)|tgz|zip)$", re.IGNORECASE)
_BUILD_FILE = re.compile(r"^(?:setup\.py|CMakeLists\.txt|(?:cmake|build_tools)/\w+\.(?:cmake|py))$")
_GPU_SOURCE = (".cu", ".cuh")


def is_sdist(name: str) -> bool:
    """Is this the name of a source package: ``mmcv-2.2.0.tar.gz``?"""
    return _NAME.match(PurePosixPath(name).name) is not None


def read_sdist(path: Path, on_bytes: OnBytes | None = None) -> BuildScript:
    """The build files of a source package on this disk; `on_bytes` is told how many packed bytes were read.

    Raises:
        FormatError: the file is no archive, is damaged, or unpacks to more than any source package holds.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        counted = cast("IO[bytes]", _Counted(file, on_bytes)) if on_bytes else file
        return read_sdist_stream(path.name, counted)


def read_sdist_stream(name: str, file: IO[bytes]) -> BuildScript:
    """The build files of a source package that is read once from front to back (a zip file is read whole)."""
    match = _NAME.match(name)
    package, version = (match["name"], match["version"]) if match else (name, "")
    files: dict[str, str] = {}
    sources = 0
    try:
        members = _zip_members(file) if name.lower().endswith(".zip") else _tar_members(file)
        for member, content in members:
            sources += member.endswith(_GPU_SOURCE)
            if content is not None:
                files[member] = content.decode("utf-8", "replace")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise FormatError("sdist-damaged", file=name, cause=str(error) or type(error).__name__) from error
    return read_build_files(package, version, files, sources)


def _tar_members(file: IO[bytes]) -> Iterator[tuple[str, bytes | None]]:
    """Every regular file with its path inside the package; the content of build files only."""
    seen = unpacked = 0
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            seen, unpacked = seen + 1, unpacked + max(member.size, 0)
            _check_size(seen, unpacked)
            path = _inside(member.name)
            if not member.isreg() or path is None:
                continue
            wanted = _BUILD_FILE.match(path) and member.size <= _LARGEST_FILE_BYTES
            opened = archive.extractfile(member) if wanted else None
            yield path, opened.read(_LARGEST_FILE_BYTES) if opened else None


def _zip_members(file: IO[bytes]) -> Iterator[tuple[str, bytes | None]]:
    whole = file if file.seekable() else io.BytesIO(file.read(_LARGEST_TOTAL_BYTES))
    with zipfile.ZipFile(whole) as archive:
        for seen, member in enumerate(archive.infolist(), 1):
            _check_size(seen, 0)
            path = _inside(member.filename)
            if member.is_dir() or path is None:
                continue
            wanted = _BUILD_FILE.match(path) and member.file_size <= _LARGEST_FILE_BYTES
            yield path, _read_zip(archive, member) if wanted else None


def _read_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as opened:
        return opened.read(_LARGEST_FILE_BYTES)


def _inside(name: str) -> str | None:
    """The path without the package's own folder; None for what climbs out or lies too deep to matter."""
    parts = [part for part in PurePosixPath(name).parts if part != "."]
    climbs = not parts or parts[0] == "/" or ".." in parts
    return None if climbs or len(parts) == 1 else "/".join(parts[1:])


def _check_size(members: int, size_bytes: int) -> None:
    if members > _MOST_MEMBERS or size_bytes > _LARGEST_TOTAL_BYTES:
        raise FormatError("sdist-too-large", members=members, size_bytes=size_bytes)


def stream_of(archive: Archive, on_bytes: OnBytes | None = None) -> IO[bytes]:
    """A file behind an index, read from front to back while it is loaded."""
    return io.BufferedReader(_Pieces(archive.stream(archive.size_bytes, 0), on_bytes))


class _Pieces(io.RawIOBase):
    """Pieces of bytes as one file."""

    def __init__(self, pieces: Iterator[bytes], on_bytes: OnBytes | None) -> None:
        self._pieces, self._on_bytes, self._left = pieces, on_bytes, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
            if self._on_bytes:
                self._on_bytes(len(piece))
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


class _Counted(io.RawIOBase):
    """A file on disk that tells how much of it was read."""

    def __init__(self, file: IO[bytes], on_bytes: OnBytes) -> None:
        self._file, self._on_bytes = file, on_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any, /) -> int:
        piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        self._on_bytes(len(piece))
        return len(piece)
