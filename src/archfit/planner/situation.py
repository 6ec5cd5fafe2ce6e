"""What the planner needs to know, pulled out of a diagnosis once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from archfit.arch import ComputeCapability, CudaVersion, Verdict, is_tegra
from archfit.buildscript import BuildScript
from archfit.catalog import Build, Catalog
from archfit.catalog.recipes import toolchain_for
from archfit.errors import ObserveError
from archfit.model import Diagnosis, Distribution, DriverRelease, Environment, Finding, Gpu, Known
from archfit.requirements import Markers, markers_of

TORCH_INDEX = "https://download.pytorch.org/whl"
COMPANIONS = ("torchvision", "torchaudio")


@dataclass(frozen=True, slots=True)
class Situation:
    """One environment, the GPUs it must serve, and the limits that Python, platform, glibc and driver set.

    `findings` are the ids of the findings; `lacking` and `frameworks` are extensions of torch, and frameworks of their own,
    without code for one of the GPUs. `ptx_driver` is the oldest driver that compiles the PTX which a finding names as too
    new. `unserved` are GPUs for which the installed torch has no code. `python_tag` and `platform` are spelled as in the
    catalog: ``cp311``, ``linux_x86_64``; `markers` are what requirements ask about them.
    `toolkits` are the releases of the CUDA compilers on this machine; None where nobody looked. `builds` is what the sources
    of packages say of which the catalog has no row.
    """

    environment: Environment
    catalog: Catalog
    findings: frozenset[str]
    lacking: frozenset[str]
    frameworks: frozenset[str]
    gpus: tuple[Gpu, ...]
    driver: DriverRelease | None
    ptx_driver: DriverRelease | None
    python_tag: str
    platform: str
    glibc: tuple[int, ...] | None
    unserved: tuple[Gpu, ...] = ()
    markers: Markers = field(default_factory=dict)
    toolkits: tuple[CudaVersion, ...] | None = None
    builds: Mapping[str, BuildScript] = field(default_factory=dict)

    @property
    def capabilities(self) -> tuple[ComputeCapability, ...]:
        """The compute capabilities to serve, oldest first."""
        return tuple(gpu.capability for gpu in self.gpus)

    @property
    def torch(self) -> Distribution | None:
        """The installed torch."""
        return self.environment.distribution("torch")

    @property
    def torch_release(self) -> str | None:
        """The installed torch without local and pre-release parts: 2.4.1 of 2.4.1+cu124."""
        match = re.match(r"\d+\.\d+\.\d+", self.torch.version) if self.torch else None
        return match[0] if match else None

    @property
    def companions(self) -> tuple[str, ...]:
        """Which of torchvision and torchaudio are installed: they move with torch."""
        return tuple(name for name in COMPANIONS if self.environment.distribution(name))

    @property
    def driver_floor(self) -> DriverRelease | None:
        """The oldest driver that knows every GPU."""
        floors = [floor for gpu in self.gpus if (floor := self.catalog.first_driver_for(gpu, self.platform))]
        return max(floors, default=None)

    @property
    def driver_ceiling(self) -> int | None:
        """The last driver branch that still knows every GPU, where one is known."""
        rows = (self.catalog.generations.get(c) for c in self.capabilities)
        return min((row.last_branch for row in rows if row and row.last_branch), default=None)

    @property
    def modules_clash(self) -> bool:
        """True if one GPU is only driven by the open kernel modules of Linux and another only by the proprietary ones."""
        strangers = (gpu for gpu in self.gpus if not self.environment.listed(gpu))
        rows = [row for gpu in strangers if (row := self.catalog.generations.get(gpu.capability))]
        split = any(row.open_only for row in rows) and any(row.closed_only for row in rows)
        return split and self.platform.startswith("linux")

    @property
    def tegra(self) -> Gpu | None:
        """The GPU inside a Jetson, if there is one: its driver comes with JetPack, and so do most of its builds."""
        on_arm = self.platform == "linux_aarch64"
        return next((gpu for gpu in self.gpus if on_arm and is_tegra(gpu.capability)), None)

    @property
    def python(self) -> str:
        """The Python as people call it: 3.11."""
        return f"{self.python_tag[2:3]}.{self.python_tag[3:]}"

    @property
    def driver_unfit(self) -> bool:
        """True if the driver is known not to serve one of the GPUs, whatever torch is installed."""
        if self.driver is None:
            return False
        strangers = [gpu for gpu in self.gpus if not self.environment.listed(gpu)]
        floors = [floor for gpu in strangers if (floor := self.catalog.first_driver_for(gpu, self.platform))]
        rows = [row for gpu in strangers if (row := self.catalog.generations.get(gpu.capability))]
        too_old = any(self.driver < floor for floor in floors)
        branch = self.catalog.branch_of(self.driver)
        return too_old or any(row.last_branch is not None and branch > row.last_branch for row in rows)

    def driver_for(self, build: Build) -> DriverRelease | None:
        """The oldest driver that loads this build and knows every GPU."""
        floors = (self.driver_floor, self.floor_of(build.cuda) if build.cuda else None)
        return max((floor for floor in floors if floor), default=None)

    def floor_of(self, cuda: CudaVersion) -> DriverRelease | None:
        """The oldest driver of this platform that loads machine code of a CUDA release."""
        return self.catalog.min_driver_for_cuda(cuda, self.platform)

    def installable(self, build: Build) -> bool:
        """Is there a CUDA wheel of this build for this Python, platform and glibc?"""
        release = self.catalog.releases.get(build.torch)
        return (
            build.cuda is not None
            and build.platform == self.platform
            and self.python_tag in build.python_tags
            and (not release or not release.glibc or not self.glibc or self.glibc >= _numbers(release.glibc))
        )

    def serves(self, build: Build) -> bool:
        """Does this build hold machine code for every GPU?"""
        return all(self.has_code(build, gpu) for gpu in self.gpus)

    @staticmethod
    def has_code(build: Build, gpu: Gpu) -> bool:
        """Does it hold machine code for one GPU? PTX is no reason to choose a build: its libraries have none."""
        return build.verdict(gpu.capability) in (Verdict.NATIVE, Verdict.COMPATIBLE)

    def compiles(self, cuda: CudaVersion) -> bool:
        """Can a compiler for this CUDA be had that knows every GPU: from PyPI, or a toolkit of the machine?

        Yes where nobody looked at the machine.
        """
        if self.toolkits is None or (toolchain_for(cuda) and self._knows_all(cuda)):
            return True
        return any(t.major == cuda.major and self._knows_all(t) for t in self.toolkits)

    def _knows_all(self, cuda: CudaVersion) -> bool:
        row = self.catalog.toolkit(cuda)
        return row is None or all(self.catalog.can_target(row, c) for c in self.capabilities)

    def loads(self, build: Build) -> bool:
        """Is the driver new enough for this build? Yes where the driver is not known, or must be changed anyway."""
        if self.driver is None or self.driver_unfit or build.cuda is None:
            return True
        needed = self.floor_of(build.cuda)
        return needed is None or self.driver >= needed or self.environment.driver_knows(build.cuda)


def situation_of(
    diagnosis: Diagnosis,
    catalog: Catalog,
    python_tag: str | None,
    platform: str | None,
    toolkits: tuple[CudaVersion, ...] | None = None,
    builds: Mapping[str, BuildScript] | None = None,
) -> Situation:
    """Pull the facts together.

    Raises:
        ObserveError: no GPU is known, or the target's Python could not be asked and was not given.
    """
    env = diagnosis.environment
    if not env.devices:
        raise ObserveError("plan-needs-gpu")
    python = env.interpreter.value if isinstance(env.interpreter, Known) else None
    if python is None and (python_tag is None or platform is None):
        raise ObserveError("plan-needs-python", python=env.python)
    lacking = {str(f.values["sm"]) for f in diagnosis.findings if f.id in ("arch-missing-torch", "arch-dropped-torch")}
    tag = python_tag or (python.tag if python else "")
    where = platform or (python.platform if python else "")
    return Situation(
        environment=env,
        catalog=catalog,
        findings=frozenset(_scoped(f) for f in diagnosis.findings),
        lacking=_named(diagnosis, "arch-missing-extension"),
        frameworks=_named(diagnosis, "arch-missing-framework"),
        gpus=env.devices,
        driver=env.driver.value.release if isinstance(env.driver, Known) else None,
        ptx_driver=_ptx_driver(diagnosis),
        python_tag=tag,
        platform=where,
        glibc=parse_glibc(python.libc) if python and not platform else None,
        unserved=tuple(g for g in env.devices if g.capability.sm in lacking or env.distribution("torch") is None),
        markers=markers_of(env, tag, where),
        toolkits=toolkits,
        builds=builds or {},
    )


def _named(diagnosis: Diagnosis, finding_id: str) -> frozenset[str]:
    return frozenset(str(f.values["name"]) for f in diagnosis.findings if f.id == finding_id)


def _ptx_driver(diagnosis: Diagnosis) -> DriverRelease | None:
    named = [str(f.values["needed"]) for f in diagnosis.findings if f.id == "ptx-toolchain"]
    return max((DriverRelease.parse(text) for text in named), default=None)


def _scoped(finding: Finding) -> str:
    """The id; told apart where the same state is torch's own or that of a package beside it."""
    own = finding.id != "ptx-toolchain" or str(finding.values["package"]).startswith("torch ")
    return finding.id if own else f"{finding.id}-beside-torch"


def parse_glibc(text: str | None) -> tuple[int, ...] | None:
    """(2, 36) of ``glibc 2.36``; None for another C library, or none."""
    match = re.match(r"glibc (\d+\.\d+)", text or "")
    return _numbers(match[1]) if match else None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
