"""The build environment: a new virtual environment with the target's torch, tools, and a CUDA compiler laid out beside it."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from archfit.arch import CudaVersion
from archfit.catalog.recipes import Recipe
from archfit.rebuild.host import refuse_without_headers
from archfit.rebuild.records import BuildError, Ground
from archfit.rebuild.toolchain import Choice, lay_out
from archfit.uv import last_words, run_uv

_TIMEOUT_S = 300
_ASK = """import json, site, sys, sysconfig
import torch
print(json.dumps({
    "torch": torch.__version__, "cuda": torch.version.cuda, "sites": site.getsitepackages(),
    "torch_site": torch.__path__[0], "include": sysconfig.get_path("include"),
}))"""
# What would lead a build out of its environment, or to other GPUs than the ones that are meant.
_DROPPED = (
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "TORCH_CUDA_ARCH_LIST",
    "PIP_TARGET",
    "PIP_PREFIX",
)


@dataclass(frozen=True, slots=True)
class Workshop:
    """A place to build in: `folder` holds everything, `python` has torch, `cuda_home` is the toolkit."""

    folder: Path
    python: Path
    cuda_home: Path
    extra: Path

    def environ(self, base: Mapping[str, str], recipe: Recipe, arch_list: Sequence[str], jobs: int) -> dict[str, str]:
        """The variables of the build; those of the person that do not lead elsewhere stay."""
        sm_list = ";".join(arch.replace(".", "") for arch in arch_list)
        values = {"arch_list": ";".join(arch_list), "sm_list": sm_list, "jobs": str(jobs)}
        environ = {name: value for name, value in base.items() if name not in _DROPPED}
        for name, value in recipe.env.items():
            filled = value.format(**values)
            added = name.endswith("FLAGS") and base.get(name)
            environ[name] = f"{base[name]} {filled}" if added else filled
        scratch = self.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        return environ | {
            "CUDA_HOME": str(self.cuda_home),
            "PATH": os.pathsep.join(
                [str(self.python.parent), str(self.cuda_home / "bin"), base.get("PATH", os.defpath)]
            ),
            # searched after CUDA_HOME: a toolkit of the machine may lack what torch brings, such as cublas_v2.h
            "CPATH": _joined(self.extra / "include", base.get("CPATH")),
            "LIBRARY_PATH": _joined(self.extra / "lib", base.get("LIBRARY_PATH")),
            "TMPDIR": str(scratch),
            "PYTHONNOUSERSITE": "1",
            "PYTHONUNBUFFERED": "1",
        }


def _joined(path: Path, more: str | None) -> str:
    return os.pathsep.join([str(path), *([more] if more else [])])


def create_workshop(folder: Path, ground: Ground, recipe: Recipe, choice: Choice) -> Workshop:
    """Make a virtual environment with torch and the tools below `folder`, and lay out a toolkit.

    It holds what changes, linked from uv's cache where it can be; behind that it sees the packages of the environment, so
    that a setup script finds what will be there in the end, numpy for instance. Nothing is written into the environment.

    Raises:
        BuildError: something cannot be installed, torch does not start in it, or it is another one than was expected.
    """
    venv = folder / "venv"
    _uv(["venv", "--quiet", "--python", str(ground.interpreter.executable), str(venv)])
    python = venv / "bin/python"
    if ground.bring:
        ground.bring(python)
    _borrow(venv, ground.interpreter.site_dirs)
    _install(folder, python, [*recipe.requires, *choice.requirements], recipe.constraints)
    told = _ask(python)
    if _release(told["torch"]) != _release(ground.torch) or told["cuda"] != str(ground.cuda):
        found = f"torch {told['torch']}, CUDA {told['cuda'] or '-'}"
        raise BuildError("rebuild-other-torch", found=found, expected=f"torch {ground.torch}, CUDA {ground.cuda}")
    refuse_without_headers(Path(told["include"]), ground.interpreter.version)
    sites = [*map(Path, told["sites"]), Path(told["torch_site"]).parent]
    extra = folder / "cuda"
    lay_out(_roots(sites, ground.cuda), extra)
    return Workshop(folder, python, choice.toolkit.home if choice.toolkit else extra, extra)


def install_requirements(workshop: Workshop, source: Path, recipe: Recipe) -> None:
    """What ``pyproject.toml`` asks for to build, except torch and CUDA, which are there."""
    try:
        table = tomllib.loads((source / "pyproject.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return
    asked = table.get("build-system", {}).get("requires", [])
    wanted = [line for line in asked if not line.lower().startswith(("torch", "nvidia-", "triton"))]
    if wanted:
        _install(workshop.folder, workshop.python, wanted, recipe.constraints)


def _release(version: str) -> str:
    """The release without the build: an index may leave ``+cu130`` away that torch itself says."""
    return version.partition("+")[0]


def _roots(sites: Sequence[Path], cuda: CudaVersion) -> list[Path]:
    """The folders of NVIDIA's packages: one for all from CUDA 13 on, one for each before."""
    joint = [site / f"nvidia/cu{cuda.major}" for site in sites]
    single = [path for site in sites for path in sorted(site.glob("nvidia/*")) if (path / "include").is_dir()]
    return [root for root in dict.fromkeys([*joint, *single]) if root.is_dir()]


def _borrow(venv: Path, sites: Sequence[Path]) -> None:
    """Let the environment see the packages of another one behind its own."""
    site = next((venv / "lib").glob("python*/site-packages"))
    (site / "borrowed.pth").write_text("\n".join(map(str, sites)) + "\n", "utf-8")


def _ask(python: Path) -> dict[str, str]:
    done = subprocess.run([python, "-I", "-c", _ASK], check=False, capture_output=True, text=True, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        raise BuildError("rebuild-torch-fails", cause=(done.stderr.strip().splitlines() or ["-"])[-1])
    answer: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _install(folder: Path, python: Path, requirements: Sequence[str], constraints: Sequence[str]) -> None:
    if not requirements:
        return
    wishes, bounds = folder / "wishes.txt", folder / "bounds.txt"
    wishes.write_text("".join(f"{line}\n" for line in requirements), "utf-8")
    bounds.write_text("".join(f"{line}\n" for line in constraints), "utf-8")
    _uv(["pip", "install", "--quiet", "--python", str(python), "-r", str(wishes), "-c", str(bounds)])


def _uv(command: Sequence[str]) -> None:
    done = run_uv(command)
    if done.returncode != 0:
        raise BuildError("rebuild-environment", cause=last_words(done.stderr))
