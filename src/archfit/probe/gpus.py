"""The GPUs and the driver of this machine: NVML, then nvidia-smi, then the kernel module's own page."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archfit.arch import ComputeCapability, CudaVersion
from archfit.model import Driver, DriverRelease, Gpu, GpuState, Known, Unknown

_PROC = Path("/proc/driver/nvidia/version")
_SMI_QUERY = ("nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")
_SMI_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What the driver says: GPUs and driver, each known or not."""

    gpus: Known[tuple[Gpu, ...]] | Unknown
    driver: Known[Driver] | Unknown


def query_machine() -> Machine:
    """Ask NVML, then ``nvidia-smi``; the kernel module's page completes both and answers alone for the driver."""
    module = read_module(_PROC)
    reasons: list[str] = []
    for query in (query_nvml, query_smi):
        found = query()
        if isinstance(found, Machine):
            return Machine(found.gpus, _with_module(found.driver, module))
        reasons.append(found)
    tried = ("NVML", "nvidia-smi", str(_PROC))
    nothing = Unknown("; ".join(reasons), tried)
    return Machine(nothing, module if isinstance(module, Known) else nothing)


def query_nvml() -> Machine | str:
    """GPUs and driver through NVML, the library that comes with the driver; or why not."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return f"NVML: {error}"
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        gpus = tuple(
            Gpu(
                str(pynvml.nvmlDeviceGetName(handle)),
                ComputeCapability(*pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
                "nvml",
            )
            for handle in handles
        )
        number = pynvml.nvmlSystemGetCudaDriverVersion_v2()
        cuda = CudaVersion(number // 1000, number % 1000 // 10)
        release = DriverRelease.parse(str(pynvml.nvmlSystemGetDriverVersion()))
    except (pynvml.NVMLError, ValueError) as error:
        return f"NVML: {error}"
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return Machine(Known(gpus, "nvml"), Known(Driver(release, cuda, None, "nvml"), "nvml"))


def query_states() -> tuple[GpuState, ...]:
    """What each GPU is doing, by NVML; empty where it cannot be asked."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_state(pynvml, pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _state(nvml: Any, handle: Any) -> GpuState:
    """One GPU; what its driver does not tell (a laptop, a virtual machine) counts as nothing unusual."""
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    busy, exclusive, mig, processes = 0, False, False, []
    with suppress(nvml.NVMLError):
        busy = int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    with suppress(nvml.NVMLError):
        exclusive = nvml.nvmlDeviceGetComputeMode(handle) == nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS
    with suppress(nvml.NVMLError):
        mig = bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    with suppress(nvml.NVMLError):
        processes = [_process(p.pid) for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    name = str(nvml.nvmlDeviceGetName(handle))
    return GpuState(name, int(memory.free), int(memory.total), busy, exclusive, mig, tuple(processes))


def _process(pid: int) -> str:
    with suppress(OSError):
        return f"{Path(f'/proc/{pid}/comm').read_text('utf-8', 'replace').strip()} ({pid})"
    return str(pid)


def query_smi() -> Machine | str:
    """The same from ``nvidia-smi``; or why not."""
    try:
        done = subprocess.run(_SMI_QUERY, capture_output=True, timeout=_SMI_SECONDS, text=True, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi: {getattr(error, 'strerror', None) or 'no answer'}"
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()
        return f"nvidia-smi: {said[0] if said else done.returncode}"
    return parse_smi(done.stdout)


# NVIDIA GeForce RTX 5090, 12.0, 570.86.16
def parse_smi(text: str) -> Machine | str:
    """Read the answer of ``--query-gpu=name,compute_cap,driver_version --format=csv,noheader``."""
    rows = [[cell.strip() for cell in line.rsplit(",", 2)] for line in text.splitlines() if line.count(",") >= 2]
    try:
        gpus = tuple(Gpu(name, ComputeCapability.parse(capability), "nvidia-smi") for name, capability, _ in rows)
        releases = [DriverRelease.parse(release) for _, _, release in rows]
    except ValueError as error:
        return f"nvidia-smi: unexpected answer {error}"
    if not releases:
        return "nvidia-smi: lists no GPU"
    driver = Driver(releases[0], None, None, "nvidia-smi")
    return Machine(Known(gpus, "nvidia-smi"), Known(driver, "nvidia-smi"))


def read_module(page: Path) -> Known[Driver] | Unknown:
    """The driver as the loaded kernel module reports it."""
    try:
        text = page.read_text("utf-8", "replace")
    except OSError as error:
        return Unknown(f"{page}: {error.strerror}", (str(page),))
    return parse_module(text, str(page))


# NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.16  Release Build  (dvs-builder@U16-...)
# NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024
def parse_module(text: str, source: str) -> Known[Driver] | Unknown:
    """Read the first line of ``/proc/driver/nvidia/version``; only the open flavour says that it is open."""
    match = re.search(r"NVRM version:.*?\s(\d{3,4}\.\d+(?:\.\d+)?)\s", text)
    if not match:
        return Unknown(f"{source}: no driver version in it", (source,))
    return Known(Driver(DriverRelease.parse(match[1]), None, "Open Kernel Module" in text, source), source)


def _with_module(driver: Known[Driver] | Unknown, module: Known[Driver] | Unknown) -> Known[Driver] | Unknown:
    """Join what the library says with the flavour of the kernel module, which only the module's page tells."""
    if isinstance(driver, Unknown):
        return module
    if isinstance(module, Unknown):
        return driver
    own = driver.value
    return Known(Driver(own.release, own.cuda, module.value.open_module, own.source), driver.source)
