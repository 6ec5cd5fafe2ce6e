"""Fixtures of environments to change: a plain folder for the laws, a real one with uv and tiny wheels for the rest."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from archfit.transaction.installer import create_environment
from laboratory import index_handler, make_plain, without_exchange, write_wheels


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A folder with the layout of a virtual environment."""
    return make_plain(tmp_path / "live")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, wheels: Path, uv_cache: Path) -> Path:
    """uv sees our wheels and nothing else of this machine; returns the folder of the wheels."""
    for name in [n for n in os.environ if n.startswith("UV_")]:
        monkeypatch.delenv(name)
    settings = {"OFFLINE": "1", "NO_INDEX": "1", "NO_CONFIG": "1", "FIND_LINKS": wheels, "CACHE_DIR": uv_cache}
    for name, value in settings.items():
        monkeypatch.setenv(f"UV_{name}", str(value))
    return wheels


@pytest.fixture
def live(offline: Path, tmp_path: Path) -> Path:
    """A real virtual environment with demo 1 and owner 1, installed by uv."""
    root = tmp_path / "live"
    create_environment(root, sys.executable, ["demo==1", "owner==1"])
    return root


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, offline: Path) -> Iterator[str]:
    """The address of a package index on this machine that holds our wheels."""
    for name in ("UV_OFFLINE", "UV_NO_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), index_handler(offline))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot trade two names in one step."""
    without_exchange(monkeypatch.setattr)
