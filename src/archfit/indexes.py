"""Where packages come from: the default index that the person has set, and nothing that was added to it.

What a plan names is taken from where the plan says; a variable or a file of settings that adds an index, a folder of wheels
or a constraint would change what that means, so uv never sees it.
Certificates, proxies, caches and the like stay as they are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from archfit.redact import without_credentials

_ADDED = frozenset({
    "UV_BREAK_SYSTEM_PACKAGES", "UV_BUILD_CONSTRAINT", "UV_CONFIG_FILE", "UV_CONSTRAINT", "UV_DEFAULT_INDEX",
    "UV_EXCLUDE", "UV_EXCLUDE_NEWER", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INDEX", "UV_INDEX_STRATEGY",
    "UV_INDEX_URL", "UV_INSECURE_NO_ZIP_VALIDATION", "UV_NO_BINARY", "UV_NO_BINARY_PACKAGE", "UV_NO_DEPS",
    "UV_NO_SOURCES", "UV_NO_VERIFY_HASHES", "UV_ONLY_BINARY", "UV_OVERRIDE", "UV_PRERELEASE", "UV_PYTHON",
    "UV_REINSTALL", "UV_REQUIRE_HASHES", "UV_RESOLUTION", "UV_SYSTEM_PYTHON", "UV_TORCH_BACKEND", "UV_UPGRADE",
})  # fmt: skip
"""Variables that add a source or change what is chosen: https://docs.astral.sh/uv/reference/environment/, read 2026-11-25."""

_KEPT = {
    "native-tls": "UV_NATIVE_TLS",
    "system-certs": "UV_SYSTEM_CERTS",
    "allow-insecure-host": "UV_INSECURE_HOST",
    "keyring-provider": "UV_KEYRING_PROVIDER",
    "cache-dir": "UV_CACHE_DIR",
    "link-mode": "UV_LINK_MODE",
    "concurrent-downloads": "UV_CONCURRENT_DOWNLOADS",
    "concurrent-installs": "UV_CONCURRENT_INSTALLS",
    "offline": "UV_OFFLINE",
    "http-proxy": "HTTP_PROXY",
    "https-proxy": "HTTPS_PROXY",
    "no-proxy": "NO_PROXY",
}
"""How the network is reached and where the cache is: keys of uv.toml, and the variable that says the same."""


def uv_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables for a run of uv."""
    settings = {} if _is_set(environ, "UV_NO_CONFIG") else _settings(environ)
    kept = {name: value for name, value in environ.items() if name not in _ADDED}
    for key, variable in _KEPT.items():
        if key in settings and not {variable, variable.lower()} & kept.keys():
            kept[variable] = _text(settings[key])
    if index := default_index(environ):
        kept["UV_DEFAULT_INDEX"] = index
    if _is_set(environ, "UV_NO_INDEX") and environ.get("UV_FIND_LINKS"):
        kept["UV_FIND_LINKS"] = environ["UV_FIND_LINKS"]  # then it is no addition, it is the index
    return kept | {"UV_NO_CONFIG": "1"}


def default_index(environ: Mapping[str, str]) -> str | None:
    """The address of the index that the person has set in the place of PyPI, credentials included; None for PyPI."""
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if address := environ.get(variable):
            return address.partition("=")[2] if "=" in address.partition("://")[0] else address
    if _is_set(environ, "UV_NO_CONFIG"):
        return None
    settings = _settings(environ)
    rows = settings.get("index", [])
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("default") and isinstance(row.get("url"), str):
            return str(row["url"])
    pip = settings.get("pip")
    found = settings.get("index-url") or (pip.get("index-url") if isinstance(pip, dict) else None)
    return found if isinstance(found, str) else None


def told_index(index: str | None, environ: Mapping[str, str]) -> str:
    """How an index is told to people: ``PyPI``, or its address without credentials; None and ``PyPI`` are the default one."""
    address = default_index(environ) if index in (None, DEFAULT) else index
    return without_credentials(address) if address else DEFAULT


def with_credentials(index: str, environ: Mapping[str, str]) -> str:
    """The address with the credentials that the person has set for it, if it is their default index."""
    default = default_index(environ)
    same = default and without_credentials(default).replace("<user>@", "").rstrip("/") == index.rstrip("/")
    return default if default and same else index


DEFAULT = "PyPI"
"""How a plan calls the default index, whichever one the person has set in its place."""


def _settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """What the system's and the person's own uv.toml say; those of the folder that one happens to stand in do not count."""
    merged: dict[str, Any] = {}
    for path in _files(environ):
        try:
            merged |= tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue  # not there; one that is broken is for uv itself to complain of
    return merged


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Weakest first: https://docs.astral.sh/uv/concepts/configuration-files/, read 2026-11-25."""
    if named := environ.get("UV_CONFIG_FILE"):
        yield Path(named)
        return
    folders = [Path(folder) for folder in environ.get("XDG_CONFIG_DIRS", "").split(":") if folder]
    yield from (folder / "uv/uv.toml" for folder in reversed(folders or [Path("/etc/xdg")]))
    yield Path("/etc/uv/uv.toml")
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    if home:
        yield Path(home, "uv/uv.toml")


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() in ("1", "true", "yes", "on")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " ".join(map(str, value))
    return str(value)
