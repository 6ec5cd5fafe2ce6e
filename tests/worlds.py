"""Environments to test with: records in memory, and small folders on the disk that look like real ones.

The libraries in both are the real binaries of tests/data; only names and versions around them are made up.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from archfit.arch import CudaVersion
from archfit.binary.library import read_library
from archfit.catalog import load_catalog
from archfit.checks import diagnose
from archfit.model import (
    Diagnosis,
    Distribution,
    Driver,
    DriverRelease,
    Environment,
    Gpu,
    Interpreter,
    Known,
    Library,
    Plan,
    Unknown,
)
from archfit.planner import PlanWish, plan

DATA = Path(__file__).parent / "data"
CATALOG = load_catalog()

OLD = "libtorch_2_4_1.so"
"""SASS for 5.0 to 9.0, no PTX: what torch 2.4.1 holds."""
NEW = "libserver.so"
"""SASS for 8.0, 9.0, 10.0, 12.0 and PTX for 12.0."""

VISION_WANTS = ("numpy", "torch==2.4.1", "pillow")
TORCH_WANTS = (
    "filelock",
    'nvidia-cublas-cu12==12.1.3.1; platform_system == "Linux" and platform_machine == "x86_64"',
    'nvidia-nccl-cu12==2.20.5; platform_system == "Linux" and platform_machine == "x86_64"',
    'opt-einsum>=3.3; extra == "opt-einsum"',
)

# --- records in memory -----------------------------------------------------------------------------------------------


@cache
def library(path: str, fixture: str, needed: tuple[str, ...] | None = None) -> Library:
    """The library `fixture` of tests/data as it would be read at `path`."""
    read = read_library(DATA / fixture, path)
    return read if needed is None else replace(read, needed=needed)


def torch(version: str = "2.4.1", fixture: str | None = OLD, *more: Library) -> Distribution:
    """An installed torch whose kernels are those of `fixture`; None is a CPU build."""
    main = "torch/lib/libtorch_cuda.so" if fixture else "torch/lib/libtorch_cpu.so"
    return Distribution("torch", version, TORCH_WANTS, ("torch",), (library(main, fixture or "libno_gpu.so"), *more))


def vision(version: str = "0.19.1", wants: str = "torch==2.4.1", fixture: str = OLD) -> Distribution:
    """An installed torchvision."""
    code = library("torchvision/_C.so", fixture, ("libc10.so", "libtorch.so", "libc.so.6"))
    return Distribution("torchvision", version, ("numpy", wants), ("torchvision",), (code,))


def audio(version: str = "2.4.1", wants: str = "torch==2.4.1") -> Distribution:
    """An installed torchaudio; it has no GPU code of its own."""
    code = library("torchaudio/lib/libtorchaudio.so", "libno_gpu.so", ("libc10.so",))
    return Distribution("torchaudio", version, (wants,), ("torchaudio",), (code,))


def extension(
    name: str = "mmcv", version: str = "2.2.0", fixture: str = OLD, *, linked: bool = True, requires: Sequence[str] = ()
) -> Distribution:
    """A package with operators of its own, compiled against torch if `linked`."""
    needed = ("libc10.so", "libtorch_cuda.so", "libc.so.6") if linked else ("libc.so.6",)
    return Distribution(name, version, tuple(requires), (name,), (library(f"{name}/_ext.so", fixture, needed),))


def interpreter(tag: str = "cp311", platform: str = "linux_x86_64", libc: str | None = "glibc 2.36") -> Interpreter:
    """The Python of ``/env``."""
    version = f"{tag[2]}.{tag[3:].rstrip('t')}.7"
    purelib = Path(f"/env/lib/python{version.rpartition('.')[0]}/site-packages")
    return Interpreter(Path("/env/bin/python"), Path("/env"), version, tag, platform, True, purelib, (purelib,), libc)


def gpus(*names: str, seen: bool = False) -> Known[tuple[Gpu, ...]]:
    """GPUs by name, pretended or seen by the driver."""
    rows = tuple(CATALOG.find_gpu(name) for name in names)
    return Known(tuple(replace(g, source="nvml") for g in rows), "nvml") if seen else Known(rows, "--gpu")


def driver(release: str, *, open_module: bool | None = None, pretended: bool = True) -> Known[Driver]:
    """A driver by its release, pretended or seen."""
    parsed = DriverRelease.parse(release)
    source = f"--driver {release}" if pretended else "nvml"
    return Known(Driver(parsed, CATALOG.cuda_of_driver(parsed), open_module, source), source.split()[0])


NO_DRIVER = Unknown("NVML: NVML Shared Library Not Found", ("NVML", "nvidia-smi", "/proc/driver/nvidia/version"))


def world(
    *distributions: Distribution,
    on: str | Sequence[str] = "RTX 5090",
    release: str | None = None,
    cuda: str | None = "12.1",
    tag: str = "cp311",
    platform: str = "linux_x86_64",
    libc: str | None = "glibc 2.36",
    **changes: object,
) -> Environment:
    """An environment at ``/env``: torch 2.4.1 with torchvision unless told, on pretended GPUs and perhaps a driver."""
    names = (on,) if isinstance(on, str) else tuple(on)
    env = Environment(
        root=Path("/env"),
        python=Path("/env/bin/python"),
        chosen="named",
        interpreter=Known(interpreter(tag, platform, libc), "/env/bin/python"),
        distributions=tuple(sorted(distributions or (torch(), vision()), key=lambda d: d.name)),
        unreadable=(),
        torch_cuda=Known(CudaVersion.parse(cuda), "torch/version.py") if cuda else Unknown("built without CUDA"),
        gpus=gpus(*names) if names else NO_DRIVER,
        driver=driver(release) if release else NO_DRIVER,
    )
    return replace(env, **changes)  # type: ignore[arg-type]


def diagnosis_of(env: Environment) -> Diagnosis:
    """The diagnosis with the real catalog."""
    return diagnose(env, CATALOG)


def plan_of(env: Environment, **wish: object) -> Plan:
    """The plan with the real catalog."""
    return plan(diagnosis_of(env), CATALOG, PlanWish(**wish))  # type: ignore[arg-type]


def finding_ids(env: Environment) -> list[str]:
    """The ids of the findings, worst first."""
    return [f.id for f in diagnosis_of(env).findings]


# --- folders on the disk ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Package:
    """What one wheel puts into site-packages: texts as they are, libraries by the name of a fixture."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    libraries: Mapping[str, str] = field(default_factory=dict)
    top_level: str = ""


