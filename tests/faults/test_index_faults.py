"""Everything that a package index can do wrong while an upgrade loads from it: the environment is as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from archfit.errors import ApplyError, ExitCode
from archfit.transaction import Change, apply
from archfit.transaction.installer import Lock, install
from laboratory import PASSED, assert_settled, index_handler, output_of, quiet, sha256, snapshot


def cut(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """The connection drops in the middle of a file."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.wfile.flush()
    handler.connection.close()


def broken(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.send_error(500)


def forbidden(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.send_error(403)


def gone(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.send_error(404)


def another(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """A file of the same size and another hash."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[:-1] + bytes([body[-1] ^ 1]))


def page(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    """A portal that asks to log in."""
    text = b"<html>please log in</html>"
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)


@contextmanager
def served(wheels: Path, fault: object) -> Iterator[str]:
    """An index whose pages are right and whose files come as `fault` sends them; None: as they should."""
    good = index_handler(wheels)

    class Handler(good):  # type: ignore[misc, valid-type]
        def do_GET(self) -> None:
            if fault and self.path.startswith("/files/") and not self.path.endswith(".metadata"):
                fault(self, (wheels / Path(self.path).name).read_bytes())  # type: ignore[operator]
            else:
                super().do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def upgrade_from(index: str, wheels: Path) -> Change:
    digest = sha256(wheels / "demo-2-py3-none-any.whl")
    lock = Lock(f"demo==2 --hash=sha256:{digest}\n", index, ())
    return Change("demo 1", "demo 2", "", lambda clone: install(clone / "bin/python", lock), lambda _: PASSED)


@pytest.fixture
def online(live: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The environment, and uv that asks the index: nothing is in its cache."""
    for name in ("UV_OFFLINE", "UV_NO_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    return live


@pytest.mark.parametrize("fault", [cut, broken, forbidden, gone, another, page], ids=lambda f: f.__name__)
def test_an_index_that_fails_changes_nothing(online: Path, wheels: Path, fault: object) -> None:
    before = snapshot(online)
    with served(wheels, fault) as index, pytest.raises(ApplyError) as caught:
        apply(online, upgrade_from(index, wheels), quiet)
    assert (caught.value.key, caught.value.exit_code) == ("install-failed", ExitCode.APPLY_REVERTED)
    assert snapshot(online) == before
    assert_settled(online)
    with served(wheels, None) as index:  # the next try goes through: nothing bad was left in a cache
        apply(online, upgrade_from(index, wheels), quiet)
    assert output_of(online / "bin/demo") == f"demo 2 {online}"


def test_an_index_that_is_not_there_changes_nothing(online: Path, wheels: Path) -> None:
    before = snapshot(online)
    with pytest.raises(ApplyError, match="install-failed"):
        apply(online, upgrade_from("http://127.0.0.1:9/simple", wheels), quiet)
    assert snapshot(online) == before
    assert_settled(online)
