"""A world to build in without torch, CUDA or network: a torch that only says its release, an nvcc that only succeeds,
source packages whose own build backend puts a ready library into a wheel.
"""

from __future__ import annotations

import io
import sys
import sysconfig
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from archfit.arch import ComputeCapability, CudaVersion
from archfit.catalog import load_catalog
from archfit.catalog.recipes import Recipe
from archfit.model import Interpreter
from archfit.rebuild import BuildProgress, Built, Ground, Store, Wanted, rebuild

DATA = Path(__file__).parents[1] / "data"
RECIPE = Recipe((), (), {"TORCH_CUDA_ARCH_LIST": "{arch_list}", "MAX_JOBS": "{jobs}"}, (), (), 0.1, known=False)
CUDA = CudaVersion(13, 0)

BACKEND = """
import os, sys, subprocess, zipfile
NAME, VERSION, LIBRARY, FILE, ENDING = {name!r}, {version!r}, {library!r}, {file!r}, {ending!r}

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    folder = f"{{NAME}}-{{VERSION}}.dist-info"
    os.makedirs(os.path.join(directory, folder))
    with open(os.path.join(directory, folder, "METADATA"), "w") as page:
        page.write(f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n")
    return folder

def build_wheel(directory, config_settings=None, metadata_directory=None):
    with open({trace!r}, "a") as trace:
        trace.write(os.environ["TORCH_CUDA_ARCH_LIST"] + " " + os.environ.get("NVCC_APPEND_FLAGS", "") + "\\n")
    for number in (1, 2):
        print(f"[{{number}}/2] nvcc -c part{{number}}.cu -o part{{number}}.o", flush=True)
    exec(ENDING)
    wheel = f"{{NAME}}-{{VERSION}}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, wheel), "w") as archive:
        info = f"{{NAME}}-{{VERSION}}.dist-info"
        archive.writestr(f"{{NAME}}/__init__.py", "")
        if LIBRARY:
            archive.write(LIBRARY, FILE)
        archive.writestr(f"{{info}}/METADATA", f"Metadata-Version: 2.1\\nName: {{NAME}}\\nVersion: {{VERSION}}\\n")
        page = "Wheel-Version: 1.0\\nGenerator: yard\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        archive.writestr(f"{{info}}/WHEEL", page)
        archive.writestr(f"{{info}}/RECORD", "")
    return wheel
"""
PROJECT = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
version = "{version}"
"""


@dataclass
class World:
    """`root` holds an index of sdists, a toolkit, a torch and the store; `seen` is what the build told."""

    root: Path
    seen: list[BuildProgress] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("index", "site/torch", "cuda/bin", "cuda/include"):
            (self.root / name).mkdir(parents=True)
        (self.root / "site/torch/__init__.py").write_text(
            "__version__ = '2.11.0+cu130'\nclass version:\n    cuda = '13.0'\n", "utf-8"
        )
        (self.root / "cuda/include/cuda_runtime.h").touch()
        nvcc = self.root / "cuda/bin/nvcc"
        nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 13.0, V13.0.88'\n", "utf-8")
        nvcc.chmod(0o755)

    @property
    def store(self) -> Store:
        return Store(self.root / "store")

    @property
    def trace(self) -> list[str]:
        """What each run of the backend was told: one line for each."""
        path = self.root / "trace"
        return path.read_text("utf-8").splitlines() if path.exists() else []

    @property
    def ground(self) -> Ground:
        tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
        version = ".".join(map(str, sys.version_info[:3]))
        site = (self.root / "site",)
        python = Interpreter(
            Path(sys.executable), Path(sys.prefix), version, tag, "linux_x86_64", True, site[0], site, None
        )
        return Ground(python, "2.11.0", CUDA, (ComputeCapability(12, 0),))

    def offer(
        self,
        name: str = "demoext",
        library: str | None = "libsm_120.so",
        *,
        version: str = "1.0",
        file: str = "demoext/_ext.so",
        ending: str = "",
        setup: str = "",
        built_name: str = "",
        kernels: bool = True,
        into: Path | None = None,
    ) -> None:
        """Put a source package into the index, or its files into a folder: it builds a wheel with `library` at `file`.

        `ending` is run before the wheel is written; `setup` is a setup.py that is only read.
        """
        backend = BACKEND.format(
            name=built_name or name,
            version=version,
            library=str(DATA / library) if library else "",
            file=file,
            ending=ending,
            trace=str(self.root / "trace"),
        )
        files = {"backend.py": backend, "pyproject.toml": PROJECT.format(name=name, version=version)}
        files |= {"setup.py": setup} if setup else {}
        files |= {"part1.cu": "__global__ void k() {}\n"} if kernels else {}
        files["PKG-INFO"] = f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"
        if into:
            into.mkdir(parents=True, exist_ok=True)
            for path, text in files.items():
                (into / path).write_text(text, "utf-8")
            return
        with tarfile.open(self.root / f"index/{name}-{version}.tar.gz", "w:gz") as archive:
            for path, text in files.items():
                member = tarfile.TarInfo(f"{name}-{version}/{path}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))

    def build(self, name: str = "demoext", version: str = "1.0", origin: str | None = None) -> Built:
        environ = {"PATH": "/usr/bin:/bin", "CUDA_HOME": str(self.root / "cuda"), "HOME": str(self.root)}
        return rebuild(
            Wanted(name, version, origin),
            self.ground,
            load_catalog(),
            self.seen.append,
            store=self.store,
            environ=environ,
        )

    @property
    def left_behind(self) -> list[str]:
        """What is still in the folder of unfinished builds."""
        return sorted(path.name for path in (self.root / "store/work").iterdir())


HAS_HEADERS = Path(sysconfig.get_path("include"), "Python.h").is_file()
