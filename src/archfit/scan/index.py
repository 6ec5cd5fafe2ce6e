"""A wheel behind the package index: found by the real resolver, read by ranges, never stored.

uv answers which file serves a Python on a platform, and knows the indexes, mirrors and credentials of its own settings.
"""

from __future__ import annotations

import tempfile
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from archfit.errors import ObserveError, UsageError
from archfit.uv import last_words, run_uv

_PLATFORMS = {
    "linux-x86_64": "x86_64-manylinux_2_40",
    "linux-aarch64": "aarch64-manylinux_2_40",
    "windows-x86_64": "windows",
}
_TIMEOUT_S = (10, 60)
_PIECE_BYTES = 1 << 18
_TRIES = 3


@dataclass(frozen=True, slots=True)
class RemoteWheel:
    """A wheel that an index offers: where, its size in bytes, and its hash as the index says."""

    file: str
    url: str
    size_bytes: int | None
    sha256: str | None


def find_wheel(requirement: str, platform: str | None, python: str | None) -> RemoteWheel:
    """The wheel that `requirement` means for a platform (``linux-x86_64``) and a Python (``3.11``); defaults: those of here.

    Raises:
        UsageError: no requirement, or the package has no wheel for this.
        ObserveError: the index cannot be reached.
    """
    command = [
        "pip",
        "compile",
        "--no-deps",
        "--quiet",
        "--no-header",
        "--only-binary",
        ":all:",
        "--format",
        "pylock.toml",
    ]
    command += ["--python-platform", _PLATFORMS[platform]] if platform else []
    command += ["--python-version", python] if python else []
    with tempfile.TemporaryDirectory(prefix="archfit-") as scratch:
        wish, lock = Path(scratch, "wish.txt"), Path(scratch, "pylock.toml")
        wish.write_text(requirement + "\n", "utf-8")
        done = run_uv([*command, str(wish), "-o", str(lock)])
        if done.returncode != 0:
            raise ObserveError("wheel-not-found", requirement=requirement, cause=last_words(done.stderr))
        packages = tomllib.loads(lock.read_text("utf-8"))["packages"]
    wheels = packages[0].get("wheels") or ([packages[0]["archive"]] if "archive" in packages[0] else [])
    if not wheels:
        raise UsageError("no-wheel", requirement=requirement)
    return _remote(wheels[0])


def _remote(row: dict[str, Any]) -> RemoteWheel:
    url = str(row["url"])
    file = str(row.get("name") or Path(urlsplit(url).path).name)
    return RemoteWheel(file, url, row.get("size"), row.get("hashes", {}).get("sha256"))


def without_secrets(url: str) -> str:
    """An address without user, password and query: fit to be shown."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.hostname or "", parts.path, "", ""))


class RemoteArchive:
    """A zip file behind an address, read by ranges; each thread has a connection of its own.

    Raises:
        ObserveError: the server cannot be reached, or cannot send ranges.
    """

    def __init__(self, wheel: RemoteWheel) -> None:
        self._wheel = wheel
        self._local = threading.local()
        self._cached: dict[tuple[int, int], bytes] = {}
        self.size_bytes = wheel.size_bytes or self._ask_size()

    def read(self, size: int, offset: int) -> bytes:
        """Up to `size` bytes at `offset`."""
        size = min(size, self.size_bytes - offset)
        return b"".join(self.stream(size, offset)) if size > 0 else b""

    def stream(self, size: int, offset: int) -> Iterator[bytes]:
        """`size` bytes from `offset` on, in pieces; a connection that breaks is taken up again where it broke."""
        import requests

        end = offset + size
        for attempt in range(_TRIES):
            try:
                with self._get(f"bytes={offset}-{end - 1}") as answer:
                    for piece in answer.iter_content(_PIECE_BYTES):
                        offset += len(piece)
                        yield piece
                if offset >= end:
                    return
            except requests.RequestException as error:
                if attempt == _TRIES - 1:
                    raise self._unreachable(error) from error
        raise self._unreachable("the connection ended early")

    def _get(self, wanted: str) -> Any:  # a requests.Response
        import requests

        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
        headers = {"Range": wanted, "Accept-Encoding": "identity"}
        answer = session.get(self._wheel.url, headers=headers, stream=True, timeout=_TIMEOUT_S)
        if answer.status_code != requests.codes.partial_content:
            answer.close()
            raise self._unreachable(f"HTTP {answer.status_code}")
        return answer

    def _ask_size(self) -> int:
        with self._get("bytes=0-0") as answer:
            total = str(answer.headers.get("Content-Range", "")).rpartition("/")[2]
        if not total.isdigit():
            raise self._unreachable("no size")
        return int(total)

    def _unreachable(self, cause: object) -> ObserveError:
        text = str(cause).replace(self._wheel.url, without_secrets(self._wheel.url))
        return ObserveError("index-unreachable", url=without_secrets(self._wheel.url), cause=text[:300])
