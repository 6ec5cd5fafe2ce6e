"""The resolver's lock (PEP 751): what it keeps, and what it would change."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from archfit.model import Distribution, LockedPackage, Question


def preferences(installed: Iterable[Distribution], leaving: Iterable[str]) -> str:
    """What is installed as a lock: versions that stay if they can. Empty where there is none."""
    kept = [d for d in installed if d.name not in leaving and _is_version(d.version)]
    rows = "".join(f'[[packages]]\nname = "{d.name}"\nversion = "{d.version}"\n' for d in kept)
    return f'lock-version = "1.0"\ncreated-by = "archfit"\n{rows}' if rows else ""


def changes_in(lock: str, installed: Iterable[Distribution], question: Question) -> tuple[LockedPackage, ...]:
    """Every package of a lock that is not installed in this version."""
    known = {d.name: d.version for d in installed if d.version}
    packages = tomllib.loads(lock).get("packages", [])
    return tuple(
        _locked(package, known.get(package["name"]), question.index)
        for package in packages
        if known.get(package["name"]) != package.get("version") or package["name"] in question.reinstall
    )


def _locked(package: dict[str, Any], current: str | None, index: str | None) -> LockedPackage:
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
    hashes = tuple(file["hashes"]["sha256"] for file in files if "sha256" in file.get("hashes", {}))
    first = files[0] if files else {}
    return LockedPackage(
        package["name"],
        current,
        str(package.get("version", "")),
        first.get("size"),
        hashes[0] if hashes else None,
        hashes,
        index if index and _same_site(str(first.get("url", "")), index) else "PyPI",
    )


def _same_site(url: str, index: str) -> bool:
    """download-r2.pytorch.org serves the files of download.pytorch.org."""
    mine, theirs = (urlsplit(address).netloc.split(".")[-2:] for address in (url, index))
    return mine == theirs


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False  # uv refuses a file with a version that no standard knows, such as Debian's 1.1build1
    return True
