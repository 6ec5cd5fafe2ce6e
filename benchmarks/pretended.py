"""Machines that are not here: what programs ask one about its GPUs, answered as if they were in it.

A stand-in for `nvidia-smi` and `lspci` on PATH, one for torch with the version, CUDA and list of GPUs of the real wheel, and
one for pip that only prints what it was asked to do.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

CARDS = {  # name as the driver prints it: compute capability, memory in MiB, PCI id (hwdata pci.ids)
    "NVIDIA GeForce RTX 5090": ("12.0", 32607, "2b85"),
    "NVIDIA GeForce RTX 4090": ("8.9", 24564, "2684"),
    "NVIDIA GeForce GTX 1080 Ti": ("6.1", 11264, "1b06"),
    "Tesla V100-SXM2-16GB": ("7.0", 16384, "1db1"),
    "Tesla T4": ("7.5", 15360, "1eb8"),
    "NVIDIA H200": ("9.0", 143771, "2335"),
    "NVIDIA B200": ("10.0", 183359, "2901"),
}
CUDA_OF_DRIVER = {535: "12.2", 550: "12.4", 570: "12.8", 580: "13.0"}
LISTS = {"2.4.1": ("12.1", "5.0 6.0 7.0 7.5 8.0 8.6 9.0"), "2.15.0": ("13.2", "7.5 8.0 8.6 9.0 10.0 12.0")}
OLD_STORY, NEW_STORY = "2.4.1", "2.15.0"


@dataclass(frozen=True, slots=True)
class Machine:
    """GPUs, driver and torch; `right` is what is true of it, by what the wheels hold and what NVIDIA says of drivers."""

    gpus: tuple[str, ...]
    driver: str
    torch: str
    right: str

    @property
    def name(self) -> str:
        short = " + ".join(re.sub(r"NVIDIA |GeForce |Tesla |-SXM.*", "", gpu) for gpu in self.gpus)
        return f"{short}, driver {self.driver}, torch {self.torch}"


MACHINES = (
    Machine(
        ("NVIDIA GeForce RTX 5090",),
        "550.54.14",
        OLD_STORY,
        "no code for 12.0, and the driver is too old: 570.86.16",
    ),
    Machine(
        ("NVIDIA GeForce RTX 5090",), "570.86.16", OLD_STORY, "no code for 12.0: CUDA 12.8 or 12.9; 13 does not load"
    ),
    Machine(("NVIDIA GeForce RTX 5090",), "580.65.06", OLD_STORY, "no code for 12.0: CUDA 12.8 or newer"),
    Machine(("NVIDIA GeForce RTX 4090",), "550.54.14", OLD_STORY, "works: 8.9 runs 8.6 code"),
    Machine(("NVIDIA GeForce GTX 1080 Ti",), "580.142", NEW_STORY, "no code for 6.1: CUDA 12.6, never 13"),
    Machine(("NVIDIA GeForce GTX 1080 Ti",), "535.183.01", OLD_STORY, "works: 6.1 runs 6.0 code"),
    Machine(
        ("Tesla V100-SXM2-16GB",),
        "580.65.06",
        NEW_STORY,
        "no code for 7.0: CUDA 12.6, or 12.8 to torch 2.10; never 13",
    ),
    Machine(("Tesla T4",), "535.183.01", OLD_STORY, "works"),
    Machine(("NVIDIA H200",), "550.54.14", OLD_STORY, "works"),
    Machine(("NVIDIA B200",), "570.133.20", OLD_STORY, "no code for 10.0: CUDA 12.8 or 12.9; 13 does not load"),
    Machine(
        ("Tesla V100-SXM2-16GB", "NVIDIA GeForce RTX 5090"),
        "580.65.06",
        OLD_STORY,
        "no code for 12.0: CUDA 12.8, 2.8 to 2.10",
    ),
)


def pretend(place: Path, machine: Machine) -> None:
    """Lay out in `place` what programs ask a machine: bin/ for PATH, site/ (torch) and pip/ for PYTHONPATH."""
    (place / "bin").mkdir(parents=True, exist_ok=True)
    cards = [(name, *CARDS[name]) for name in machine.gpus]
    cuda = CUDA_OF_DRIVER[int(machine.driver.split(".")[0])]
    facts = {"driver": machine.driver, "cuda": cuda, "cards": cards}
    smi = f"#!{sys.executable}\nimport sys\nfacts = {facts!r}\n{_SMI}"
    lspci = "".join(
        f"0{i}:00.0 VGA compatible controller [0300]: NVIDIA Corporation [{name}] [10de:{pci}] (rev a1)\n"
        for i, (name, _, _, pci) in enumerate(cards, 1)
    )
    _script(place / "bin/nvidia-smi", smi)
    _script(place / "bin/lspci", f"#!/bin/sh\ncat <<'END'\n{lspci}END\n")
    built_for, targets = LISTS[machine.torch]
    listed = [f"sm_{target.replace('.', '')}" for target in targets.split()]
    capabilities = [tuple(map(int, capability.split("."))) for _, capability, _, _ in cards]
    module = _TORCH.format(
        version=f"{machine.torch}+cu{built_for.replace('.', '')}",
        cuda=built_for,
        listed=listed,
        names=list(machine.gpus),
        capabilities=capabilities,
        memory=[megabytes for _, _, megabytes, _ in cards],
    )
    (place / "site/torch").mkdir(parents=True, exist_ok=True)
    (place / "site/torch/__init__.py").write_text(module)
    (place / "pip/pip").mkdir(parents=True, exist_ok=True)
    (place / "pip/pip/__main__.py").write_text("import sys\nprint('pip', *sys.argv[1:])\n")
    info = place / f"site/torch-{machine.torch}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {machine.torch}\n")


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


_SMI = """
fields = {"driver_version": lambda c, i: facts["driver"], "name": lambda c, i: c[0], "gpu_name": lambda c, i: c[0],
          "compute_cap": lambda c, i: c[1], "memory.total": lambda c, i: f"{c[2]} MiB",
          "memory.free": lambda c, i: f"{c[2]} MiB", "index": lambda c, i: str(i),
          "count": lambda c, i: str(len(facts["cards"])), "memory.used": lambda c, i: "0 MiB",
          "uuid": lambda c, i: f"GPU-{i}", "pci.device_id": lambda c, i: f"0x{c[3].upper()}10DE"}
