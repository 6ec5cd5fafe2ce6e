"""Get the source of a package: the sdist that the index offers, its hash checked, or where it was installed from."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from archfit.rebuild.records import BuildError, Source, Wanted
from archfit.uv import last_words, run_uv

_PIECE_BYTES = 1 << 20
_TIMEOUT_S = (10, 60)
_SKIPPED = ("*.egg-info", "build", "dist", ".git", "__pycache__", "*.so", "*.o", ".venv")
_ADDRESS = re.compile(r"(\w+://)(?:[^/@\s]*@)?([^\s?]*)(\?\S*)?")


def fetch_source(wanted: Wanted, python: Path, folder: Path) -> Source:
    """Bring the source of `wanted` below `folder`; `python` is an interpreter that can ask its setup.py for its name.

    Raises:
        BuildError: no sdist, a wrong hash, no network, no git.
    """
    if wanted.origin is None:
        return _from_index(wanted, python, folder)
    if wanted.origin.startswith("git+"):
        return _from_git(wanted, folder)
    return _from_folder(wanted, folder)


def unpack(source: Source, folder: Path) -> Path:
    """The folder that holds ``setup.py`` or ``pyproject.toml``, below a new `folder`; nothing is written outside of it."""
    if source.path.is_dir():
        shutil.copytree(source.path, folder, symlinks=True, ignore=shutil.ignore_patterns(*_SKIPPED))
        return folder
    try:
        if source.path.suffix == ".zip":
            with zipfile.ZipFile(source.path) as archive:
                archive.extractall(folder)
        else:
            with tarfile.open(source.path) as tar:
                tar.extractall(folder, filter="data")
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise BuildError("rebuild-source", package=source.path.name, cause=error) from error
    inner = [path for path in folder.iterdir() if path.is_dir()]
    return inner[0] if len(inner) == 1 else folder


def _from_index(wanted: Wanted, python: Path, folder: Path) -> Source:
    """The resolver says which file it is; without isolation, since a setup.py that needs torch could not say its name."""
    command = [
        "pip",
        "compile",
        "--no-deps",
        "--quiet",
        "--no-header",
        "--no-binary",
        wanted.name,
        "--python",
        str(python),
    ]
    command += ["--no-build-isolation", "--format", "pylock.toml", "-"]
    done = run_uv(command, given=f"{wanted.name}=={wanted.version}\n")
    if done.returncode != 0:
        raise BuildError("rebuild-no-source", package=wanted, cause=_clean(last_words(done.stderr)))
    row: dict[str, Any] = tomllib.loads(done.stdout)["packages"][0]
    offered = row.get("sdist") or row.get("archive")
    if not offered:
        raise BuildError("rebuild-no-source", package=wanted, cause="no sdist")
    address = str(offered.get("url") or offered["path"])
    path = folder / unquote(urlsplit(address).path).rpartition("/")[2]
    if urlsplit(address).scheme in ("http", "https"):
        _download(wanted, address, path)
    else:
        local = url2pathname(urlsplit(address).path) if address.startswith("file:") else address
        shutil.copyfile(local, path)
    found, expected = hash_file(path), offered.get("hashes", {}).get("sha256")
    if expected and found != expected:
        raise BuildError("rebuild-hash", package=wanted, found=found, expected=expected)
    return Source(path, found)


def _download(wanted: Wanted, address: str, path: Path) -> None:
    import requests

    try:
        with requests.get(address, stream=True, timeout=_TIMEOUT_S) as answer, path.open("wb") as file:
            answer.raise_for_status()
            for piece in answer.iter_content(_PIECE_BYTES):
                file.write(piece)
    except requests.RequestException as error:
        raise BuildError("rebuild-no-source", package=wanted, cause=_clean(str(error))) from error


def _from_git(wanted: Wanted, folder: Path) -> Source:
    address, commit, inside = _read_git(wanted.origin or "")
    if not shutil.which("git"):
        raise BuildError("rebuild-no-git", package=wanted)
    path = folder / "checkout"
    _git(wanted, ["clone", "--quiet", "--no-checkout", address, str(path)])
    _git(wanted, ["-C", str(path), "checkout", "--quiet", commit or _tag(path, wanted.version)])
    _git(wanted, ["-C", str(path), "submodule", "--quiet", "update", "--init", "--recursive"])
    found = _git(wanted, ["-C", str(path), "rev-parse", "HEAD"]).strip()
    text = f"{_clean(address)}@{found}#{inside}"
    return Source(path / inside, hashlib.sha256(text.encode()).hexdigest())


def _git(wanted: Wanted, words: Sequence[str]) -> str:
    """Run git to its end; it asks nobody for a password."""
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(["git", *words], check=False, capture_output=True, text=True, env=environ)
    if done.returncode != 0:
        raise BuildError("rebuild-no-source", package=wanted, cause=_clean(done.stderr.strip()[-300:]))
    return done.stdout


def _tag(path: Path, version: str) -> str:
    """The tag of a release, by either usual name; without one the newest commit."""
    words = ["git", "-C", str(path), "tag", "--list", f"v{version}", version]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    return (done.stdout.split() or ["HEAD"])[0]


def _read_git(origin: str) -> tuple[str, str, str]:
    """Address, commit (or nothing), and the folder inside, of ``git+https://…@commit#subdirectory=…``."""
    plain, _, fragment = origin.removeprefix("git+").partition("#")
    inside = fragment.removeprefix("subdirectory=") if fragment.startswith("subdirectory=") else ""
    scheme, _, rest = plain.partition("://")
    where, at, commit = rest.rpartition("@")
    if not at or "/" not in where:  # the @ of a user, not that of a commit
        return plain, "", inside
    return f"{scheme}://{where}", commit, inside


def _from_folder(wanted: Wanted, folder: Path) -> Source:
    """A folder that the package was installed from: copied, so that nothing is built inside it."""
    origin = Path(wanted.origin or "")
    if not origin.is_dir():
        raise BuildError("rebuild-no-source", package=wanted, cause=f"{origin}: no such folder")
    copy = folder / "folder"
    shutil.copytree(origin, copy, symlinks=True, ignore=shutil.ignore_patterns(*_SKIPPED))
    digest = hashlib.sha256()
    for path in sorted(path for path in copy.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(copy).as_posix()}\0{hash_file(path)}\n".encode())
    return Source(copy, digest.hexdigest())


def hash_file(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _clean(text: str) -> str:
    """A text without users, passwords and queries of the addresses in it."""
    return _ADDRESS.sub(r"\1\2", text)
