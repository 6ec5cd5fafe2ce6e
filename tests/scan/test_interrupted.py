"""Ctrl-C while things are read: it ends at once with 130, also behind a server that sends no more, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from index import Index, Manners, make_wheel, serve

QUICK_S = 10  # a server that halts would be waited for a minute


@contextmanager
def scanning(tmp_path: Path, index: Index, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A scan in a process of its own, with folders of its own."""
    (tmp_path / "scratch").mkdir()
    folders = {"TMPDIR": tmp_path / "scratch", "XDG_CACHE_HOME": tmp_path / "cache", "UV_CACHE_DIR": tmp_path / "uv"}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    environ |= {name: str(folder) for name, folder in folders.items()} | {"UV_DEFAULT_INDEX": index.url}
    command = [sys.executable, "-m", "archfit", "scan", *words]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_while_a_server_halts(wheelhouse: Path, tmp_path: Path, sign: signal.Signals) -> None:
    with serve(wheelhouse, Manners(halt_after=500)) as index, scanning(tmp_path, index, "kernels") as child:
        assert index.halted.wait(60)
        began = time.monotonic()
        child.send_signal(sign)
        out, err = child.communicate(timeout=60)
        assert time.monotonic() - began < QUICK_S
    assert (child.returncode, out, err) == (130, "", "error: interrupted\n")
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / "cache" / "archfit").exists()


def test_while_the_index_itself_halts(wheelhouse: Path, tmp_path: Path) -> None:
    with serve(wheelhouse, Manners(halt_pages=True)) as index, scanning(tmp_path, index, "kernels") as child:
        assert index.halted.wait(60)
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)  # uv does not hear this one
        out, err = child.communicate(timeout=60)
        assert time.monotonic() - began < QUICK_S
    assert (child.returncode, out, err) == (130, "", "error: interrupted\n")


def test_one_that_fails_does_not_keep_the_rest_from_being_read(wheelhouse: Path, tmp_path: Path) -> None:
    good = make_wheel(tmp_path, "good-1.0-py3-none-any.whl", {"good/_C.so": "libserver.so"})
    with (
        serve(wheelhouse, Manners(status=404)) as index,
        scanning(tmp_path, index, "kernels", "nothing.so", "/dev/null", str(good), "--gpu", "9.0") as child,
    ):
        out, err = child.communicate(timeout=60)
    assert child.returncode == 2
    assert out.startswith(str(good))
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "hint", "error", "hint", "error"]
