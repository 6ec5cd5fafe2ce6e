"""The same machines put to archfit and to the tools that already do part of its job; what each answers, word for word.

    python benchmarks/compare_doctors.py FOLDER

FOLDER gets one environment per tool (pinned releases from PyPI), a stand-in for `nvidia-smi` and `lspci` on PATH that
describes the machine, and a stand-in for torch with its version and its list of GPUs. The tools themselves are the released
ones. The table goes to stdout, and what each tool printed in full to FOLDER/answers.json.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from worlds import NEW, TORCH_2_4_1, Package, build_environment  # noqa: E402

UV, _ARCHFIT = ROOT / ".venv/bin/uv", ROOT / ".venv/bin/archfit"
PEERS = {"env-doctor": "0.3.5", "cuda-doctor": "0.2.0", "torchruntime": "2.24.0", "light-the-torch": "0.8.1"}
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


def main() -> None:
    """Ask everybody, print the table."""
    folder = Path(sys.argv[1]).resolve()
    for name, version in PEERS.items():
        if not (folder / name).exists():
            subprocess.run([UV, "venv", "--quiet", "--python", "3.11", folder / name], check=True)
            python = folder / name / "bin/python"
            subprocess.run([UV, "pip", "install", "--quiet", "--python", python, f"{name}=={version}"], check=True)
    uv = subprocess.run([UV, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    heads = (
        "machine",
        "what is true",
        "archfit",
        f"uv {uv} `--torch-backend=auto`",
        *(f"{n} {v}" for n, v in PEERS.items()),
    )
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    told = {}
    for number, machine in enumerate(MACHINES):
        place = folder / f"machine-{number}"
        pretend(place, machine)
        answers = {name: ask(folder, place, machine) for name, ask in TOOLS.items()}
        told[machine.name] = {name: full for name, (_, full) in answers.items()}
        print(
            "| " + " | ".join((machine.name, machine.right, *(short for short, _ in answers.values()))) + " |",
            flush=True,
        )
    (folder / "answers.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", "utf-8")


def pretend(place: Path, machine: Machine) -> None:
    """What programs ask a machine: nvidia-smi, lspci, and torch itself."""
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
    )
    (place / "site/torch").mkdir(parents=True, exist_ok=True)
    (place / "site/torch/__init__.py").write_text(module)
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
_names, _capabilities = {names!r}, {capabilities!r}
cuda = types.SimpleNamespace(
    is_available=lambda: True, device_count=lambda: len(_names), get_arch_list=lambda: {listed!r},
    get_device_name=lambda i=0: _names[i], get_device_capability=lambda i=0: _capabilities[i],
)
backends = types.SimpleNamespace(cudnn=types.SimpleNamespace(version=lambda: 90100, is_available=lambda: True))
"""


# --- one function per tool: a short answer for the table, and all that was said ---------------------------------------


def archfit(_: Path, place: Path, machine: Machine) -> tuple[str, str]:
    env = place / "env"
    if not env.exists():
        old = machine.torch == OLD_STORY
        text = "__version__ = '2.15.0'\ncuda: Optional[str] = '13.2'\nhip = None\n"
        texts = {"torch/__init__.py": "", "torch/version.py": text}
        new = Package("torch", "2.15.0", (), texts, {"torch/lib/libtorch_cuda.so": NEW}, "torch\n")
        build_environment(env, TORCH_2_4_1 if old else new)
    gpus = [word for gpu in machine.gpus for word in ("--gpu", CARDS[gpu][0])]
    command = [_ARCHFIT, "plan", env, *gpus, "--driver", machine.driver, "--offline", "--json"]
    said = _run(place, command)
    plan = json.loads(said)
    first = plan["options"][0]
    if first["kind"] == "none":
        return "nothing to do", said
    return first["summary"], said


def uv(_: Path, place: Path, machine: Machine) -> tuple[str, str]:
    (place / "in.txt").write_text("torch\n")
    settings = {
        "UV_CUDA_DRIVER_VERSION": machine.driver,
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(place / "uv-cache"),
    }
    command = [
        UV,
        "pip",
        "compile",
        "--torch-backend=auto",
        "--python-platform",
        "x86_64-manylinux_2_28",
        place / "in.txt",
    ]
    said = _run(place, command, **settings)
    tried = re.findall(r"download\.pytorch\.org/whl/(\w+)", said)
    return (f"index {tried[0]} first" if tried else said.strip().splitlines()[-1][:80]), said


def env_doctor(folder: Path, place: Path, _: Machine) -> tuple[str, str]:
    said = _run(place, [folder / "env-doctor/bin/env-doctor", "check"])
    advice = _run(place, [folder / "env-doctor/bin/env-doctor", "install", "torch"])
    verdict = re.search(r"ARCHITECTURE MISMATCH(?: \(\w+\))?|COMPATIBLE(?=:)", said)
    fix = re.search(r"whl/((?:nightly/)?\w+)", said)
    index = re.search(r"whl/((?:nightly/)?\w+)", advice)
    parts = [verdict[0] if verdict else "no verdict", f"fix: {fix[1]}" if fix else ""]
    return ", ".join([*filter(None, parts), f"`install torch`: {index[1] if index else '-'}"]), said + advice


def cuda_doctor(folder: Path, place: Path, _: Machine) -> tuple[str, str]:
    said = _run(place, [folder / "cuda-doctor/bin/cuda-doctor", "diagnose", "-f", "json"])
    told = json.loads(said[said.index("{") :])
    return told["summary"]["status"], said


def torchruntime(folder: Path, place: Path, _: Machine) -> tuple[str, str]:
    code = "from torchruntime.device_db import get_gpus; from torchruntime.platform_detection import get_torch_platform"
    code += "; print(get_torch_platform(get_gpus(), ['torch']))"
    said = _run(place, [folder / "torchruntime/bin/python", "-c", code])
    return said.strip().splitlines()[-1][:120] if said.strip() else "no answer", said


def light_the_torch(folder: Path, place: Path, _: Machine) -> tuple[str, str]:
    code = "from light_the_torch._cb import detect_compatible_computation_backends as d; print(*sorted(map(str, d())))"
    said = _run(place, [folder / "light-the-torch/bin/python", "-c", code])
    newest = max(re.findall(r"cu\d+", said), default="cpu", key=lambda name: int(name[2:]))
    return f"newest of its list: {newest}", said


TOOLS: dict[str, Callable[[Path, Path, Machine], tuple[str, str]]] = {
    "archfit": archfit,
    "uv": uv,
    "env-doctor": env_doctor,
    "cuda-doctor": cuda_doctor,
    "torchruntime": torchruntime,
    "light-the-torch": light_the_torch,
}


def _run(place: Path, command: list[str | Path], **settings: str) -> str:
    env = {
        **os.environ,
        "PATH": f"{place}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(place / "site"),
        "NO_COLOR": "1",
    }
    if "archfit" in str(command[0]) and "bin/archfit" in str(command[0]):
        env.pop("PYTHONPATH")
    done = subprocess.run(command, capture_output=True, text=True, env={**env, **settings}, timeout=300, check=False)
    return done.stdout + ("" if command[0] == _ARCHFIT else done.stderr)


if __name__ == "__main__":
    main()
