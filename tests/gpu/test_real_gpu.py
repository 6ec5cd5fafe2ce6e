"""What archfit says of a machine with an NVIDIA GPU, against the driver's own tool and against a kernel that ran.

Run on such a machine: python -m pytest -m gpu tests/gpu -rs. The environment judged is the one that pytest runs in; the tests
that need torch there skip where it is not installed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from archfit import api
from archfit.model import Gpu, Known, Status
from archfit.probe.gpus import Machine, query_machine, query_nvml, query_smi

pytestmark = pytest.mark.gpu

KERNEL = """
import torch
x = torch.arange(1000, device="cuda", dtype=torch.float32)
print(float((x * 2 + 1).sum().item()))
"""


@pytest.fixture(scope="module")
def nvml() -> Machine:
    found = query_nvml()
    if isinstance(found, str):
        pytest.skip(f"no NVIDIA GPU here: {found}")
    return found


@pytest.fixture
def torch_here() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed beside pytest")


def test_nvml_and_nvidia_smi_agree(nvml: Machine) -> None:
    smi = query_smi()

    assert isinstance(smi, Machine)
    assert names(smi) == names(nvml)
    assert isinstance(smi.driver, Known)
    assert isinstance(nvml.driver, Known)
    assert smi.driver.value.release == nvml.driver.value.release


def names(machine: Machine) -> list[tuple[str, str]]:
    assert isinstance(machine.gpus, Known)
    return [(gpu.name, str(gpu.capability)) for gpu in machine.gpus.value]


def test_the_machine_is_known_as_a_whole(nvml: Machine) -> None:
    machine = query_machine()

    assert isinstance(machine.gpus, Known)
    assert isinstance(machine.driver, Known)
    assert all(isinstance(gpu, Gpu) and not gpu.pretended for gpu in machine.gpus.value)
    assert machine.driver.value.cuda is not None


@pytest.mark.usefixtures("torch_here", "nvml")
def test_the_verdict_is_what_a_kernel_says() -> None:
    diagnosis = api.doctor(api.Wish(target=sys.executable))
    ran = subprocess.run([sys.executable, "-c", KERNEL], capture_output=True, text=True, check=False)

    no_code = {f.id for f in diagnosis.findings} & {"arch-missing-torch", "arch-dropped-torch"}
    if ran.returncode == 0:
        assert (float(ran.stdout), no_code, diagnosis.status) == (1000000.0, set(), Status.OK)
    else:
        assert "no kernel image" in ran.stderr
        assert no_code
