"""What lies around an environment: variables, caches of compiled code, libraries in the way, the driver's own library."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from os import W_OK, access
from pathlib import Path

from archfit.arch import ComputeCapability
from archfit.binary.library import read_library
from archfit.errors import FormatError
from archfit.model import CacheEntry, Environment, GpuState, Known, Library, PlaceKind, Shadow, Surroundings
from archfit.probe.places import observe_host, observe_places

_VARIABLES = (
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "CUDA_DISABLE_PTX_JIT",
    "CUDA_DISABLE_JIT",
    "CUDA_FORCE_PTX_JIT",
    "CUDA_FORCE_JIT",
    "CUDA_CACHE_DISABLE",
    "CUDA_CACHE_PATH",
    "TORCH_EXTENSIONS_DIR",
    "TRITON_CACHE_DIR",
    "TRITON_PTXAS_PATH",
)
_MOST_ENTRIES = 2000  # of one cache; a shared home can hold a hundred thousand
_STALE_LOCK_SECONDS = 600  # longer than any build that is still going on, mostly
_LDCONFIG_SECONDS = 10.0
_CUBIN = 190  # e_machine of NVIDIA's ELF files


def observe_surroundings(env: Environment, environ: Mapping[str, str], states: Sequence[GpuState]) -> Surroundings:
    """Look around; reads a bounded number of small files and writes nothing."""
    home = Path(environ.get("HOME", "/nonexistent"))
    own_sites = env.interpreter.value.site_dirs if isinstance(env.interpreter, Known) else ()
    compute = Path(environ.get("CUDA_CACHE_PATH") or home / ".nv/ComputeCache")
    extensions, triton = torch_extensions_folder(env, environ, home), triton_folder(environ, home)
    caches = (
        *read_torch_extensions(extensions, own_sites),
        *read_triton_cache(triton),
        *read_compute_cache(compute),
    )
    folders: dict[PlaceKind, Path | None] = {"torch-extension": extensions, "triton": triton, "compute": compute}
    return Surroundings(
        variables={name: environ[name] for name in _VARIABLES if name in environ},
        gpu_states=tuple(states),
        caches=caches,
        shadows=tuple(find_shadows(env, environ)),
        libcuda=find_libcuda(environ),
        compute_cache=_cache_trouble(compute, environ),
        host=observe_host(environ),
        places=observe_places(env, folders, caches),
    )


# --- caches of compiled code -----------------------------------------------------------------------------------------


def torch_extensions_folder(env: Environment, environ: Mapping[str, str], home: Path) -> Path | None:
    """Where torch keeps what it compiles for this Python and this CUDA (torch/utils/cpp_extension.py)."""
    if named := environ.get("TORCH_EXTENSIONS_DIR"):
        return Path(named)
    if not isinstance(env.interpreter, Known):
        return None
    python = env.interpreter.value.tag.removeprefix("cp")
    cuda = f"cu{env.torch_cuda.value}".replace(".", "") if isinstance(env.torch_cuda, Known) else "cpu"
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    return cache / "torch_extensions" / f"py{python}_{cuda}"


def read_torch_extensions(folder: Path | None, own_sites: Sequence[Path]) -> list[CacheEntry]:
    """One entry per extension: its shared object, and what its build file and its lock say."""
    if folder is None:
        return []
    installed = max(
        (page.stat().st_mtime for site in own_sites for page in site.glob("torch-*.dist-info")), default=0.0
    )
    return [entry for place in _folders(folder) if (entry := _torch_extension(place, own_sites, installed))]


def _torch_extension(place: Path, own_sites: Sequence[Path], installed: float) -> CacheEntry | None:
    libraries = sorted(place.glob("*.so"))
    lock = place / "lock"
    trouble, detail = "", ""
    if lock.exists() and time.time() - lock.stat().st_mtime > _STALE_LOCK_SECONDS:
        trouble, detail = "locked", str(lock)
    elif libraries and (other := _torch_of_build(place / "build.ninja", own_sites)):
        trouble, detail = "other-torch", other
    elif libraries and libraries[0].stat().st_mtime < installed:
        trouble, detail = "older", libraries[0].name
    if not libraries and not trouble:
        return None
    library = _read(libraries[0]) if libraries else None
    size = libraries[0].stat().st_size if libraries else 0
    return CacheEntry("torch-extension", place, size, 1, library, (), trouble, detail)


def _torch_of_build(page: Path, own_sites: Sequence[Path]) -> str:
    """The torch that an extension was compiled against, if it is not the one installed here."""
    try:
        text = page.read_text("utf-8", "replace")
    except OSError:
        return ""
    found = [Path(path) for path in re.findall(r"-(?:isystem|I) ?(\S+?)/torch/include(?=\s)", text)]
    own = {site.resolve() for site in own_sites}
    return str(found[0]) if found and all(path.resolve() not in own for path in found) else ""


def _read(path: Path) -> Library | None:
    try:
        return read_library(path, str(path))
    except (FormatError, OSError):
        return None


def triton_folder(environ: Mapping[str, str], home: Path) -> Path:
    """Where Triton keeps what it compiles (triton/runtime/cache.py)."""
    base = Path(environ.get("TRITON_HOME") or home)
    return Path(environ.get("TRITON_CACHE_DIR") or base / ".triton/cache")


def read_triton_cache(folder: Path) -> list[CacheEntry]:
    """One entry for the whole cache: how many kernels for which GPU."""
    found: Counter[ComputeCapability] = Counter()
    size = 0
    for place in _folders(folder):
        for page in place.glob("*.json"):
            if page.name.startswith("__grp__"):
                continue
            with suppress(OSError, ValueError, AttributeError, TypeError):
                target = json.loads(page.read_text("utf-8")).get("target") or {}
                if target.get("backend", "cuda") == "cuda" and isinstance(target.get("arch"), int):
                    found[ComputeCapability(target["arch"] // 10, target["arch"] % 10)] += 1
                    size += sum(file.stat().st_size for file in place.iterdir())
    if not found:
        return []
    return [CacheEntry("triton", folder, size, sum(found.values()), targets=tuple(sorted(found)))]


def read_compute_cache(folder: Path) -> list[CacheEntry]:
    """One entry for the driver's cache: how many pieces of machine code for which GPU."""
    found: Counter[ComputeCapability] = Counter()
    size = 0
    for path in _files(folder):
        with suppress(OSError):
            data = path.read_bytes() if path.stat().st_size < 1 << 24 else b""
            size += len(data)
            found.update(cubin_capabilities(data))
    if not found:
        return []
    return [CacheEntry("compute", folder, size, sum(found.values()), targets=tuple(sorted(found)))]


