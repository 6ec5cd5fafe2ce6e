"""The CUDA compiler: the machine's own where it matches torch's CUDA, else the one on PyPI, laid out as a toolkit.

torch refuses another major release of nvcc and warns of another minor one; GPUs that are newer than nvcc need a newer one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from archfit.arch import ComputeCapability, CudaVersion, Verdict, judge_code
from archfit.catalog import Catalog
from archfit.catalog.recipes import ToolchainRow, toolchain_for
from archfit.rebuild.records import BuildError

_RELEASE = re.compile(r"release (\d+\.\d+), V(\d+\.\d+\.\d+)")
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Toolkit:
    """A CUDA toolkit of this machine: its folder, its release, and the full number of its nvcc."""

    home: Path
    cuda: CudaVersion
    version: str

    def __str__(self) -> str:
        return f"nvcc {self.version}, {self.home}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What compiles: a toolkit of the machine, or else packages from PyPI, pinned to a release."""

    cuda: CudaVersion
    toolkit: Toolkit | None
    packages: ToolchainRow | None

    def __str__(self) -> str:
        return str(self.toolkit) if self.toolkit else f"nvcc {self.cuda}, PyPI"

    @property
    def requirements(self) -> tuple[str, ...]:
        """What the build environment must hold: ``nvidia-cuda-nvcc==13.0.*``."""
        return tuple(f"{name}=={self.cuda}.*" for name in self.packages.packages) if self.packages else ()


def choose_compiler(
    cuda: CudaVersion, devices: Sequence[ComputeCapability], catalog: Catalog, environ: Mapping[str, str]
) -> Choice:
    """The compiler for a torch of this CUDA and these GPUs.

    A toolkit of this very release comes first, then the packages of this very release, then a toolkit of the same major
    release, the nearest one. ``ARCHFIT_TOOLKIT=pypi`` leaves those of the machine out.

    Raises:
        BuildError: there is none.
    """
    found = () if environ.get("ARCHFIT_TOOLKIT") == "pypi" else find_toolkits(environ)
    able = [t for t in found if t.cuda.major == cuda.major and _can_target(t.cuda, devices, catalog)]
    if same := next((t for t in able if t.cuda == cuda), None):
        return Choice(cuda, same, None)
    row = toolchain_for(cuda)
    if row and _can_target(cuda, devices, catalog):
        return Choice(cuda, None, row)
    if able:
        nearest = min(able, key=lambda t: abs(t.cuda.minor - cuda.minor))
        return Choice(nearest.cuda, nearest, None)
    releases = ", ".join(str(t.cuda) for t in found) or "-"
    wanted = ", ".join(str(device) for device in devices)
    raise BuildError("rebuild-no-compiler", cuda=cuda, found=releases, capabilities=wanted)


def find_toolkits(environ: Mapping[str, str]) -> tuple[Toolkit, ...]:
    """The toolkits of this machine: those that the variables name, the one on PATH, those in the usual places."""
    named = [Path(environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if environ.get(name)]
    on_path = shutil.which("nvcc", path=environ.get("PATH", ""))
    usual = sorted(Path("/usr/local").glob("cuda*"), reverse=True)
    homes = [*named, *([Path(on_path).resolve().parent.parent] if on_path else []), *usual]
    found: dict[Path, Toolkit] = {}
    for home in homes:
        real = home.resolve()
        if real not in found and (toolkit := _read_toolkit(home)):
            found[real] = toolkit
    return tuple(found.values())


def _read_toolkit(home: Path) -> Toolkit | None:
    """None where there is no compiler, or only a part of a toolkit: without headers nothing can be compiled."""
    nvcc = home / "bin/nvcc"
    if not (nvcc.is_file() and (home / "include/cuda_runtime.h").is_file()):
        return None
    try:
        done = subprocess.run([nvcc, "--version"], check=False, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _RELEASE.search(done.stdout)
    return Toolkit(home, CudaVersion.parse(match[1]), match[2]) if match else None


def _can_target(cuda: CudaVersion, devices: Sequence[ComputeCapability], catalog: Catalog) -> bool:
    row = catalog.toolkit(cuda)
    return row is None or all(catalog.can_target(row, device) for device in devices)


def arch_of(device: ComputeCapability, cuda: CudaVersion, catalog: Catalog) -> ComputeCapability:
    """What to compile for a GPU: itself, or where this release does not know it, the nearest that runs on it."""
    row = catalog.toolkit(cuda)
    known = [t for t in row.targets if t.kind == "sass" and not t.suffix] if row else []
    fitting = [t.capability for t in known if judge_code(t, device, cuda) in (Verdict.NATIVE, Verdict.COMPATIBLE)]
    return device if device in fitting else max(fitting, default=device)


def lay_out(roots: Sequence[Path], home: Path) -> None:
    """Make a folder that looks like a toolkit out of packages: links to their files, ``lib64``, names without versions.

    `roots` are folders such as ``site-packages/nvidia/cu13``; of two files of the same name the first has it.
    """
    for root in roots:
        for folder, _, names in os.walk(root):
            target = home / Path(folder).relative_to(root)
            target.mkdir(parents=True, exist_ok=True)
            for name in names:
                if not os.path.lexists(target / name):
                    (target / name).symlink_to(Path(folder, name))
    (home / "lib").mkdir(parents=True, exist_ok=True)
    for path in sorted((home / "lib").glob("*.so.*")):
        plain = path.with_name(path.name.partition(".so.")[0] + ".so")
        if not os.path.lexists(plain):
            plain.symlink_to(path.name)
    if not os.path.lexists(home / "lib64"):
        (home / "lib64").symlink_to("lib")
