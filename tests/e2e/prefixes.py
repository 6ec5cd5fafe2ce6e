"""The programs that make conda prefixes, each with a home of its own: rattler from PyPI, the others where there are any."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_RATTLE = Path(__file__).with_name("rattle.py")
VARIABLES = {"conda": "ARCHFIT_TEST_CONDA", "micromamba": "ARCHFIT_TEST_MICROMAMBA", "rattler": ""}
"""The programs, and the variable that names each where it is not on PATH. conda is started as ``PYTHON -m conda`` where the
variable names a Python."""


@dataclass(frozen=True, slots=True)
class Maker:
    """A program that makes conda prefixes; its settings, cache and environments lie below `home`."""

    name: str
    words: tuple[str, ...]
    home: Path
    environ: Mapping[str, str]

    def run(self, command: str, *arguments: str | Path) -> str:
        """What a command prints; it must succeed."""
        done = self.attempt(command, *arguments)
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def attempt(self, command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        words = [*self.words, *shlex.split(command), *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, check=False, env=dict(self.environ), timeout=120)

    def follow(self, command: str, *more: str) -> str:
        """Do what a conda command says that archfit printed."""
        program, verb, *arguments = shlex.split(command)
        assert program == "conda"
        return self.run(verb, *arguments, *more, *self._yes)

    def create(self, name: str, *specs: str, channels: tuple[str, ...] = ("conda-forge",)) -> Path:
        """A prefix by its name, below the folder of environments."""
        prefix = self.home / "envs" / name
        where = ("--prefix", prefix) if self.name == "rattler" else ("--name", name)
        words = (word for channel in channels for word in ("--channel", channel))
        self.run("create", *where, *words, *specs, *self._yes)
        return prefix

    def install(self, prefix: Path, *specs: str) -> None:
        """Install into a prefix."""
        self.run("install", "--prefix", prefix, "--channel", "conda-forge", *specs, *self._yes)

    def versions(self, prefix: Path) -> dict[str, str]:
        """What the program says is installed, by conda and, where it knows of pip, by pip."""
        if self.name == "rattler":
            return {row["name"]: row["version"] for row in records(prefix)}
        return {row["name"]: row["version"] for row in json.loads(self.run("list --json", "--prefix", prefix))}

    @property
    def _yes(self) -> tuple[str, ...]:
        return () if self.name == "rattler" else ("--yes",)

    @property
    def cache(self) -> Path:
        """Where unpacked packages lie that prefixes share files with."""
        return self.home / "pkgs"


def find_maker(name: str, home: Path, channels: Path) -> Maker | None:
    """The program of this name, set up to know our channels only; None where this machine has none."""
    words = _words(name, home)
    if words is None:
        return None
    (home / "envs").mkdir(parents=True)
    settings = {
        "channel_alias": channels.as_uri(), "channels": ["conda-forge"], "default_channels": [], "solver": "classic",
        "pkgs_dirs": [str(home / "pkgs")], "envs_dirs": [str(home / "envs")], "notify_outdated_conda": False,
    }  # fmt: skip
    (home / ".condarc").write_text(json.dumps(settings), "utf-8")  # JSON is YAML, too
    dropped = ("CONDA", "_CONDA", "MAMBA", "PYTHON", "VIRTUAL_ENV")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    # the solvers ask for the driver, and pretend this one
    environ |= {
        "HOME": str(home),
        "MAMBA_ROOT_PREFIX": str(home),
        "CONDA_OVERRIDE_CUDA": "12.8",
        "CONDA_NUMBER_CHANNEL_NOTICES": "0",
    }
    if solver := os.environ.get("CONDA_SOLVER"):
        environ["CONDA_SOLVER"] = solver
    environ["ARCHFIT_TEST_CHANNELS"] = channels.as_uri()
    return Maker(name, words, home, environ)


def _words(name: str, home: Path) -> tuple[str, ...] | None:
    if name == "rattler":
        return (sys.executable, str(_RATTLE), "--cache", str(home))
    program = os.environ.get(VARIABLES[name]) or shutil.which(name)
    if program is None:
        return None
    return (program, "-m", "conda") if Path(program).name.startswith("python") else (program,)


def records(prefix: Path) -> list[dict[str, object]]:
    """conda's own records of a prefix."""
    return [json.loads(path.read_bytes()) for path in sorted((prefix / "conda-meta").glob("*.json"))]


def lost_files(prefix: Path) -> list[str]:
    """Files that conda's records list and that are not there, as `conda doctor` looks for them."""
    return [name for record in records(prefix) for name in record["files"] if not os.path.lexists(prefix / name)]
