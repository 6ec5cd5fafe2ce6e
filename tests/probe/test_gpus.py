"""GPUs and driver: what each source answers, the order in which they are asked, and what is kept when none answers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pynvml
import pytest

from archfit.arch import ComputeCapability, CudaVersion
from archfit.model import Driver, DriverRelease, Gpu, Known, Unknown
from archfit.probe import gpus as probe
from archfit.probe.gpus import Machine, parse_module, parse_smi, query_machine, query_nvml, query_smi, read_module

BLACKWELL = ComputeCapability(12, 0)
HOPPER = ComputeCapability(9, 0)


def driver(release: str, source: str, *, cuda: CudaVersion | None = None, open_module: bool | None = None) -> Driver:
    return Driver(DriverRelease.parse(release), cuda, open_module, source)


def from_smi(release: str, *gpus: tuple[str, ComputeCapability]) -> Machine:
    seen = tuple(Gpu(name, capability, "nvidia-smi") for name, capability in gpus)
    return Machine(Known(seen, "nvidia-smi"), Known(driver(release, "nvidia-smi"), "nvidia-smi"))


# --- nvidia-smi ------------------------------------------------------------------------------------------------------

RTX_5090 = ("NVIDIA GeForce RTX 5090", BLACKWELL)
H200 = ("NVIDIA H200", HOPPER)

SMI_ANSWERS = {
    "NVIDIA GeForce RTX 5090, 12.0, 570.86.16\n": from_smi("570.86.16", RTX_5090),
    "NVIDIA H200, 9.0, 610.43.02\nNVIDIA H200, 9.0, 610.43.02\n": from_smi("610.43.02", H200, H200),
    "NVIDIA H200, 9.0, 580.142\r\nNVIDIA GeForce RTX 5090, 12.0, 580.142\r\n": from_smi("580.142", H200, RTX_5090),
    "A card, with a comma, 7.5, 450.51\n": from_smi("450.51", ("A card, with a comma", ComputeCapability(7, 5))),
    "Warning: something\nNVIDIA H200, 9.0, 580.142\n": from_smi("580.142", H200),
    "": "nvidia-smi: lists no GPU",
    "No devices were found\n": "nvidia-smi: lists no GPU",
    "NVIDIA GeForce GTX 680, [N/A], 470.256.02\n": "nvidia-smi: unexpected answer [N/A]",
    "NVIDIA H200, 9.0, [Unknown Error]\n": "nvidia-smi: unexpected answer [Unknown Error]",
}


@pytest.mark.parametrize("text", SMI_ANSWERS)
def test_answers_of_nvidia_smi(text: str) -> None:
    assert parse_smi(text) == SMI_ANSWERS[text]


def smi_that(monkeypatch: pytest.MonkeyPatch, done: subprocess.CompletedProcess[str] | Exception) -> None:
    def answer(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        if isinstance(done, Exception):
            raise done
        return done

    monkeypatch.setattr(subprocess, "run", answer)


@pytest.mark.parametrize(
    ("done", "answer"),
    [
        (FileNotFoundError(2, "No such file or directory"), "nvidia-smi: No such file or directory"),
        (subprocess.TimeoutExpired("nvidia-smi", 20), "nvidia-smi: no answer"),
        (
            subprocess.CompletedProcess(
                (), 9, "NVIDIA-SMI has failed because it couldn't communicate.\nMake sure\n", ""
            ),
            "nvidia-smi: NVIDIA-SMI has failed because it couldn't communicate.",
        ),
        (subprocess.CompletedProcess((), 12, "", ""), "nvidia-smi: 12"),
        (subprocess.CompletedProcess((), 0, "NVIDIA H200, 9.0, 580.142\n", ""), from_smi("580.142", H200)),
    ],
    ids=["absent", "hangs", "fails", "silent", "answers"],
)
def test_how_nvidia_smi_ends(
    monkeypatch: pytest.MonkeyPatch, done: subprocess.CompletedProcess[str] | Exception, answer: Machine | str
) -> None:
    smi_that(monkeypatch, done)
    assert query_smi() == answer


# --- the kernel module -----------------------------------------------------------------------------------------------

GCC = "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n"
OPEN = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.16  Release Build  (dvs-builder@U16)\n{GCC}"
OPEN_ARM = f"NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  580.95.05  Release Build  (dvs)\n{GCC}"
CLOSED = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\n{GCC}"
SHORT = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.142  Thu Feb 22 01:44:30 UTC 2026\n{GCC}"

PAGES = {
    OPEN: Known(driver("570.86.16", "page", open_module=True), "page"),
    OPEN_ARM: Known(driver("580.95.05", "page", open_module=True), "page"),
    CLOSED: Known(driver("550.54.14", "page", open_module=False), "page"),
    SHORT: Known(driver("580.142", "page", open_module=False), "page"),
    "": Unknown("page: no driver version in it", ("page",)),
    GCC: Unknown("page: no driver version in it", ("page",)),
    "NVRM version: garbage\n": Unknown("page: no driver version in it", ("page",)),
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  ": Unknown("page: no driver version in it", ("page",)),
}


@pytest.mark.parametrize("text", PAGES)
def test_pages_of_the_kernel_module(text: str) -> None:
    assert parse_module(text, "page") == PAGES[text]


def test_a_page_that_is_not_there(tmp_path: Path) -> None:
    page = tmp_path / "version"
    assert read_module(page) == Unknown(f"{page}: No such file or directory", (str(page),))


def test_a_page_that_is_no_text(tmp_path: Path) -> None:
    page = tmp_path / "version"
    page.write_bytes(b"\xff\xfe" + OPEN.encode())
    assert read_module(page) == Known(driver("570.86.16", str(page), open_module=True), str(page))


# --- NVML ------------------------------------------------------------------------------------------------------------


class Nvml:
    """NVML as it answers on a machine with these GPUs; `broken` names the call that fails."""

    def __init__(
        self, gpus: list[tuple[str, tuple[int, int]]], release: str = "580.65.06", number: int = 13000
    ) -> None:
        self.gpus, self.release, self.number = gpus, release, number
        self.open = False

    def install(self, monkeypatch: pytest.MonkeyPatch, broken: str | None = None) -> None:
        calls: dict[str, Callable[..., object]] = {
            "nvmlInit": lambda: setattr(self, "open", True),
            "nvmlShutdown": lambda: setattr(self, "open", False),
            "nvmlDeviceGetCount": lambda: len(self.gpus),
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetName": lambda handle: self.gpus[handle][0],
            "nvmlDeviceGetCudaComputeCapability": lambda handle: self.gpus[handle][1],
            "nvmlSystemGetCudaDriverVersion_v2": lambda: self.number,
            "nvmlSystemGetDriverVersion": lambda: self.release,
        }
        for name, call in calls.items():
            monkeypatch.setattr(pynvml, name, fail if name == broken else call)


def fail(*_: object) -> None:
    raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)


def test_what_nvml_says(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = Nvml([("NVIDIA GeForce RTX 5090", (12, 0)), ("NVIDIA H200", (9, 0))], "570.86.16", 12080)
    nvml.install(monkeypatch)
    seen = (Gpu("NVIDIA GeForce RTX 5090", BLACKWELL, "nvml"), Gpu("NVIDIA H200", HOPPER, "nvml"))
    known = driver("570.86.16", "nvml", cuda=CudaVersion(12, 8))
    assert query_nvml() == Machine(Known(seen, "nvml"), Known(known, "nvml"))
    assert not nvml.open


def test_a_driver_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    Nvml([], "580.65.06").install(monkeypatch)
    known = driver("580.65.06", "nvml", cuda=CudaVersion(13, 0))
    assert query_nvml() == Machine(Known((), "nvml"), Known(known, "nvml"))


@pytest.mark.parametrize(
    "call",
    [
        "nvmlInit",
        "nvmlDeviceGetCount",
        "nvmlDeviceGetHandleByIndex",
        "nvmlDeviceGetName",
        "nvmlDeviceGetCudaComputeCapability",
        "nvmlSystemGetCudaDriverVersion_v2",
        "nvmlSystemGetDriverVersion",
    ],
)
def test_any_call_of_nvml_may_fail(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    Nvml([("NVIDIA H200", (9, 0))]).install(monkeypatch, broken=call)
    assert query_nvml() == "NVML: Unknown Error"


def test_nvml_may_fail_to_close(monkeypatch: pytest.MonkeyPatch) -> None:
    Nvml([("NVIDIA H200", (9, 0))]).install(monkeypatch, broken="nvmlShutdown")
    found = query_nvml()
    assert isinstance(found, Machine)
    assert found.gpus == Known((Gpu("NVIDIA H200", HOPPER, "nvml"),), "nvml")


def test_a_release_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    Nvml([("NVIDIA H200", (9, 0))], "experimental").install(monkeypatch)
    assert query_nvml() == "NVML: experimental"


# --- who is asked first ----------------------------------------------------------------------------------------------

FROM_NVML = Machine(
    Known((Gpu("NVIDIA H200", HOPPER, "nvml"),), "nvml"),
    Known(driver("570.86.16", "nvml", cuda=CudaVersion(12, 8)), "nvml"),
)
FROM_SMI = from_smi("570.86.16", H200)
NO_NVML, NO_SMI, NO_PAGE = "NVML: Shared Library Not Found", "nvidia-smi: No such file or directory", Unknown("no page")
OPEN_PAGE = Known(driver("570.86.16", "page", open_module=True), "page")
NOTHING = Unknown(f"{NO_NVML}; {NO_SMI}", ("NVML", "nvidia-smi", "/proc/driver/nvidia/version"))


def flavoured(machine: Machine) -> Machine:
    """The same machine once the module's page has said that it is open."""
    assert isinstance(machine.driver, Known)
    return Machine(machine.gpus, Known(replace(machine.driver.value, open_module=True), machine.driver.source))


