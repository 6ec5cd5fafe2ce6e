"""Put built wheels into an environment: these files and no others."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from packaging.utils import parse_wheel_filename

from archfit.errors import ApplyError
from archfit.rebuild.records import Built
from archfit.uv import last_words, run_uv


def install_built(python: Path, wheels: Sequence[Built]) -> None:
    """Install wheels into the environment of `python` in place of what is there; their hashes are checked by uv.

    Raises:
        ApplyError: uv failed; carries its last words.
    """
    if not wheels:
        return
    with tempfile.TemporaryDirectory(prefix="archfit-") as scratch:
        path = Path(scratch, "requirements.txt")
        path.write_text("".join(_pin(built) for built in wheels), "utf-8")
        command = ["pip", "install", "--quiet", "--python", str(python), "--no-deps", "--no-index", "--require-hashes"]
        command += ["-r", str(path)]
        for built in wheels:
            command += ["--find-links", str(built.wheel.parent), "--reinstall-package", built.package]
        done = run_uv(command)
    if done.returncode != 0:
        raise ApplyError("install-failed", cause=last_words(done.stderr))


def _pin(built: Built) -> str:
    name, version, _, _ = parse_wheel_filename(built.wheel.name)
    return f"{name}=={version} --hash=sha256:{built.sha256}\n"
