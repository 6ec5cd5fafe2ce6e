"""A wheel behind the package index: found by the real resolver, read by ranges, never stored.

uv answers which file serves a Python on a platform, and knows the indexes, mirrors and credentials of its own settings.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from archfit.binary.wheel import Archive, open_wheel
from archfit.errors import ObserveError, UsageError
from archfit.standin import own_tag, python_for
from archfit.uv import last_words, run_uv

if TYPE_CHECKING:
    from requests import Response

_PLATFORMS = {
    "linux-x86_64": "x86_64-manylinux_2_40",
    "linux-aarch64": "aarch64-manylinux_2_40",
    "windows-x86_64": "windows",
}
_COMPILE = ("pip", "compile", "--no-deps", "--quiet", "--no-header", "--no-python-downloads", "--only-binary", ":all:")
_UNREACHABLE = re.compile(r"network|connect|timed out|request failed|credentials|dns", re.IGNORECASE)
_VERBOSE = re.compile(
    r"^No solution found when resolving dependencies cause: |,? (and|so)? ?we can conclude that [^.]*"
)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_YES = ("1", "true", "t", "yes", "y", "on")  # as uv reads it
_TIMEOUT_S = (10, 60)
_PIECE_BYTES = 1 << 15  # what is lost where a connection breaks
_TRIES, _PAUSE_S = 3, 0.5
_PARTIAL, _OK, _UNAUTHORIZED, _FORBIDDEN, _BUSY, _SERVER_FAILED = 206, 200, 401, 403, 429, 500


@dataclass(frozen=True, slots=True)
class RemoteWheel:
    """A wheel that an index offers: its address (or path), its size in bytes and its hash as far as the index says."""

    file: str
    url: str
    size_bytes: int | None
    sha256: str | None


def find_wheel(requirement: str, platform: str | None, python: str | None) -> RemoteWheel:
    """The wheel that `requirement` means for a platform (``linux-x86_64``) and a Python (``3.11``, ``3.13t``).

    Raises:
        UsageError: the package has no wheel, or its marker excludes this Python and platform.
        ObserveError: the index cannot be reached, or has nothing that fits.
    """
    where = ["--python-platform", _PLATFORMS[platform]] if platform else []
    where += ["--python-version", python.rstrip("t")] if python else []
    with python_for(python, Path(sys.executable), own_tag()) as interpreter:
        if interpreter != Path(sys.executable):
            where += ["--python", str(interpreter)]
        done = run_uv([*_COMPILE, *where, "--format", "pylock.toml", "-"], given=requirement + "\n")
    shown = without_secrets(requirement)
    if done.returncode != 0:
        cause = _VERBOSE.sub("", without_secrets(last_words(done.stderr)))
        key = "index-silent" if _UNREACHABLE.search(cause) else "wheel-not-found"
        raise ObserveError(key, requirement=shown, cause=cause)
    packages = tomllib.loads(done.stdout).get("packages")
    if not packages:
        raise UsageError("requirement-excluded", requirement=shown)
    wheels = packages[0].get("wheels") or ([packages[0]["archive"]] if "archive" in packages[0] else [])
    if not wheels:
        raise UsageError("no-wheel", requirement=shown)
    return _remote(wheels[0])


def _remote(row: dict[str, Any]) -> RemoteWheel:
    url = str(row.get("url") or row["path"])
    file = str(row.get("name") or unquote(urlsplit(url).path).rpartition("/")[2])
    return RemoteWheel(file, url, row.get("size"), row.get("hashes", {}).get("sha256"))


def without_secrets(text: str) -> str:
    """A text with addresses in it, without their users, passwords and queries: fit to be shown."""
    return re.sub(r"(\w+://)(?:[^/@\s]*@)?([^\s?]*)(\?\S*)?", r"\1\2", text)


@contextmanager
def open_remote(wheel: RemoteWheel) -> Iterator[Archive]:
    """The wheel, which may lie in a folder that uv was told to look in.

    Raises:
        ObserveError: the server cannot be reached, or cannot send ranges.
        OSError, FormatError: there is no such file any more.
    """
    parts = urlsplit(wheel.url)
    if parts.scheme in ("http", "https"):
        if os.environ.get("UV_OFFLINE", "").lower() in _YES:
            raise ObserveError("index-unreachable", url=without_secrets(wheel.url), cause="UV_OFFLINE")
        yield RemoteArchive(wheel)
        return
    path = Path(url2pathname(parts.path)) if parts.scheme == "file" else Path(wheel.url)
    with open_wheel(path) as archive:
        yield archive


class RemoteArchive:
    """A zip file behind an address, read by ranges; each thread has a connection of its own.

    Raises:
        ObserveError: the server cannot be reached, or cannot send ranges.
    """

    def __init__(self, wheel: RemoteWheel) -> None:
        self._url = wheel.url
        self._local = threading.local()
        self._login: tuple[str, str] | None = None
        self._asked_login = threading.Lock()
        self._total: int | None = None
        self.size_bytes = wheel.size_bytes or self._ask_size()

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        size = min(size, self.size_bytes - offset)
        return b"".join(self.stream(size, offset)) if size > 0 else b""

    def stream(self, size: int, offset: int) -> Iterator[bytes]:
        """`size` bytes from `offset` on, in pieces; a connection that breaks is taken up again where it broke."""
        import requests

        end, failures = offset + size, 0
        while offset < end:
            start, cause = offset, "the connection ended early"
            try:
                with self._get(offset, end) as answer:
                    for piece in answer.iter_content(_PIECE_BYTES):
                        offset += len(piece)
                        yield piece if offset <= end else piece[: end - offset]
            except requests.RequestException as error:
                cause = _reason(error)
            failures = 0 if offset > start else failures + 1
            if failures == _TRIES:
                raise self._unreachable(cause)
            if offset < end:
                time.sleep(_PAUSE_S * failures)

    def _get(self, start: int, end: int) -> Response:
        """Ask for a range; raises `requests.RequestException` where asking again may help."""
        import requests

        answer = self._ask(start, end)
        if answer.status_code in (_UNAUTHORIZED, _FORBIDDEN) and self._find_login():
            answer.close()
            answer = self._ask(start, end)
        status = answer.status_code
        if status == _PARTIAL and (match := _RANGE.match(answer.headers.get("Content-Range", ""))):
            self._total = int(match[2]) if match[2].isdigit() else None
            if int(match[1]) == start:
                return answer
        answer.close()
        if status == _BUSY or status >= _SERVER_FAILED:
            raise requests.HTTPError(f"HTTP {status}")
        if status in (_OK, _PARTIAL):
            raise ObserveError("index-no-ranges", url=without_secrets(self._url))
        raise self._unreachable(f"HTTP {status}")

    def _ask(self, start: int, end: int) -> Response:
        import requests

        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
        session.auth = self._login  # a redirect to another host leaves it behind
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        return session.get(self._url, headers=headers, stream=True, timeout=_TIMEOUT_S)

    def _find_login(self) -> bool:
        """Ask uv for the credentials of the index on this host, once."""
        with self._asked_login:
            if self._login is None:
                self._login = _login_for(urlsplit(self._url).netloc)
            return self._login is not None

    def _ask_size(self) -> int:
        """The first answer tells how large the whole is."""
        for _ in self.stream(1, 0):
            pass
        if self._total is None:
            raise ObserveError("index-no-ranges", url=without_secrets(self._url))
        return self._total

    def _unreachable(self, cause: str) -> ObserveError:
        return ObserveError("index-unreachable", url=without_secrets(self._url), cause=cause)


def _login_for(host: str) -> tuple[str, str] | None:
    """What uv's settings say for the index on `host`: they are in no lock, but in its list of indexes."""
    listed = run_uv([*_COMPILE, "--emit-index-url", "-"], given="\n").stdout
    for address in re.findall(r"^--(?:extra-)?index-url (\S+)", listed, re.MULTILINE):
        parts = urlsplit(address)
        if parts.username is not None and parts.netloc.rpartition("@")[2] == host.rpartition("@")[2]:
            return unquote(parts.username), unquote(parts.password or "")
    return None


def _reason(error: BaseException) -> str:
    """Where the trouble began, in the words of the system: those around it repeat the whole address."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return without_secrets(str(getattr(error, "strerror", None) or error))[:300] or type(error).__name__