query = next((a.partition("=")[2] for a in sys.argv[1:] if a.startswith("--query-gpu")), None)
if query:
    names = query.split(",")
    form = next((a for a in sys.argv[1:] if a.startswith("--format")), "--format=csv")
    if "noheader" not in form:
        print(", ".join(names))
    for i, card in enumerate(facts["cards"]):
        row = [fields.get(n.strip(), lambda c, i: "[N/A]")(card, i) for n in names]
        print(", ".join(cell.replace(" MiB", "") if "nounits" in form else cell for cell in row))
elif "-L" in sys.argv:
    for i, card in enumerate(facts["cards"]):
        print(f"GPU {i}: {card[0]} (UUID: GPU-{i})")
else:
    print(f"| NVIDIA-SMI {facts['driver']}    Driver Version: {facts['driver']}    CUDA Version: {facts['cuda']} |")
    for i, card in enumerate(facts["cards"]):
        print(f"|   {i}  {card[0]}   Off |   0MiB / {card[2]}MiB |")
"""

_TORCH = """
import types
__version__ = {version!r}
version = types.SimpleNamespace(cuda={cuda!r}, hip=None, git_version="-")
_names, _capabilities, _memory = {names!r}, {capabilities!r}, {memory!r}
cuda = types.SimpleNamespace(
    is_available=lambda: True, device_count=lambda: len(_names), get_arch_list=lambda: {listed!r},
    get_device_name=lambda i=0: _names[i], get_device_capability=lambda i=0: _capabilities[i],
)
cuda.get_device_properties = lambda i=0: types.SimpleNamespace(name=_names[i], total_memory=_memory[i] << 20)


def device(name):
    return name


def _launch(name):
    # as torch does: no kernel runs without machine code of the GPU's own generation; "cuda" is the first GPU
    major, minor = _capabilities[int((str(name) + ":0").split(":")[1])]
    built = [divmod(int(target[3:]), 10) for target in {listed!r}]
    if not any(had == major and least <= minor for had, least in built):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")


class tensor:
    def __init__(self, values, device="cpu"):
        self.values, self.device = values, device  # a copy to the GPU needs no kernel

    def __add__(self, other):
        _launch(self.device)
        return tensor([a + b for a, b in zip(self.values, other.values)], self.device)

    def tolist(self):
        return self.values


def randn(*size, device="cpu"):
    _launch(device)


backends = types.SimpleNamespace(cudnn=types.SimpleNamespace(version=lambda: 90100, is_available=lambda: True))
"""
