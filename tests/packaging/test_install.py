"""What is published can be published, and works where it is installed: a home that knows nothing, outside this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from archfit import __version__
from archfit.cli import COMMANDS
from archfit.uv import uv_path
from worlds import DATA

pytestmark = [pytest.mark.e2e, pytest.mark.network]
ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist; the wheel is built from the sdist, as uv does."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([uv_path(), "build", "--quiet", "--out-dir", str(folder), str(ROOT)], check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def call(home: Path, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run in a fresh home; only uv's cache and the settings of package indexes are those of whoever tests."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_", "HTTP"))}
    kept |= {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or cache_folder(), "PATH": f"{home}/bin:/usr/bin:/bin"}
    env = kept | {"HOME": str(home), "LANG": "C.UTF-8"} | more
    words_ = [str(word) for word in words]
    return subprocess.run(words_, cwd=home, env=env, capture_output=True, text=True, timeout=600, check=False)


def cache_folder() -> str:
    return subprocess.run([uv_path(), "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()


# --- what is in it ---------------------------------------------------------------------------------------------------


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        path.relative_to(SRC).as_posix()
        for package in ("archfit", "lss_swin", "bev_ops", "nuscenes_bev")
        for path in (SRC / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - names == set()
    assert {name for name in names if "share/man" in name} == {
        f"archfit-{__version__}.data/data/share/man/{place}man1/archfit.1" for place in ("", "zh_CN/")
    }


def test_nothing_is_in_the_wheel_that_is_not_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    own = {f"archfit-{__version__}.dist-info", f"archfit-{__version__}.data"}
    assert tops == {"archfit", "lss_swin", "bev_ops", "nuscenes_bev", *own}


@pytest.mark.parametrize("pure", ["", "1"])
def test_building_a_wheel_leaves_the_source_alone(built: Path, tmp_path: Path, pure: str) -> None:
    """It may be read-only, and an editable install may run from it."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / f"archfit-{__version__}"
    (source / "src/archfit/binary/_follow.abi3.so").write_bytes(b"of an editable install")
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    done = subprocess.run(
        [uv_path(), "build", "--quiet", "--wheel", "--out-dir", str(tmp_path / "dist"), str(source)],
        env=os.environ | {"ARCHFIT_PURE": pure},
        check=False,
    )
    assert done.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".so")]
        assert "archfit/binary/_follow.abi3.so" not in names or archive.read(names[0]).startswith(b"\x7fELF")
    assert names == [] or not pure


def test_twine_and_check_wheel_contents_have_nothing_to_say(built: Path, wheel: Path) -> None:
    files = [str(path) for path in built.iterdir() if path.suffix in (".whl", ".gz")]
    checks = (
        ["--from", "twine", "twine", "check", "--strict", *files],
        ["check-wheel-contents", "--config", str(ROOT / "pyproject.toml"), str(wheel)],
    )
    for words in checks:
        done = subprocess.run(
            [uv_path(), "tool", "run", "--quiet", *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


# --- where it is installed -------------------------------------------------------------------------------------------


def installed_by_uv(home: Path, wheel: Path) -> Path:
    done = call(home, uv_path(), "tool", "install", "--quiet", "--python", sys.executable, wheel)
    assert done.returncode == 0, done.stderr
    return home / ".local/bin/archfit"


def installed_by_pipx(home: Path, wheel: Path) -> Path:
    done = call(home, uv_path(), "tool", "run", "--quiet", "pipx", "install", "--python", sys.executable, wheel)
    assert done.returncode == 0, done.stderr
    return home / ".local/bin/archfit"


@pytest.fixture(scope="module", params=[installed_by_uv, installed_by_pipx])
def archfit(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """archfit as a stranger gets it; called with its arguments."""
    home = tmp_path_factory.mktemp("home")
    path = request.param(home, wheel)

    def run(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return call(home, path, *words, **more)

    run.home = home  # type: ignore[attr-defined]
    return run


def test_it_says_what_it_is(archfit: Run) -> None:
    assert archfit("--version").stdout == f"archfit {__version__}\n"
    help_page = archfit("--help").stdout
    assert [name for name in COMMANDS if name not in help_page] == []


def test_it_works_on_files_and_speaks_chinese(archfit: Run) -> None:
    done = archfit("scan", DATA / "libtorch_2_4_1.so", "--gpu", "RTX 5090", "--lang", "zh")
    assert (done.returncode, done.stderr) == (0, "")
    assert "无法运行" in done.stdout


@pytest.mark.parametrize("name", ["map.svg", "map.png", "scan.json", "scan.html"])
def test_it_writes_every_kind_of_file(archfit: Run, name: str) -> None:
    done = archfit("scan", DATA / "libpartial.so", "-o", name)
    assert done.returncode == 0, done.stderr
    assert (archfit.home / name).stat().st_size > 500  # type: ignore[attr-defined]


def test_schemas_and_completions_came_along(archfit: Run) -> None:
    assert "archfit.doctor/1" in archfit("schema", "doctor").stdout
    assert archfit("completion", "bash").stdout.startswith("# Bash completion")


def test_an_environment_that_is_none_is_one_sentence(archfit: Run) -> None:
    done = archfit("doctor", "/nothing")
    assert (done.returncode, done.stdout, done.stderr.startswith("error: there is nothing at /nothing\n")) == (
        2,
        "",
        True,
    )


def test_man_finds_the_page(archfit: Run) -> None:
    pages = sorted(p for p in archfit.home.rglob("archfit.1") if "share/man" in str(p))  # type: ignore[attr-defined]
    assert {page.parent.parent.name for page in pages} >= {"man", "zh_CN"}
