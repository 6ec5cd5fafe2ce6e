"""The machine under the training: which processes, which device, whether it really computes, and what to write down of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from bev_ops.dispatch import active
from lss_swin.config import PACKAGE
from nuscenes_bev.errors import UsageError

_DOCTOR_SECONDS = 120


class GpuError(Exception):
    """The GPU that was asked for cannot be used."""


@dataclass(frozen=True)
class Group:
    """The processes that train together."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0


ALONE = Group()


@contextmanager
def join_group(device_type: str) -> Iterator[Group]:
    """The group that torchrun started, or this process alone."""
    if "RANK" not in os.environ:
        yield ALONE
        return
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def pick_device(gpu_ids: list[int] | None, wanted: str | None) -> torch.device:
    """The device of this process: `--device cpu`, or the GPU of its place in `--gpu-ids`.

    Raises:
        UsageError: more GPUs than processes, or a number below 0.
        GpuError: the GPU is not there, or runs no kernel of this PyTorch.
    """
    if wanted == "cpu":
        return torch.device("cpu")
    rank, world = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    ids = gpu_ids or list(range(world))
    if len(ids) != world:
        words = f"torchrun --nproc-per-node {len(ids)} {shlex.join(sys.argv)}"
        raise UsageError(f"{len(ids)} GPUs need one process each, and there is {world}; run: {words}")
    if ids[rank] < 0:
        raise UsageError(f"--gpu-ids {ids[rank]}: GPUs are numbered from 0")
    device = torch.device("cuda", ids[rank])
    reason = why_unusable(device)
    if reason:
        raise GpuError(f"GPU {ids[rank]} cannot be used: {reason}")
    torch.cuda.set_device(device)
    return device


def why_unusable(device: torch.device) -> str | None:
    """Run a kernel on the device and check its result; None if it is right."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} (CUDA {torch.version.cuda}) finds no GPU, or no driver that is new enough"
    if device.index is not None and device.index >= torch.cuda.device_count():
        return f"there are {torch.cuda.device_count()} GPUs, numbered from 0"
    try:
        total = float((torch.arange(1000, device=device, dtype=torch.float32) * 2 + 1).sum())
    except (RuntimeError, AssertionError) as exc:
        return str(exc).splitlines()[0]
    return None if total == 1_000_000.0 else f"a sum on it gave {total} and not 1000000"


def diagnosis() -> str:
    """What `archfit doctor` says about this environment, below the command, or how to ask it."""
    doctor = _doctor()
    advice = "to learn why, and to repair it: archfit doctor (in its repository: uv tool install . or ./run doctor)"
    if doctor is None:
        return advice
    command = [*doctor, "doctor", sys.executable]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_DOCTOR_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        return f"{advice}\n(it could not be run from here: {exc})"
    said = run.stdout.strip() or run.stderr.strip()
    return f"$ archfit doctor {sys.executable}\n{said}" if said else advice


def _doctor() -> list[str] | None:
    """The command of archfit, if it is here: on PATH, in this Python, or set up in the repository around this package."""
    if importlib.util.find_spec("archfit") and importlib.util.find_spec("cyclopts"):
        return [sys.executable, "-m", "archfit"]
    own = PACKAGE.parents[1] / ".venv" / "bin" / "archfit"
    found = filter(None, map(shutil.which, (os.environ.get("ARCHFIT_PROGRAM", "archfit"), "archfit", str(own))))
    return next(([program] for program in found), None)


def pick_precision(wanted: str, device: torch.device) -> torch.dtype:
    """bfloat16 or float32; "auto" takes bfloat16 where the hardware computes with it.

    Raises:
        UsageError: another word.
    """
    if wanted not in ("auto", "bf16", "fp32"):
        raise UsageError(f"precision {wanted!r} is not known; known: auto, bf16, fp32")
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bf16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float32
    asked = (getattr(torch.cpu, name, bool) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return torch.bfloat16 if any(question() for question in asked) else torch.float32


def describe(device: torch.device) -> dict[str, Any]:
    """What `summary.json` says of device, versions and operators."""
    chosen, gpu = active(), device if device.type == "cuda" else None
    return {
        "device": {
            "type": device.type,
            "name": torch.cuda.get_device_name(gpu) if gpu else platform.processor() or platform.machine(),
            "compute_capability": "{}.{}".format(*torch.cuda.get_device_capability(gpu)) if gpu else None,
        },
        "torch": {
            "version": torch.__version__,
            "cuda": torch.version.cuda,
            "arch_list": torch.cuda.get_arch_list() if torch.version.cuda else [],
        },
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "pillow": _version("pillow"),
            "triton": _version("triton"),
            "cudnn": torch.backends.cudnn.version() if torch.version.cuda else None,
            "platform": platform.platform(),
        },
        "splat": {"backend": chosen.name, "why": chosen.why, "error_vs_reference": chosen.error_vs_reference},
        "git_revision": git_revision(),
    }


def _version(package: str) -> str | None:
    """As its installer wrote it down: importing it could fail, as Triton 3.0 does where setuptools is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_revision() -> str | None:
    """Commit of the repository this package lies in, with "-dirty" if files differ from it; None outside a repository."""
    git = ["git", "-C", str(PACKAGE), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        run = subprocess.run(git, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None


def write_atomically(path: Path, data: bytes) -> None:
    """The file appears complete or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def as_json(value: Any) -> str:
    """JSON for people; numbers that it has no word for (NaN, infinity) become null."""
    without = json.loads(json.dumps(value), parse_constant=lambda word: None)
    return json.dumps(without, indent=2)


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that tensors took on a GPU; on a CPU the largest resident size, where the system tells."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
