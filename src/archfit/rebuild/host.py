"""What the machine must bring itself: a C++ compiler that nvcc takes, the headers of Python, memory. Tried, not guessed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from archfit.rebuild.records import BuildError

_GIB = 1 << 30
_TIMEOUT_S = 120
_KERNEL = """#include <cmath>
#include <vector>
#include <cuda_runtime.h>
__global__ void fill(float *values) { values[threadIdx.x] = 1.0f; }
void launch(float *values) { fill<<<1, 32>>>(values); }
"""
_UNSUPPORTED = re.compile(r"unsupported GNU version! gcc versions later than (\d+)")


def try_compiler(home: Path, standard: int, arch: str, folder: Path, environ: Mapping[str, str]) -> None:
    """Compile a kernel with the nvcc below `home` for `arch` (``sm_120``) and the machine's own compiler.

    Raises:
        BuildError: there is no C++ compiler, nvcc refuses it, or the kernel does not compile; carries what it said.
    """
    compiler = find_compiler(environ)
    source = folder / "try.cu"
    source.write_text(_KERNEL, "utf-8")
    command = [str(home / "bin/nvcc"), f"-std=c++{standard}", f"-arch={arch}", "-Xcompiler", "-fPIC"]
    command += [*(["-ccbin", compiler] if environ.get("CXX") else []), "-c", str(source), "-o", str(folder / "try.o")]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=dict(environ), timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError("rebuild-compiler-fails", compiler=command[0], cause=error) from error
    if done.returncode == 0:
        return
    said = (done.stderr or done.stdout).strip()
    if match := _UNSUPPORTED.search(said):
        raise BuildError("rebuild-host-too-new", compiler=compiler, newest=match[1])
    raise BuildError("rebuild-compiler-fails", compiler=command[0], cause=" ".join(said.split())[:400])


def find_compiler(environ: Mapping[str, str]) -> str:
    """The C++ compiler of this machine: CXX, else ``c++`` or ``g++``; raises BuildError where there is none."""
    wanted = (environ.get("CXX", "").split() or ["c++"])[0]
    compiler = shutil.which(wanted, path=environ.get("PATH")) or shutil.which("g++", path=environ.get("PATH"))
    if compiler is None:
        raise BuildError("rebuild-no-host-compiler", compiler=wanted)
    return compiler


def refuse_without_headers(include: Path, version: str) -> None:
    """Raise BuildError where ``Python.h`` is missing: distributions keep it in a package of its own."""
    if not (include / "Python.h").is_file():
        short = ".".join(version.split(".")[:2])
        raise BuildError("rebuild-no-python-headers", folder=include, version=short)


def count_jobs(gib_per_job: float, environ: Mapping[str, str]) -> int:
    """How many compilers may run at once: one per core, as many as the free memory holds; MAX_JOBS where it is set."""
    asked = environ.get("MAX_JOBS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    cores = len(os.sched_getaffinity(0))
    free = available_bytes()
    return max(1, min(cores, int(free / (gib_per_job * _GIB)) if free is not None else cores))


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that can be had without swapping, and that this container may still take; None where Linux does not say."""
    try:
        lines = (root / "proc/meminfo").read_text("ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        folder = root / "sys/fs/cgroup"
        try:
            left = int((folder / limit).read_text("ascii")) - int((folder / used).read_text("ascii"))
        except (OSError, ValueError):
            continue  # "max": no limit
        free = min(free, max(left, 0))
    return free
