"""uv, the installer: resolve to a lock with hashes and sizes, then install exactly that."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from archfit.errors import ApplyError, ObserveError
from archfit.indexes import DEFAULT, told_index, with_credentials
from archfit.model import LockedPackage
from archfit.uv import last_words, run_uv


@dataclass(frozen=True, slots=True)
class Lock:
    """A resolution: pinned requirements with hashes, and what they change in the environment.

    They come from `index` in the place of the default one (None: from the default one), from those `beside` it, or, where
    `links` is a folder of wheels, from there and from nowhere else.
    """

    requirements: str
    index: str | None
    changes: tuple[LockedPackage, ...]
    beside: tuple[str, ...] = ()
    links: Path | None = None

    @property
    def download_bytes(self) -> int | None:
        """Bytes of all wheels that change; None if the index does not tell one of the sizes."""
        sizes = [c.wheel_bytes for c in self.changes]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def lock_of(packages: Sequence[LockedPackage], links: Path | None = None) -> Lock:
    """The lock that a plan holds: exactly these files, from the indexes that it names.

    Raises:
        ApplyError: the plan has no hash for a package.
    """
    if bare := [p.name for p in packages if not p.hashes]:
        raise ApplyError("plan-without-hash", packages=", ".join(bare))
    lines = (f"{p.name}=={p.wanted}{''.join(f' --hash=sha256:{digest}' for digest in p.hashes)}\n" for p in packages)
    named = tuple(dict.fromkeys(p.index for p in packages if p.index and p.index != DEFAULT))
    told = tuple(replace(p, index=told_index(p.index, os.environ)) for p in packages)
    if all(p.index in named for p in packages):
        return Lock("".join(lines), next(iter(named), None), told, named[1:], links)
    return Lock("".join(lines), None, told, named, links)


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
        command += ["--quiet", "--no-header"]
        command += ["--prerelease", "allow", "--upgrade"] if prerelease else []
        named = {"UV_DEFAULT_INDEX": with_credentials(index, os.environ)} if index else {}
        done = run_uv(command, settings=named, named_only=True)
        if done.returncode != 0:
            raise ObserveError("resolve-failed", specs=" ".join(specs), cause=last_words(done.stderr))
        packages = tomllib.loads(lock.read_text("utf-8"))["packages"]
    changes = tuple(_changes(packages, installed, frozenset(reinstall), told_index(index, os.environ)))
    changing = {change.name for change in changes}  # a system's package that stays is not copied into the environment
    pins = "".join(_pin(package) for package in packages if package["name"] in changing)
    return Lock(pins, index, changes)


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
        for name in reinstall:
            command += ["--reinstall-package", name]
        done = run_uv(command, talk=talk, settings=_sources(lock), named_only=True, tethered=True)
    if done.returncode != 0:
        raise ApplyError("install-failed", cause=last_words(done.stderr))


def _sources(lock: Lock) -> dict[str, str]:
    """Where uv may look, by variables: an address may hold a password, and everybody may read the words of a command.

    Every file is bound by its hash, so whichever index has that file may give it.
    """
    if lock.links:
        return {"UV_OFFLINE": "1", "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(lock.links)}
    named = {"UV_DEFAULT_INDEX": with_credentials(lock.index, os.environ)} if lock.index else {}
    if lock.beside:
        beside = " ".join(with_credentials(index, os.environ) for index in lock.beside)
        named |= {"UV_INDEX": beside, "UV_INDEX_STRATEGY": "unsafe-best-match"}
    return named


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
    packages: Iterable[dict[str, Any]], installed: Mapping[str, str], reinstall: frozenset[str], index: str
) -> Iterable[LockedPackage]:
    for package in packages:
        name, version = package["name"], package["version"]
        current = installed.get(name)
        if current == version and name not in reinstall:
            continue
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
        hashes = tuple(file["hashes"]["sha256"] for file in files if "sha256" in file.get("hashes", {}))
        likeliest = files[0] if files else {}
        first = likeliest.get("hashes", {}).get("sha256")
        yield LockedPackage(name, current, version, likeliest.get("size"), first, hashes, index)


def _pin(package: dict[str, Any]) -> str:
    """``name==version --hash=...``: any of the files that the lock allows for this interpreter."""
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
    hashes = (f" --hash={kind}:{value}" for file in files for kind, value in file.get("hashes", {}).items())
    return f"{package['name']}=={package['version']}{''.join(hashes)}\n"
