"""uv, the installer: resolve to a lock with hashes and sizes, then install exactly that."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from archfit.errors import ApplyError, ObserveError
from archfit.model import LockedPackage
from archfit.uv import last_words, run_uv


@dataclass(frozen=True, slots=True)
class Lock:
    """A resolution: pinned requirements with hashes, from which index, and what they change in the environment."""

    requirements: str
    index: str | None
    changes: tuple[LockedPackage, ...]

    @property
    def download_bytes(self) -> int | None:
        """Bytes of all wheels that change; None if the index does not tell one of the sizes."""
        sizes = [c.wheel_bytes for c in self.changes]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def resolve(
    python: Path,
    specs: Sequence[str],
    installed: Mapping[str, str],
    index: str | None = None,
    reinstall: Iterable[str] = (),
    prerelease: bool = False,
) -> Lock:
    """Ask the real resolver what installing `specs` means for `python`; nothing of the environment is written.

    `installed` (name to version) are preferences: what can stay, stays. `index` replaces the default package index.
    `reinstall` names packages that change even at the same version, because another build of it is wanted.

    Raises:
        ObserveError: no network, no such version, or the requirements contradict each other; carries uv's last words.
    """
    with tempfile.TemporaryDirectory(prefix="archfit-") as scratch:
        wishes, lock = Path(scratch, "wishes.txt"), Path(scratch, "pylock.toml")
        wishes.write_text("\n".join(specs) + "\n", "utf-8")
        # uv refuses a file with a version that no standard knows, such as Debian's 1.1build1
        known = {name: version for name, version in installed.items() if _is_version(version)}
        if known:  # uv reads what it is about to overwrite as preferences, and an empty list as a mistake
            lock.write_text(_preferences(known), "utf-8")
        command = ["pip", "compile", str(wishes), "--python", str(python), "--format", "pylock.toml", "-o", str(lock)]
        command += ["--quiet", "--no-header", *(["--index-url", index] if index else [])]
        command += ["--prerelease", "allow", "--upgrade"] if prerelease else []
        done = run_uv(command)
        if done.returncode != 0:
            raise ObserveError("resolve-failed", specs=" ".join(specs), cause=last_words(done.stderr))
        packages = tomllib.loads(lock.read_text("utf-8"))["packages"]
    pins = "".join(_pin(package) for package in packages)
    return Lock(pins, index, tuple(_changes(packages, installed, frozenset(reinstall))))


def install(python: Path, lock: Lock, *, reinstall: Iterable[str] = (), talk: bool = False) -> None:
    """Install a lock into the environment of `python`; hashes are checked by uv.

    `talk` lets uv draw its progress bars on this terminal.

    Raises:
        ApplyError: uv failed; carries its last words.
    """
    with tempfile.TemporaryDirectory(prefix="archfit-") as scratch:
        # Not installed from the pylock itself: uv 0.13 does not look into its own cache for that, and loads all again.
        path = Path(scratch, "requirements.txt")
        path.write_text(lock.requirements, "utf-8")
        command = ["pip", "install", "--python", str(python), "--no-deps", "--require-hashes", "-r", str(path)]
        command += ["--index-url", lock.index] if lock.index else []
        for name in reinstall:
            command += ["--reinstall-package", name]
        done = run_uv(command, talk=talk)
    if done.returncode != 0:
        raise ApplyError("install-failed", cause=last_words(done.stderr))


def create_environment(folder: Path, python: str, specs: Sequence[str], *, talk: bool = False) -> None:
    """A new virtual environment with `specs` in it.

    Raises:
        ApplyError: uv failed; carries its last words.
    """
    wanted = ["pip", "install", "--python", str(folder / "bin/python"), *specs]
    for command in (["venv", "--quiet", "--python", python, str(folder)], wanted):
        done = run_uv(command, talk=talk and command is wanted)
        if done.returncode != 0:
            raise ApplyError("install-failed", cause=last_words(done.stderr))


def find_python(request: str) -> Path | None:
    """An interpreter on this machine, such as ``3.12``; None if there is none."""
    done = run_uv(["python", "find", "--no-project", "--no-python-downloads", request])
    return Path(done.stdout.strip()) if done.returncode == 0 and done.stdout.strip() else None


def cache_folder() -> Path:
    """Where uv keeps what it has downloaded."""
    return Path(run_uv(["cache", "dir"]).stdout.strip() or "~/.cache/uv").expanduser()


def _preferences(installed: Mapping[str, str]) -> str:
    rows = (f'[[packages]]\nname = "{name}"\nversion = "{version}"\n' for name, version in sorted(installed.items()))
    return 'lock-version = "1.0"\ncreated-by = "archfit"\n' + "".join(rows)


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _changes(
    packages: Iterable[dict[str, Any]], installed: Mapping[str, str], reinstall: frozenset[str]
) -> Iterable[LockedPackage]:
    for package in packages:
        name, version = package["name"], package["version"]
        current = installed.get(name)
        if current == version and name not in reinstall:
            continue
        wheel = next(iter(package.get("wheels", ())), None) or package.get("sdist") or {}
        yield LockedPackage(name, current, version, wheel.get("size"), wheel.get("hashes", {}).get("sha256"))


def _pin(package: dict[str, Any]) -> str:
    """``name==version --hash=...``: any of the files that the lock allows for this interpreter."""
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
    hashes = (f" --hash={kind}:{value}" for file in files for kind, value in file.get("hashes", {}).items())
    return f"{package['name']}=={package['version']}{''.join(hashes)}\n"
