"""Ways out beside another build of torch, and what all options share: steps and the commands that do the same by hand."""

from __future__ import annotations

import shlex
from typing import TypedDict

from archfit.arch import CudaVersion
from archfit.catalog import Toolkit
from archfit.model import Distribution, Known, Option, Requires, Step, Text, TorchBuild
from archfit.planner.situation import COMPANIONS, TORCH_INDEX, Situation

# R580 is the oldest branch that NVIDIA still supports, the last one for Maxwell, Pascal and Volta, and serves CUDA 13.
# Sources: catalog `gpus` (last_branch) and NVIDIA/gpu-operator PR 2620, read 2026-11-23.
_RECOMMENDED_BRANCH = 580


class Commands(TypedDict):
    """The same change by hand, with either installer."""

    pip: tuple[str, ...]
    uv: tuple[str, ...]


def nightly_option(situation: Situation, toolkit: Toolkit) -> Option:
    """The nightly build of the oldest CUDA that can serve every GPU; its contents are only known once installed."""
    variant = f"cu{toolkit.cuda.major}{toolkit.cuda.minor}"
    index = f"{TORCH_INDEX}/nightly/{variant}"
    names = ["torch", *situation.companions]
    floor = max(x for x in (toolkit.min_driver, situation.driver_floor) if x)
    why = (Text("nightly-why", {"cuda": str(toolkit.cuda)}),)
    return Option(
        kind="nightly",
        summary=Text("nightly", {"cuda": str(toolkit.cuda), "index": index}),
        steps=tuple(install_step(situation, name, None, index, why) for name in names),
        torch=TorchBuild("nightly", str(toolkit.cuda), index),
        requires=Requires(driver=floor),
        risks=(Text("risk-nightly"), *_pin_risks(situation)),
        **commands(situation, names, index, False, nightly=True),
    )


def source_option(situation: Situation, toolkit: Toolkit) -> Option:
    """Build torch from source with the oldest toolkit that can make code for every GPU."""
    arch_list = ";".join(str(c) for c in situation.capabilities)
    values = {"cuda": str(toolkit.cuda), "arch_list": arch_list}
    python = shlex.quote(str(situation.environment.python))
    clone = "git clone --recursive https://github.com/pytorch/pytorch && cd pytorch"
    floor = max(x for x in (toolkit.min_driver, situation.driver_floor) if x)
    return Option(
        kind="source-build",
        summary=Text("source-build", values),
        steps=(Step("build", "torch", _installed(situation, "torch"), None, None, (Text("source-why", values),)),),
        requires=Requires(driver=floor),
        risks=(Text("risk-source"),),
        pip=(clone, f'TORCH_CUDA_ARCH_LIST="{arch_list}" {python} -m pip install --no-build-isolation -v .'),
        uv=(clone, f'TORCH_CUDA_ARCH_LIST="{arch_list}" uv pip install --python {python} --no-build-isolation -v .'),
    )


def driver_option(situation: Situation, cuda: CudaVersion | None) -> Option:
    """The driver must change: it has to know every GPU, load `cuda`, and compile the PTX that is too new for it now."""
    loading = situation.catalog.min_driver_for_cuda(cuda) if cuda else None
    floor = max((d for d in (situation.driver_floor, loading, situation.ptx_driver) if d), default=None)
    ceiling = situation.driver_ceiling
    branch = max(floor.branch if floor else 0, _RECOMMENDED_BRANCH)
    branch = min(branch, ceiling) if ceiling else branch
    open_only = _open_only(situation)
    values = {
        "needed": str(floor or branch),
        "driver": str(situation.driver),
        "gpus": ", ".join(gpu.name for gpu in situation.gpus),
        "branch": str(branch),
        "ceiling": f"R{ceiling}" if ceiling else "-",
    }
    new_enough = situation.driver is not None and floor is not None and situation.driver >= floor
    module_only = "open-kernel-module-required" in situation.findings and new_enough
    summary = "driver-module" if module_only else "driver-window" if ceiling else "driver-first"
    why = (Text("driver-open" if open_only else "driver-any", values),)
    commands = _driver_commands(branch, open_only=open_only)
    return Option(
        kind="driver",
        summary=Text(summary, values),
        steps=(Step("driver", "nvidia-driver", str(situation.driver), str(floor or branch), None, why),),
        requires=Requires(driver=floor),
        risks=(Text("risk-driver"),),
        pip=commands,
        uv=commands,
    )


def _driver_commands(branch: int, *, open_only: bool) -> tuple[str, ...]:
    """Package names from NVIDIA's driver installation guide and Ubuntu's archive, read 2026-11-23."""
    flavour = "-open" if open_only else ""
    fedora = "sudo dnf install nvidia-open" if open_only else "sudo dnf install cuda-drivers"
    return (
        f"sudo apt install nvidia-driver-{branch}{flavour}   # Ubuntu",
        f"{fedora}   # Fedora, RHEL: NVIDIA's repository",
        "sudo reboot",
    )


def cpu_option() -> Option:
    """Work on the CPU meanwhile: nothing is changed."""
    command = 'CUDA_VISIBLE_DEVICES="" python your_script.py'
    return Option(
        kind="cpu",
        summary=Text("cpu"),
        steps=(Step("run", "-", None, None, None, (Text("cpu-why"),), unsafe=False),),
        risks=(Text("risk-cpu"),),
        pip=(command,),
        uv=(command,),
    )


def linked_to_torch(situation: Situation) -> list[Distribution]:
    """Packages compiled against the present torch; what belongs to no package, no installer can bring."""
    installed = (d for d in situation.environment.distributions if d.version and d.torch_extensions)
    return [d for d in installed if d.name not in ("torch", *COMPANIONS)]


def install_step(situation: Situation, name: str, version: str | None, index: str, why: tuple[Text, ...]) -> Step:
    """Install one package; no version means the newest."""
    return Step("install", name, _installed(situation, name), version, index, why)


def _installed(situation: Situation, name: str) -> str | None:
    found = situation.environment.distribution(name)
    return found.version if found else None


def _pin_risks(situation: Situation) -> list[Text]:
    linked = linked_to_torch(situation)
    return [Text("risk-linked", {"packages": ", ".join(str(d) for d in linked)})] if linked else []


def _open_only(situation: Situation) -> bool:
    rows = (situation.catalog.generations.get(c) for c in situation.capabilities)
    return any(row.open_only for row in rows if row)


def installer(situation: Situation, *, uv: bool) -> str:
    """How pip or uv is called to install into the target."""
    python = _python(situation)
    return f"uv pip install --python {python}" if uv else f"{python} -m pip install"


def _python(situation: Situation) -> str:
    env = situation.environment
    return shlex.quote(str(env.interpreter.value.executable if isinstance(env.interpreter, Known) else env.python))


def commands(
    situation: Situation, specs: list[str], index: str | None, same: bool, *, nightly: bool = False
) -> Commands:
    """The same change by hand. `same`: the release stays and only the build changes, which installers skip by default."""
    tail = " ".join(specs) + (f" --index-url {index}" if index else "")
    pip_flags = ("--pre --upgrade " if nightly else "") + ("--force-reinstall " if same else "")
    uv_flags = ("--prerelease allow --upgrade " if nightly else "") + ("--reinstall-package torch " if same else "")
    bring_pip = () if situation.environment.distribution("pip") else (f"{_python(situation)} -m ensurepip --upgrade",)
    return {
        "pip": (*bring_pip, f"{installer(situation, uv=False)} {pip_flags}{tail}"),
        "uv": (f"{installer(situation, uv=True)} {uv_flags}{tail}",),
    }
