"""What the channels and the index of the conda tests hold: as on conda-forge, the channel `pytorch` and PyPI, but small."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from platform import python_version

from channel import PLACEHOLDER, PYTHON, SITE, Recipe, index_channel, stage_python, stage_wheels, write_package
from packaging.utils import canonicalize_name

from laboratory import DATA, sha256, write_wheel
from worlds import NEW, OLD

REAL_WHEELS = {"pip": "26.1", "setuptools": "80.9.0", "typing_extensions": "4.12.2"}
"""Read from PyPI."""
_PY = f"py{PYTHON.replace('.', '')}"
_CODE_OF = {"12.1": OLD, "12.6": OLD, "12.8": NEW, "12.9": NEW, "13.0": NEW}
"""What torch's library holds by the CUDA it is built with: no code for 12.0 before CUDA 12.8."""
CONDA_FORGE = (
    ("2.5.1", "12.6", "0.20.1"),
    ("2.8.0", "12.9", "0.23.0"),
    ("2.13.0", "12.9", "0.28.0"),
    ("2.13.0", "13.0", "0.28.0"),
)
"""Some builds of torch with CUDA on conda-forge for linux-64, and torchvision beside them.

Source: .ci_support and recipe/meta.yaml in the history of conda-forge/pytorch-cpu-feedstock, read 2026-11-25.
"""


def load_wheels(folder: Path) -> Path:
    """Read the wheels that conda packages are made of from PyPI."""
    specs = [f"{name}=={version}" for name, version in REAL_WHEELS.items()]
    words = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        folder,
    ]
    subprocess.run([*words, *specs], check=True)
    return folder


def write_index(folder: Path, wheels: Path) -> Path:
    """An index of packages (PEP 503): torch 2.4.1 and 2.8.0 and torchvision, with small libraries, and what they need."""
    for torch, cuda, vision in (("2.4.1", "12.1", "0.19.1"), ("2.8.0", "12.8", "0.23.0")):
        wants = "typing-extensions>=4.10.0"
        shelf = _shelf(folder, "torch")
        write_wheel(shelf, "torch", torch, _torch_files(torch, cuda), requires=wants, tag="py3-none-any")
        files = {"torchvision/__init__.py": _versioned(vision), "torchvision/_C.so": _code(cuda)}
        names = {"requires": f"torch=={torch}", "scripts": "see = torchvision:main", "tag": "py3-none-any"}
        write_wheel(_shelf(folder, "torchvision"), "torchvision", vision, files, **names)
    for wheel in wheels.glob("*.whl"):
        shutil.copy2(wheel, _shelf(folder, canonicalize_name(wheel.name.partition("-")[0])))
    for project in folder.iterdir():
        links = (
            f'<a href="{path.name}#sha256={sha256(path)}">{path.name}</a>' for path in sorted(project.glob("*.whl"))
        )
        (project / "index.html").write_text(f"<html><body>{''.join(links)}</body></html>", "utf-8")
    return folder


def _shelf(index: Path, name: str) -> Path:
    (index / name).mkdir(parents=True, exist_ok=True)
    return index / name


def write_channels(folder: Path, wheels: Path) -> Path:
    """The channels `conda-forge` and `pytorch` below `folder`."""
    forge, old = folder / "conda-forge", folder / "pytorch"
    stage = folder / "stage"
    stage_python(stage)
    write_package(forge, Recipe("python", python_version(), ("pip",)), stage)
    scripts = {"pip": ("pip = pip._internal.cli.main:main", f"pip{PYTHON} = pip._internal.cli.main:main")}
    for name, version in REAL_WHEELS.items():
        stage_wheels(stage, wheels, name, noarch=True)
        recipe = Recipe(name, version, ("python >=3.9",), noarch=True, scripts=scripts.get(name, ()))
        write_package(forge, recipe, stage)
    _write_small_ones(forge, stage)
    for cuda in ("12.1", "12.6", "12.8", "12.9", "13.0"):
        constrains = (f"__cuda >={cuda.partition('.')[0]}",)
        write_package(forge, Recipe("cuda-version", cuda, constrains=constrains), _lay(stage, {}))
    for cublas in ("12.6.4.1", "12.9.1.4", "13.0.2.14"):
        write_package(forge, Recipe("libcublas", cublas), _lay(stage, {}))
    for torch, cuda, vision in CONDA_FORGE:
        _write_torch(forge, stage, torch, cuda, vision)
    _write_old_torch(old, stage)
    for channel in (forge, old):
        index_channel(channel)
    return folder


def _write_small_ones(channel: Path, stage: Path) -> None:
    """A package with a script for every Python, one that knows its prefix and does something on activation, and one more."""
    files = {"site-packages/greeter.py": b"import sys\n\n\ndef main():\n    print('greetings from', sys.prefix)\n"}
    files |= _dist_info("greeter", "1.0", "site-packages")
    greeter = Recipe("greeter", "1.0", ("python",), noarch=True, scripts=("greet = greeter:main",))
    write_package(channel, greeter, _lay(stage, files))
    aware = {
        "etc/conda/activate.d/aware.sh": b"export AWARE=yes\n",
        "share/aware/where.txt": f"{PLACEHOLDER}/share\n".encode(),
        "lib/libaware.so": (DATA / "libno_gpu.so").read_bytes() + f"{PLACEHOLDER}/share\0".encode(),
    }
    write_package(channel, Recipe("aware", "1.0", suffix=".tar.bz2"), _lay(stage, aware))
    write_package(channel, Recipe("extra", "1.0"), _lay(stage, {"share/extra.txt": b"extra\n"}))
    managed = {
        f"lib/python{PYTHON}/EXTERNALLY-MANAGED": b"[externally-managed]\nError=conda manages this environment\n"
    }
    write_package(channel, Recipe("conda-managed-env", "1.0.0"), _lay(stage, managed))