TORCH_2_4_1 = Package(
    "torch",
    "2.4.1",
    TORCH_WANTS,
    {
        "torch/__init__.py": "",
        "torch/version.py": "__version__ = '2.4.1+cu121'\ncuda: Optional[str] = '12.1'\nhip = None\n",
    },
    {"torch/lib/libtorch_cuda.so": OLD, "torch/lib/libtorch_cpu.so": "libno_gpu.so"},
    "torch\ntorchgen\n",
)
VISION_0_19_1 = Package(
    "torchvision",
    "0.19.1",
    VISION_WANTS,
    {"torchvision/__init__.py": ""},
    {"torchvision/_C.so": OLD},
    "torchvision\n",
)
CUBLAS_12_1 = Package(
    "nvidia-cublas-cu12",
    "12.1.3.1",
    (),
    {"nvidia/cublas/__init__.py": ""},
    {"nvidia/cublas/lib/libcublas.so.12": OLD},
)


def build_environment(root: Path, *packages: Package, python: str = sys.executable) -> Path:
    """Make a folder like a virtual environment with these packages installed; returns it."""
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "python").symlink_to(Path(python).resolve())
    home = Path(python).resolve().parent
    version = ".".join(map(str, sys.version_info[:3]))
    (root / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n")
    site = site_packages(root)
    site.mkdir(parents=True)
    for package in packages:
        install(site, package)
    return root


def site_packages(root: Path) -> Path:
    """Where such an environment keeps its packages."""
    return root / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def install(site: Path, package: Package) -> None:
    """Unpack one package and write its metadata."""
    for name, text in package.texts.items():
        _make(site / name).write_text(text)
    for name, fixture in package.libraries.items():
        shutil.copyfile(DATA / fixture, _make(site / name))
    info = f"{package.name.replace('-', '_')}-{package.version}.dist-info"
    wants = "".join(f"Requires-Dist: {line}\n" for line in package.requires)
    heading = f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n"
    _make(site / info / "METADATA").write_text(heading + wants)
    if package.top_level:
        (site / info / "top_level.txt").write_text(package.top_level)
    (site / info / "INSTALLER").write_text("uv\n")
    rows = [_record_row(site, name) for name in (*package.texts, *package.libraries, f"{info}/METADATA")]
    (site / info / "RECORD").write_text("".join(f"{row}\n" for row in (*rows, f"{info}/RECORD,,")))


def _make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _record_row(site: Path, name: str) -> str:
    data = (site / name).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"
