"""Prefixes of the real conda, micromamba and rattler, from channels in a folder: changed, refused, and still theirs after.

rattler comes from PyPI (the group `conda`). conda and micromamba are not on PyPI: they are tried where they are on PATH, or
named by ARCHFIT_TEST_CONDA and ARCHFIT_TEST_MICROMAMBA; CONTRIBUTING.md says how to get them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("rattler", reason="the group `conda` is not installed: ./run e2e")

from channel import PYTHON
from prefixes import VARIABLES, Maker, find_maker, lost_files, records
from stock import load_wheels, write_channels, write_index

from laboratory import around, output_of

pytestmark = [pytest.mark.e2e, pytest.mark.network]

LIBRARY = f"lib/python{PYTHON}"
NEW_GPU = ("--gpu", "RTX 5090", "--driver", "580.65.06")
Archfit = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Channels of conda packages, and an index of wheels."""
    folder = tmp_path_factory.mktemp("stock")
    wheels = load_wheels(folder / "wheels")
    write_index(folder / "index", wheels)
    write_channels(folder / "channels", wheels)
    return folder


@pytest.fixture(scope="module", params=[*VARIABLES])
def maker(request: pytest.FixtureRequest, stock: Path, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Each program that makes prefixes."""
    found = find_maker(request.param, tmp_path_factory.mktemp("home") / request.param, stock / "channels")
    if found is None:
        pytest.skip(f"no {request.param} on PATH; name one with {VARIABLES[request.param]}")
    return found


@pytest.fixture(scope="module")
def archfit(stock: Path, tmp_path_factory: pytest.TempPathFactory) -> Archfit:
    """Run archfit as a person would, with our index in the place of PyPI."""
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("UV_", "CONDA", "VIRTUAL_ENV"))
    }
    environ |= {"UV_DEFAULT_INDEX": (stock / "index").as_uri(), "UV_CACHE_DIR": str(tmp_path_factory.mktemp("uv"))}
    environ |= {"COLUMNS": "400", "LANG": "en_US.UTF-8"}

    def call(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "archfit", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environ | more, timeout=300)

    return call


def files_of(folder: Path) -> dict[str, str]:
    """What a folder holds, by hash, but for the code that Python compiles when it likes."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def unpacked(maker: Maker) -> dict[str, str]:
    """The packages in the program's cache, whose files prefixes share."""
    return {
        f"{folder.name}/{name}": told
        for folder in maker.cache.glob("*-*-*/")
        for name, told in files_of(folder).items()
    }


def pip_install(prefix: Path, stock: Path) -> None:
    """Install an old torch with the prefix's own pip."""
    words = [prefix / "bin/pip", "--isolated", "install", "--quiet", "--no-deps", "--root-user-action", "ignore"]
    words += ["--break-system-packages", "--index-url", (stock / "index").as_uri()]
    subprocess.run([*words, "torch==2.4.1", "torchvision==0.19.1"], check=True)


def assert_whole(maker: Maker, prefix: Path, vision: str) -> None:
    """conda's files are all there, its scripts run, and pip's packages are those that are meant."""
    assert lost_files(prefix) == []
    assert output_of(prefix / "bin/greet") == f"greetings from {prefix}"
    assert output_of(prefix / "bin/see") == f"torchvision {vision}"
    if maker.name == "conda":
        versions = maker.versions(prefix)
        assert (versions["torchvision"], versions["greeter"]) == (vision, "1.0")


def test_a_torch_of_pips_is_changed_and_conda_goes_on_with_either_state(
    maker: Maker, stock: Path, archfit: Archfit
) -> None:
    prefix = maker.create("gpu", "python", "typing_extensions", "greeter", "aware")
    pip_install(prefix, stock)
    old, old_records = files_of(prefix), records(prefix)
    cached = unpacked(maker)
    assert any(path.samefile(prefix / LIBRARY / "os.py") for path in maker.cache.glob(f"*/{LIBRARY}/os.py"))
    done = archfit("upgrade", "--yes", *NEW_GPU, CONDA_PREFIX=str(prefix))
    assert done.returncode == 0, done.stderr
    assert_whole(maker, prefix, "0.23.0")
    assert records(prefix) == old_records
    maker.install(prefix, "extra")
    assert_whole(maker, prefix, "0.23.0")
    assert (prefix / "share/extra.txt").exists()

    assert archfit("rollback", prefix).returncode == 0
    assert files_of(prefix) == old
    assert_whole(maker, prefix, "0.19.1")
    maker.install(prefix, "extra")
    assert_whole(maker, prefix, "0.19.1")
    assert archfit("rollback", prefix).returncode == 0
    assert_whole(maker, prefix, "0.23.0")
    assert unpacked(maker) | cached == unpacked(maker)


FROM = {
    "conda-forge": ("pytorch-gpu=2.5.1", "pytorch=2.5.1", "torchvision=0.20.1"),
    "pytorch": ("pytorch==2.4.1", "torchvision==0.19.1", "pytorch-cuda=12.1"),
}
"""How torch came in: as conda-forge and pytorch.org said one should ask for it. conda remembers each of these."""


@pytest.mark.parametrize("channel", FROM)
def test_a_torch_of_condas_is_left_to_commands_that_conda_takes(maker: Maker, archfit: Archfit, channel: str) -> None:
    if maker.name == "rattler" and channel == "pytorch":
        pytest.skip("rattler is a library: it has no word for conda's remove")
    prefix = maker.create(f"torch-of-{channel}", "python", *FROM[channel], channels=(channel, "conda-forge"))
    before = files_of(prefix)
    planned = json.loads(archfit("plan", prefix, *NEW_GPU, "--json").stdout)["options"][0]["commands"]["pip"]
    done = archfit("upgrade", prefix, "--yes", *NEW_GPU)
    assert done.returncode == 5, done.stderr
    assert f"let conda change it: {' && '.join(planned)}" in done.stderr
    assert files_of(prefix) == before
    assert around(prefix) == {""}

    *removals, install = planned
    for command in removals:
        maker.follow(command)
    maker.follow(install, "--dry-run")
    maker.follow(install)
    assert lost_files(prefix) == []
    found = archfit("doctor", prefix, *NEW_GPU)
    assert found.returncode == 0, found.stdout
    assert archfit("upgrade", prefix, "--yes", *NEW_GPU).returncode == 0  # nothing is left to do
    assert around(prefix) == {""}


def test_a_prefix_that_conda_closed_to_pip_is_refused(maker: Maker, stock: Path, archfit: Archfit) -> None:
    prefix = maker.create("closed", "python", "typing_extensions", "conda-managed-env")
    pip_install(prefix, stock)
    before = files_of(prefix)
    done = archfit("upgrade", prefix, "--yes", *NEW_GPU)
    assert done.returncode == 5
    assert f"{prefix} is closed to changes such as this one" in done.stderr
    assert files_of(prefix) == before


def test_the_base_is_refused(maker: Maker, stock: Path, archfit: Archfit) -> None:
    if maker.name != "micromamba":
        pytest.skip("its root is a prefix only where an installer put it there")
    base = maker.home
    maker.run("install", "--yes", "--name", "base", "python", "typing_extensions")
    pip_install(base, stock)
    before = files_of(base / "lib")
    done = archfit("upgrade", "--yes", *NEW_GPU, CONDA_PREFIX=str(base))
    assert done.returncode == 5
    assert "is conda's base environment" in done.stderr
    assert files_of(base / "lib") == before