@pytest.mark.parametrize(
    ("nvml", "smi", "page", "expected"),
    [
        (FROM_NVML, FROM_SMI, NO_PAGE, FROM_NVML),
        (FROM_NVML, FROM_SMI, OPEN_PAGE, flavoured(FROM_NVML)),
        (NO_NVML, FROM_SMI, NO_PAGE, FROM_SMI),
        (NO_NVML, FROM_SMI, OPEN_PAGE, flavoured(FROM_SMI)),
        (NO_NVML, NO_SMI, OPEN_PAGE, Machine(NOTHING, OPEN_PAGE)),
        (NO_NVML, NO_SMI, NO_PAGE, Machine(NOTHING, NOTHING)),
    ],
    ids=["nvml", "nvml+module", "smi", "smi+module", "module alone", "nothing"],
)
def test_nvml_then_smi_then_the_module(
    monkeypatch: pytest.MonkeyPatch,
    nvml: Machine | str,
    smi: Machine | str,
    page: Known[Driver] | Unknown,
    expected: Machine,
) -> None:
    monkeypatch.setattr(probe, "query_nvml", lambda: nvml)
    monkeypatch.setattr(probe, "query_smi", lambda: smi)
    monkeypatch.setattr(probe, "read_module", lambda _: page)
    assert query_machine() == expected


def test_nvidia_smi_is_not_asked_where_nvml_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "query_nvml", lambda: FROM_NVML)
    monkeypatch.setattr(probe, "query_smi", fail)
    monkeypatch.setattr(probe, "read_module", lambda _: NO_PAGE)
    assert query_machine() == FROM_NVML