def _write_torch(channel: Path, stage: Path, torch: str, cuda: str, vision: str) -> None:
    """As recipe/meta.yaml of conda-forge/pytorch-cpu-feedstock makes it: the libraries apart, and a name for CUDA builds."""
    major = cuda.partition(".")[0]
    build = f"cuda{cuda.replace('.', '')}_mkl_h0_300"
    mine = f"cuda{cuda.replace('.', '')}_mkl_{_PY}_300"
    runs = f"cuda-version >={cuda},<{int(major) + 1}"
    needs = (runs, f"libcublas >={cuda},<{int(major) + 1}")
    library = _lay(stage, {"lib/libtorch_cuda.so": _code(cuda)})
    write_package(channel, Recipe("libtorch", torch, needs, build=build), library)
    files = {f"{SITE}/{name}": data for name, data in _torch_files(torch, cuda).items() if not name.endswith(".so")}
    staged = _lay(stage, files | _dist_info("torch", torch, SITE))
    (staged / SITE / "torch/lib").mkdir()
    (staged / SITE / "torch/lib/libtorch_cuda.so").symlink_to("../../../../libtorch_cuda.so")
    depends = (f"libtorch {torch} {build}", "__cuda", "python", "typing_extensions >=4.10.0", runs)
    constrains = ("pytorch-cpu <0.0a0", f"pytorch-gpu {torch}")
    write_package(channel, Recipe("pytorch", torch, depends, constrains, build=mine), staged)
    names = Recipe("pytorch-gpu", torch, (f"pytorch {torch} cuda*_mkl*300",), build=build)
    write_package(channel, names, _lay(stage, {}))
    files = {f"{SITE}/torchvision/__init__.py": _versioned(vision), f"{SITE}/torchvision/_C.so": _code(cuda)}
    wants = ("python", f"pytorch {torch}.*", f"pytorch * cuda{cuda.replace('.', '')}*")
    recipe = Recipe("torchvision", vision, wants, build=f"cuda{cuda.replace('.', '')}_{_PY}_0")
    write_package(channel, recipe, _lay(stage, files | _dist_info("torchvision", vision, SITE)))


def _write_old_torch(channel: Path, stage: Path) -> None:
    """As the channel `pytorch` had it until torch 2.5: all in one, metadata as an egg, and a package that holds CUDA."""
    write_package(channel, Recipe("pytorch-mutex", "1.0", build="cuda"), _lay(stage, {}))
    write_package(channel, Recipe("libcublas", "12.1.0.26"), _lay(stage, {}))
    chooser = Recipe("pytorch-cuda", "12.1", ("libcublas >=12.1.0.26,<12.1.3.1",), build="ha16c6d3_6")
    write_package(channel, chooser, _lay(stage, {}))
    files = {f"{SITE}/{name}": data for name, data in _torch_files("2.4.1", "12.1").items()}
    files |= _egg_info("torch", "2.4.1")
    wants = ("python", "typing_extensions", "pytorch-cuda >=12.1,<12.2", "pytorch-mutex 1.0 cuda")
    write_package(
        channel, Recipe("pytorch", "2.4.1", wants, build=f"py{PYTHON}_cuda12.1_cudnn9.1.0_0"), _lay(stage, files)
    )
    files = {f"{SITE}/torchvision/__init__.py": _versioned("0.19.1"), f"{SITE}/torchvision/_C.so": _code("12.1")}
    wants = ("python", "pytorch 2.4.1", "pytorch-mutex 1.0 cuda")
    recipe = Recipe("torchvision", "0.19.1", wants, build=f"{_PY}_cu121")
    write_package(channel, recipe, _lay(stage, files | _egg_info("torchvision", "0.19.1")))


def _torch_files(version: str, cuda: str) -> dict[str, bytes]:
    told = f"__version__ = '{version}'\ncuda: str = '{cuda}'\nhip = None\n"
    return {
        "torch/__init__.py": b"from torch.version import __version__\n",
        "torch/version.py": told.encode(),
        "torch/lib/libtorch_cuda.so": _code(cuda),
    }


def _versioned(version: str) -> bytes:
    return f"__version__ = '{version}'\n\n\ndef main():\n    print('torchvision', __version__)\n".encode()


def _code(cuda: str) -> bytes:
    return (DATA / _CODE_OF[cuda]).read_bytes()


def _dist_info(name: str, version: str, site: str) -> dict[str, bytes]:
    folder = f"{site}/{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    # conda's RECORD lists what pip installed at build time; a shortened one is enough to tell the owner of the files
    record = f"{name}/__init__.py,,\n{name}-{version}.dist-info/METADATA,,\n{name}-{version}.dist-info/RECORD,,\n"
    texts = {"METADATA": metadata, "INSTALLER": "conda", "RECORD": record}
    return {f"{folder}/{file}": text.encode() for file, text in texts.items()}


def _egg_info(name: str, version: str) -> dict[str, bytes]:
    folder = f"{SITE}/{name}-{version}-py{PYTHON}.egg-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    return {f"{folder}/PKG-INFO": metadata.encode(), f"{folder}/top_level.txt": f"{name}\n".encode()}


def _lay(stage: Path, files: Mapping[str, bytes]) -> Path:
    stage.mkdir()
    for name, data in files.items():
        path = stage / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return stage