def cubin_capabilities(data: bytes) -> Iterator[ComputeCapability]:
    """The compute capability of each cubin in `data`, from the flags of its ELF header (old and new layout)."""
    at = data.find(b"\x7fELF")
    while at >= 0:
        header = data[at : at + 64]
        if len(header) == 64 and int.from_bytes(header[18:20], "little") == _CUBIN:
            flags = int.from_bytes(header[48:52], "little")
            number = flags >> 8 & 0xFF if header[7] == 0x41 else flags & 0xFF
            yield ComputeCapability(number // 10, number % 10)
        at = data.find(b"\x7fELF", at + 4)


def _cache_trouble(folder: Path, environ: Mapping[str, str]) -> str:
    """Why the driver cannot keep what it compiles; empty if it can."""
    if environ.get("CUDA_CACHE_DISABLE", "0") not in ("", "0"):
        return "CUDA_CACHE_DISABLE=" + environ["CUDA_CACHE_DISABLE"]
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))
    return "" if access(nearest, W_OK) else str(nearest)


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return [place for place in sorted(folder.iterdir()) if place.is_dir()][:_MOST_ENTRIES]
    return []


def _files(folder: Path) -> list[Path]:
    with suppress(OSError):
        return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "index"][:_MOST_ENTRIES]
    return []


# --- libraries in the way --------------------------------------------------------------------------------------------


def find_shadows(env: Environment, environ: Mapping[str, str]) -> Iterator[Shadow]:
    """Libraries in the folders of LD_LIBRARY_PATH that are called like one of the environment's own CUDA libraries."""
    own = {lib.name: d.version for d in env.distributions if d.name.startswith("nvidia-") for lib in d.libraries}
    seen: set[str] = set()
    for folder in _library_path(environ):
        if folder.resolve().is_relative_to(env.root.resolve()):
            continue
        for name in sorted(own.keys() - seen):
            path = folder / name
            if path.is_file():
                seen.add(name)  # the first folder wins, for the loader too
                yield Shadow(name, path, _version_of(path), own[name])


def _library_path(environ: Mapping[str, str]) -> list[Path]:
    return [Path(part) for part in environ.get("LD_LIBRARY_PATH", "").split(":") if part]


def _version_of(path: Path) -> str:
    """12.1.105 of libnvJitLink.so.12 -> libnvJitLink.so.12.1.105; empty if its name does not tell."""
    match = re.search(r"\.so\.(\d+(?:\.\d+)+)$", path.resolve().name)
    return match[1] if match else ""


def find_libcuda(environ: Mapping[str, str]) -> Path | None:
    """The driver library that a program would load here: LD_LIBRARY_PATH first, then the loader's own list."""
    named = next((place for folder in _library_path(environ) if (place := folder / "libcuda.so.1").exists()), None)
    found = named or _from_ldconfig()
    return found.resolve() if found else None


def _from_ldconfig() -> Path | None:
    for program in ("ldconfig", "/sbin/ldconfig"):
        with suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                [program, "-p"], capture_output=True, text=True, timeout=_LDCONFIG_SECONDS, check=False
            )
            found = [line.rpartition("=> ")[2] for line in done.stdout.splitlines() if "libcuda.so.1 " in line]
            wide = [path for path in found if "i386" not in path and "/lib32/" not in path]
            if wide:
                return Path(wide[0])
    return None
