"""What is installed: distributions from their metadata, and every shared object read by its bytes."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution as Metadata
from importlib.metadata import distributions
from pathlib import Path
from threading import Lock
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from archfit.binary.compilers import compiler_kind, read_compiler
from archfit.binary.library import Search
from archfit.binary.many import Wanted, read_libraries, size_bytes
from archfit.catalog import load_catalog
from archfit.errors import FormatError
from archfit.model import Compiler, Distribution, Library, Text

_SHARED_OBJECT = re.compile(r"\.so(\.\d+)*$")
_RECORD_PATH = re.compile(r'^(?:"([^"\n]+)"|([^,"\n]+))', re.MULTILINE)
_UNOWNED = "(no package)"

Progress = Callable[[int, int], None]
"""Called with bytes of files done and bytes in all."""


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
    compilers: list[Compiler] = field(default_factory=list)
    probes: tuple[tuple[str, str], ...] = ()


def observe_packages(site_dirs: Sequence[Path], progress: Progress | None = None, *, deep: bool = False) -> Installed:
    """List what is installed in these folders and read all shared objects and compilers in them; a file is read once.

    `deep` searches every section of every library; otherwise well-known ones are read where the catalog says.
    """
    found: dict[str, _Found] = {}
    files: list[tuple[str, Path, str]] = []
    unreadable: list[tuple[str, Text]] = []
    for site in site_dirs:
        shadowed = frozenset(found)  # a folder earlier on the path has these: Python never loads the ones in here
        owners, developed = _read_metadata(site, found)
        tops = {name: d.name for d in found.values() for name in (d.name.replace("-", "_"), *d.import_names)}
        unreadable += [(name, Text("missing")) for name in _lost(site, owners, shadowed)]
        for path in _walk(site, unreadable):
            name = path.relative_to(site).as_posix()
            # conda's packages and old installers list no files: then the top folder tells, torchvision.libs included
            owner = owners.get(name) or tops.get(re.split(r"[/.]", name)[0]) or _unowned(name)
            if owner not in shadowed:
                files.append((name, path, owner))
        for folder, owner in developed:
            files += [(str(path), path, owner) for path in _walk_developed(folder, found[owner])]
    files += _conda_libraries(site_dirs)
    unreadable += _read_all(files, found, progress, deep=deep)
    rows = (
        Distribution(f.name, f.version, f.requires, f.import_names, tuple(f.libraries), tuple(f.compilers), f.probes)
        for f in found.values()
    )
    return Installed(tuple(sorted(rows, key=lambda d: d.name)), tuple(dict(unreadable).items()))


def _read_metadata(site: Path, found: dict[str, _Found]) -> tuple[dict[str, str], list[tuple[Path, str]]]:
    """Add the distributions of one folder to `found` (the first on the path wins).

    Returns the owner of each file, and the source folders of what is installed in place (``pip install -e``).
    """
    owners: dict[str, str] = {}
    developed: list[tuple[Path, str]] = []
    links = [Path(link.read_text("utf-8", "replace").partition("\n")[0].strip()) for link in site.glob("*.egg-link")]
    for metadata in distributions(path=[str(site), *map(str, links)]):
        place = Path(str(metadata.locate_file("")))
        if getattr(metadata, "_path", place).name.startswith("~"):
            continue  # what pip moved aside and left behind
        told = metadata.metadata  # parsed anew at every call
        if "Name" not in told:
            continue
        name = canonicalize_name(told["Name"])
        paths = [quoted or plain for quoted, plain in _RECORD_PATH.findall(metadata.read_text("RECORD") or "")]
        owners.update(dict.fromkeys(paths, name))
        if name not in found:
            source = place if place in links else _editable_folder(metadata.read_text("direct_url.json"))
            developed += [(source, name)] if source else []
            wants = told.get_all("Requires-Dist") or metadata.requires or ()  # an egg keeps them in a file of its own
            found[name] = _Found(name, told["Version"], tuple(wants), _import_names(metadata, paths))
            found[name].probes = _probes(metadata)
    return owners, developed


def _probes(metadata: Metadata) -> tuple[tuple[str, str], ...]:
    """The probes that a project brings for ``archfit verify``: its entry points of the group ``archfit.probes``."""
    if "[archfit.probes]" not in (metadata.read_text("entry_points.txt") or ""):
        return ()
    points = metadata.entry_points.select(group="archfit.probes")
    return tuple(sorted((point.name, f"{point.module}:{point.attr}") for point in points))


def _editable_folder(direct_url: str | None) -> Path | None:
    """Where the sources of an editable install lie (PEP 610); None for every other install."""
    try:
        told = json.loads(direct_url or "{}")
        editable = told.get("dir_info", {}).get("editable")
        return Path(unquote(urlsplit(told["url"]).path)) if editable else None
    except (AttributeError, KeyError, ValueError):
        return None


def _walk_developed(folder: Path, owner: _Found) -> list[Path]:
    """The shared objects of the packages below a source folder; never those of its build folders."""
    tops = dict.fromkeys((owner.name.replace("-", "_"), *owner.import_names))
    inside = [path for top in tops for base in (folder, folder / "src") for path in _walk(base / top)]
    return inside + sorted(path for path in folder.glob("*.so") if path.name.partition(".")[0] in tops)


def _unowned(name: str) -> str:
    """Each folder for itself: one that runs must not speak for one that does not."""
    top, slash, _ = name.partition("/")
    return f"{top} {_UNOWNED}" if slash else _UNOWNED


def _import_names(metadata: Metadata, paths: list[str]) -> tuple[str, ...]:
    """What to import to load this distribution: top_level.txt if it is there, else what its files show."""
    listed = (metadata.read_text("top_level.txt") or "").split()
    if not listed:
        tops = (re.match(r"([A-Za-z_]\w*)(?:/__init__\.py|(?:\.[\w-]+)?\.(?:py|so))$", path) for path in paths)
        listed = [match[1] for match in tops if match]
    return tuple(dict.fromkeys(name for name in listed if name.isidentifier() and not name.startswith("__")))


def _lost(site: Path, owners: Mapping[str, str], shadowed: frozenset[str]) -> list[str]:
    """Shared objects that a RECORD lists and that are not there: deleted, or below a folder that may not be entered."""
    listed = (name for name, owner in owners.items() if _SHARED_OBJECT.search(name) and owner not in shadowed)
    return [name for name in listed if not (site / name).is_file()]


def _walk(site: Path, unreadable: list[tuple[str, Text]] | None = None) -> list[Path]:
    """Every shared object and every compiler of GPU code below `site`.

    Symbolic links to folders are not followed; closed folders go to `unreadable`.
    """
    found = []

    def note(error: OSError) -> None:
        if unreadable is not None and Path(error.filename).is_dir():
            unreadable.append((os.path.relpath(error.filename, site), Text("plain", {"text": error.strerror or ""})))

    for folder, folders, names in os.walk(site, onerror=note):
        folders[:] = [name for name in folders if not name.startswith("~")]  # left behind by pip, never imported
        found += [Path(folder, name) for name in names if _SHARED_OBJECT.search(name) or compiler_kind(name)]
    return sorted(found)


def _conda_libraries(site_dirs: Sequence[Path]) -> list[tuple[str, Path, str]]:
    """Conda keeps torch's libraries in the prefix's own ``lib``."""
    prefixes = {site.parents[2] for site in site_dirs if len(site.parents) > 2}
    return [
        (path.relative_to(prefix).as_posix(), path, "torch")
        for prefix in sorted(prefixes)
        if (prefix / "conda-meta").is_dir()
        for pattern in ("libtorch*.so*", "libc10*.so*")
        for path in sorted((prefix / "lib").glob(pattern))
    ]


def _read_all(
    files: list[tuple[str, Path, str]], found: dict[str, _Found], progress: Progress | None, *, deep: bool
) -> list[tuple[str, Text]]:
    """Read libraries side by side, then compilers; what cannot be read is returned with the reason."""
    files, unreadable = _whole_files(files)
    libraries = [file for file in files if _SHARED_OBJECT.search(file[0])]
    compilers = [file for file in files if compiler_kind(file[0])]
    on_read = _summed(progress, sum(size_bytes(path) for _, path, _ in (*libraries, *compilers)))
    answers = read_libraries([Wanted(path, name, _search(path, deep=deep)) for name, path, _ in libraries], on_read)
    for (name, _, owner), answer in zip(libraries, answers, strict=True):
        if isinstance(answer, Library):
            _owner(found, owner).libraries.append(answer)
        else:
            unreadable.append((name, Text.why(answer)))
    for name, path, owner in compilers:
        try:
            _owner(found, owner).compilers.append(read_compiler(path, name))
        except (FormatError, OSError) as error:
            unreadable.append((name, Text.why(error)))
        on_read(size_bytes(path))
    return unreadable


def _summed(progress: Progress | None, total: int) -> Callable[[int], None]:
    """What several threads have read, as one sum."""
    done, lock = 0, Lock()

    def on_read(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            if progress:
                progress(done, total)

    return on_read


def _whole_files(
    files: list[tuple[str, Path, str]],
) -> tuple[list[tuple[str, Path, str]], list[tuple[str, Text]]]:
    """Each file under the first of its names; and what is no file, or may not be looked at."""
    whole: dict[tuple[int, int], tuple[str, Path, str]] = {}
    unreadable: list[tuple[str, Text]] = []
    for file in files:
        name, path, _ = file
        try:
            status = path.stat()
        except OSError as error:
            unreadable.append((name, Text.why(error)))
            continue
        if stat.S_ISREG(status.st_mode):
            whole.setdefault((status.st_dev, status.st_ino), file)
        else:
            unreadable.append((name, Text("missing")))
    return list(whole.values()), unreadable


def _search(path: Path, *, deep: bool) -> Search:
    sections = None if deep else load_catalog().sections_of(path.name)
    return "all" if sections is None else sections


def _owner(found: dict[str, _Found], name: str) -> _Found:
    return found.setdefault(name, _Found(name, "", (), ()))
