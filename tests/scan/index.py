"""A small package index on 127.0.0.1, and the wheels in it: a server whose manners can be set, good and bad."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from worlds import DATA

Members = Mapping[str, str | bytes]
"""Paths inside a wheel: to the name of a fixture of tests/data, or to bytes as they are."""


def make_wheel(folder: Path, file: str, members: Members) -> Path:
    """Write the wheel `file` with these members and its metadata; returns its path."""
    name, version = file.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in members.items():
            archive.writestr(path, (DATA / content).read_bytes() if isinstance(content, str) else content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\n")
        archive.writestr(f"{info}/RECORD", "")
    return folder / file


@dataclass
class Manners:
    """How the server behaves; `asked` are the requests for files that it answered, as path and range."""

    ranges: bool = True
    status: int = 0
    """Answer this to every request for a file."""
    breaks: int = 0
    """So many answers of more than 1 kB end in the middle, or before the first byte if `silent`."""
    silent: bool = False
    redirect: bool = False
    """Send who asks for a file to ``/elsewhere/``, with a secret in the query."""
    login: str = ""
    """``user:password`` that every request must carry."""
    halt_after: int | None = None
    """Send so many bytes of every answer of more than 1 kB, then nothing until the server is closed."""
    halt_pages: bool = False
    """Answer no page of the index."""
    asked: list[tuple[str, str]] = field(default_factory=list)


class Index:
    """Serves the wheels of a folder as a simple index (PEP 503) at ``url``."""

    def __init__(self, folder: Path, manners: Manners, port: int) -> None:
        self.folder, self.manners, self.port = folder, manners, port
        self.url = f"http://127.0.0.1:{port}/simple/"
        self.halted, self.closing = threading.Event(), threading.Event()


@contextmanager
def serve(folder: Path, manners: Manners | None = None) -> Iterator[Index]:
    """Serve until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    index = server.index = Index(folder, manners or Manners(), server.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        index: Index = self.server.index  # type: ignore[attr-defined]
        try:
            self._answer(index, index.manners)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_GET

    def _answer(self, index: Index, manners: Manners) -> None:
        path = self.path.partition("?")[0]
        wanted = "Basic " + base64.b64encode(manners.login.encode()).decode()
        if manners.login and not path.startswith("/elsewhere/") and self.headers.get("Authorization") != wanted:
            return self._send(401, b"", {"WWW-Authenticate": "Basic"})
        if path.startswith("/simple/") and manners.halt_pages:
            index.halted.set()
            index.closing.wait()
            self.close_connection = True
            return None
        if path.startswith("/simple/"):
            return self._page(index, path.split("/")[2])
        file = index.folder / path.rpartition("/")[2]
        if path.startswith("/files/") and manners.redirect:
            return self._send(302, b"", {"Location": f"/elsewhere/{file.name}?signature=hush"})
        if not file.is_file():
            return self._send(404, b"")
        return self._file(index, manners, file.read_bytes(), path)

    def _page(self, index: Index, project: str) -> None:
        files = [p for p in index.folder.iterdir() if p.is_file() and p.name.split("-")[0].replace("_", "-") == project]
        if not files:
            return self._send(404, b"")
        links = "".join(
            f'<a href="/files/{p.name}#sha256={hashlib.sha256(p.read_bytes()).hexdigest()}">{p.name}</a>' for p in files
        )
        return self._send(200, f"<html><body>{links}</body></html>".encode(), {"Content-Type": "text/html"})

    def _file(self, index: Index, manners: Manners, data: bytes, path: str) -> None:
        asked = self.headers.get("Range", "")
        manners.asked.append((path, asked))
        if manners.status:
            return self._send(manners.status, b"")
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked)
        if not manners.ranges or not match:
            return self._send(200, data)
        start, end = int(match[1]), min(int(match[2]), len(data) - 1)
        part = data[start : end + 1]
        headers = {"Content-Range": f"bytes {start}-{end}/{len(data)}"}
        if len(part) > 1000 and manners.breaks:
            manners.breaks -= 1
            return self._send(206, part, headers, only=0 if manners.silent else len(part) // 2)
        if len(part) > 1000 and manners.halt_after is not None:
            self._send(206, part, headers, only=manners.halt_after)
            index.halted.set()
            index.closing.wait()
            return None
        return self._send(206, part, headers)

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, only: int | None = None
    ) -> None:
        """Answer; `only` sends so many bytes of what was promised, and closes the connection."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if only is None else body[:only])
            self.wfile.flush()
        if only is not None:
            self.close_connection = True
