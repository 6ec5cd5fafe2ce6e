"""What is installed: distributions from their metadata, and every shared object read by its bytes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution as Metadata
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from archfit.binary.library import read_library
from archfit.errors import FormatError
from archfit.model import Distribution, Library, Text

_SHARED_OBJECT = re.compile(r"\.so(\.\d+)*$")
_RECORD_PATH = re.compile(r'^(?:"([^"\n]+)"|([^,"\n]+))', re.MULTILINE)
_UNOWNED = "(no package)"

Progress = Callable[[int, int], None]
"""Called with files done and files in all."""


@dataclass(slots=True)
class Installed:
    """The result: distributions with their libraries, and the files that could not be read, with the reason."""

    distributions: tuple[Distribution, ...]
    unreadable: tuple[tuple[str, Text], ...]


@dataclass(slots=True)
class _Found:
    name: str
    version: str
    requires: tuple[str, ...]
    import_names: tuple[str, ...]
    libraries: list[Library] = field(default_factory=list)


def observe_packages(site_dirs: Sequence[Path], progress: Progress | None = None) -> Installed:
    """List what is installed in these folders and read all shared objects in them; a file is read once."""
    found: dict[str, _Found] = {}
    files: list[tuple[Path, Path, str]] = []
    for site in site_dirs:
        owners = _read_metadata(site, found)
        tops = {name: d.name for d in found.values() for name in (d.name.replace("-", "_"), *d.import_names)}
        for path in _walk(site):
            name = path.relative_to(site).as_posix()
            # conda's packages and old installers list no files: then the top folder tells, torchvision.libs included
            files.append((site, path, owners.get(name) or tops.get(re.split(r"[/.]", name)[0], _UNOWNED)))
    files += _conda_libraries(site_dirs)
    unreadable = _read_all(files, found, progress)
    rows = (Distribution(f.name, f.version, f.requires, f.import_names, tuple(f.libraries)) for f in found.values())
    return Installed(tuple(sorted(rows, key=lambda d: d.name)), tuple(unreadable))


def _read_metadata(site: Path, found: dict[str, _Found]) -> dict[str, str]:
    """Add the distributions of one folder to `found` (the first on the path wins); returns the owner of each file."""
    owners: dict[str, str] = {}
    for metadata in distributions(path=[str(site)]):
        if "Name" not in metadata.metadata:
            continue
        name = canonicalize_name(metadata.metadata["Name"])
        paths = [quoted or plain for quoted, plain in _RECORD_PATH.findall(metadata.read_text("RECORD") or "")]
        owners.update(dict.fromkeys(paths, name))
        if name not in found:
            found[name] = _Found(name, metadata.version, tuple(metadata.requires or ()), _import_names(metadata, paths))
    return owners


def _import_names(metadata: Metadata, paths: list[str]) -> tuple[str, ...]:
    """What to import to load this distribution: top_level.txt if it is there, else what its files show."""
    listed = (metadata.read_text("top_level.txt") or "").split()
    if not listed:
        tops = (re.match(r"([A-Za-z_]\w*)(?:/__init__\.py|(?:\.[\w-]+)?\.(?:py|so))$", path) for path in paths)
        listed = [match[1] for match in tops if match]
    return tuple(dict.fromkeys(name for name in listed if name.isidentifier() and not name.startswith("__")))


def _walk(site: Path) -> list[Path]:
    """Every shared object below `site`, symbolic links to folders not followed."""
    return sorted(
        Path(folder, name) for folder, _, names in os.walk(site) for name in names if _SHARED_OBJECT.search(name)
    )


def _conda_libraries(site_dirs: Sequence[Path]) -> list[tuple[Path, Path, str]]:
    """Conda keeps torch's libraries in the prefix's own ``lib``."""
    prefixes = {site.parents[2] for site in site_dirs if len(site.parents) > 2}
    return [
        (prefix, path, "torch")
        for prefix in sorted(prefixes)
        if (prefix / "conda-meta").is_dir()
        for pattern in ("libtorch*.so*", "libc10*.so*")
        for path in sorted((prefix / "lib").glob(pattern))
    ]


def _read_all(
    files: list[tuple[Path, Path, str]], found: dict[str, _Found], progress: Progress | None
) -> list[tuple[str, Text]]:
    unreadable: list[tuple[str, Text]] = []
    seen: set[tuple[int, int]] = set()
    for index, (site, path, owner) in enumerate(files):
        if progress:
            progress(index, len(files))
        name = path.relative_to(site).as_posix()
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            library = read_library(path, name)
        except FormatError as error:
            unreadable.append((name, Text(error.key, {k: str(v) for k, v in error.values.items()})))
        except OSError as error:
            unreadable.append((name, Text("plain", {"text": error.strerror or str(error)})))
        else:
            found.setdefault(owner, _Found(owner, "", (), ())).libraries.append(library)
    return unreadable
