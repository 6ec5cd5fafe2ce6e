"""Conda channels in a folder: real packages, made of this machine's Python, of wheels and of small real libraries."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conda_package_handling.api import create as pack
from rattler.index import index_fs

PLACEHOLDER = "/opt/" + "_placehold" * 20
"""What stands in a package for the prefix, as conda-build writes it: long, for binaries are padded and cannot grow."""
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/python{PYTHON}/site-packages"
SUBDIR = "linux-64"
_NOT_PACKED = (
    "site-packages",
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "config-*",
    "lib2to3",
    "tkinter",
    "turtledemo",
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A package of a channel but for its files. `scripts` are entry points of a package for every Python (noarch)."""

    name: str
    version: str
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    build: str = "0"
    noarch: bool = False
    scripts: tuple[str, ...] = ()
    suffix: str = ".conda"

    @property
    def subdir(self) -> str:
        """The folder of the channel it belongs in."""
        return "noarch" if self.noarch else SUBDIR


def write_package(channel: Path, recipe: Recipe, stage: Path) -> None:
    """Pack the files of `stage`, which is used up, and put the package into `channel`.

    The files of info/ are those of conda-build: https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html
    """
    rows = [_row(path, stage) for path in sorted(_files(stage))]
    index = {
        "name": recipe.name, "version": recipe.version, "build": recipe.build, "build_number": 0, "license": "test",
        "depends": list(recipe.depends), "constrains": list(recipe.constrains), "subdir": recipe.subdir,
        "timestamp": 1_700_000_000_000,
    }  # fmt: skip
    index |= {"noarch": "python"} if recipe.noarch else {"arch": "x86_64", "platform": "linux"}
    documents = {"index": index, "paths": {"paths": rows, "paths_version": 1}, "about": {}}
    if recipe.noarch:
        documents["link"] = {
            "noarch": {"type": "python", "entry_points": list(recipe.scripts)},
            "package_metadata_version": 1,
        }
    (stage / "info").mkdir(parents=True)
    for name, document in documents.items():
        (stage / f"info/{name}.json").write_text(json.dumps(document), "utf-8")
    (stage / "info/files").write_text("".join(f"{row['_path']}\n" for row in rows), "utf-8")
    prefixed = [f"{PLACEHOLDER} {row['file_mode']} {row['_path']}\n" for row in rows if "file_mode" in row]
    if prefixed:
        (stage / "info/has_prefix").write_text("".join(prefixed), "utf-8")
    folder = channel / recipe.subdir
    folder.mkdir(parents=True, exist_ok=True)
    level = {"compression_level": 1} if recipe.suffix == ".conda" else {}  # these packages are read once
    pack(str(stage), None, f"{recipe.name}-{recipe.version}-{recipe.build}{recipe.suffix}", str(folder), **level)
    shutil.rmtree(stage)


def index_channel(channel: Path) -> None:
    """Write the repodata.json of all folders of a channel."""
    for subdir in ("noarch", SUBDIR):
        (channel / subdir).mkdir(parents=True, exist_ok=True)
    asyncio.run(index_fs(channel, max_parallel=1, write_zst=False, write_shards=False))


def stage_python(stage: Path) -> None:
    """This machine's Python laid out as conda's: below one prefix, finding its own library wherever that is."""
    base = Path(sys.base_prefix)
    (stage / "bin").mkdir(parents=True)
    (stage / "lib").mkdir()
    real = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    shutil.copy2(real, stage / f"bin/python{PYTHON}")
    for name in ("python", "python3"):
        (stage / "bin" / name).symlink_to(f"python{PYTHON}")
    for library in (base / "lib").glob(f"libpython{PYTHON}*.so*"):
        shutil.copy2(library, stage / "lib", follow_symlinks=False)
    shutil.copytree(
        base / f"lib/python{PYTHON}", stage / f"lib/python{PYTHON}", ignore=shutil.ignore_patterns(*_NOT_PACKED)
    )
    (stage / SITE).mkdir()
    (stage / SITE / "README.txt").write_text("", "utf-8")
    for path in _files(stage):
        if path.suffix == ".py" and os.fsencode(base) in (data := path.read_bytes()):
            path.write_bytes(data.replace(os.fsencode(base), PLACEHOLDER.encode()))
    subprocess.run(["patchelf", "--set-rpath", "$ORIGIN/../lib", stage / f"bin/python{PYTHON}"], check=True)


def stage_wheels(stage: Path, wheels: Path, *names: str, noarch: bool = False) -> None:
    """What conda packages of these wheels hold: files and metadata, installed by conda as they tell."""
    site = stage / ("site-packages" if noarch else SITE)
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run([*words, "--find-links", wheels, "--target", site, *names], check=True)
    shutil.rmtree(site / "bin", ignore_errors=True)  # conda makes the scripts anew, from entry points
    for told in site.glob("*.dist-info/INSTALLER"):
        told.write_text("conda", "utf-8")


def _files(stage: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(stage):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in (*names, *links))


def _row(path: Path, stage: Path) -> dict[str, object]:
    name = path.relative_to(stage).as_posix()
    data = b"" if path.is_symlink() else path.read_bytes()  # a link may lead into another package
    row = {"_path": name, "path_type": "softlink" if path.is_symlink() else "hardlink"}
    row |= {"sha256": hashlib.sha256(data).hexdigest(), "size_in_bytes": len(data)}
    if PLACEHOLDER.encode() in data:
        row |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "binary" if b"\0" in data else "text"}
    return row
