"""Ways out beside another build of torch, and what all options share: steps and the commands that do the same by hand."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TypedDict

from archfit.arch import CudaVersion
from archfit.catalog import Toolkit
from archfit.catalog.extensions import load_extensions
from archfit.catalog.source_builds import load_source_needs
from archfit.model import Distribution, Known, Option, Requires, SourceBuild, Step, Text, TorchBuild
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
    floor = max(x for x in (toolkit.floor.on(situation.platform), situation.driver_floor) if x)
    newest = situation.catalog.nightlies[-1]
    values = {
        "cuda": str(toolkit.cuda),
        "torch": newest.torch,
        "period": newest.period,
        "pin": f"{_python(situation)} -m pip freeze | grep ^torch",
        "back": situation.environment.command("rollback"),
    }
    why = (Text("nightly-why", values), Text("nightly-known", values))
    return Option(
        kind="nightly",
        summary=Text("nightly", {"cuda": str(toolkit.cuda), "index": index}),
        steps=tuple(install_step(situation, name, None, index, why) for name in names),
        torch=TorchBuild("nightly", str(toolkit.cuda), index),
        requires=Requires(driver=floor),
        risks=(Text("risk-nightly", values), *_pin_risks(situation)),
        **commands(situation, names, index, False, nightly=True),
    )


def source_option(situation: Situation, toolkit: Toolkit) -> Option:
    """Build torch from source with the oldest toolkit that can make code for every GPU: the newest release made with it."""
    needs = load_source_needs()
    build = SourceBuild(
        release=_newest_with(situation, toolkit.cuda.major),
        cuda=toolkit.cuda,
        arch_list=";".join(str(c) for c in situation.capabilities),
        python=target_python(situation),
        gcc_from=needs.gcc_from,
        gcc_below=load_extensions().gcc_below(toolkit.cuda) or 99,
        disk_gb=needs.disk_gb,
        job_gb=needs.job_gb,
    )
    values = {
        "cuda": str(toolkit.cuda),
        "arch_list": build.arch_list,
        "release": build.release,
        "minutes": needs.minutes,
        "hours": str(needs.longest_hours),
        "gcc_from": str(needs.gcc_from),
        "gcc_below": str(build.gcc_below),
        "disk": str(needs.disk_gb),
        "memory": str(needs.job_gb),
        "command": situation.environment.command("plan") + " --build-script build-torch.sh",
    }
    clone = f"git clone --depth 1 --branch v{build.release} https://github.com/pytorch/pytorch && cd pytorch"
    clone += " && git submodule update --init --recursive --depth 1"
    compile_ = f'USE_CUDA=1 BUILD_TEST=0 TORCH_CUDA_ARCH_LIST="{build.arch_list}"'
    floor = max(x for x in (toolkit.floor.on(situation.platform), situation.driver_floor) if x)
    why = (Text("source-why", values), Text("source-needs", values))
    pip, uv = installer(situation, uv=False), installer(situation, uv=True)
    return Option(
        kind="source-build",
        summary=Text("source-build", {"cuda": str(toolkit.cuda), "arch_list": build.arch_list}),
        steps=(Step("build", "torch", _installed(situation, "torch"), build.release, None, why),),
        requires=Requires(driver=floor, disk_bytes=needs.disk_gb * 1_000_000_000),
        risks=(Text("risk-source", values),),
        pip=(f"{clone} && {pip} -r requirements.txt", f"{compile_} {pip} --no-build-isolation -v ."),
        uv=(f"{clone} && {uv} -r requirements.txt", f"{compile_} {uv} --no-build-isolation -v ."),
        source=build,
    )


def _newest_with(situation: Situation, cuda_major: int) -> str:
    """The newest release of which there are builds with this CUDA major: its source is known to compile with it."""
    return next(b.torch for b in reversed(situation.catalog.builds) if b.cuda and b.cuda.major == cuda_major)


def driver_option(situation: Situation, cuda: CudaVersion | None) -> Option:
    """The driver must change: it has to know every GPU, load `cuda`, and compile the PTX that is too new for it now."""
    loading = situation.floor_of(cuda) if cuda else None
    floor = max((d for d in (situation.driver_floor, loading, situation.ptx_driver) if d), default=None)
    ceiling = situation.driver_ceiling
    branch = max(floor.branch if floor else 0, _RECOMMENDED_BRANCH)
    branch = min(branch, ceiling) if ceiling else branch
    open_only = _open_only(situation) and not situation.platform.startswith("win")
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
    why = (Text("driver-open" if open_only else "driver-until" if ceiling else "driver-any", values),)
    commands = _driver_commands(situation, branch, open_only=open_only)
    return Option(
        kind="driver",
        summary=Text(summary, values),
        steps=(Step("driver", "nvidia-driver", str(situation.driver), str(floor or branch), None, why),),
        requires=Requires(driver=floor),
        risks=(Text("risk-driver"),),
        pip=commands,
        uv=commands,
    )


def _driver_commands(situation: Situation, branch: int, *, open_only: bool) -> tuple[str, ...]:
    """Package names from NVIDIA's driver installation guide and Ubuntu's archive, read 2026-11-23; Windows has a page."""
    if situation.platform.startswith("win"):
        return (f"start https://www.nvidia.com/drivers   # R{branch}",)
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
        steps=(Step("run", "-", None, None, None, (Text("cpu-why"), Text("cpu-for")), unsafe=False),),
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


def target_python(situation: Situation) -> Path:
    """The interpreter of the target."""
    env = situation.environment
    return env.interpreter.value.executable if isinstance(env.interpreter, Known) else env.python


def _python(situation: Situation) -> str:
    return shlex.quote(str(target_python(situation)))


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
