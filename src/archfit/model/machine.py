"""The machine and the environment: everything that was observed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Literal, Self

from archfit.arch import ComputeCapability, CudaVersion
from archfit.model.change import Interruption
from archfit.model.code import Compiler, Library
from archfit.model.facts import Known, Text, Unknown
from archfit.model.host import Host, Place


@dataclass(frozen=True, order=True, slots=True)
class DriverRelease:
    """The NVIDIA driver's own number, such as 580.65.06 (nvidia-smi: "Driver Version" or "KMD Version")."""

    parts: tuple[int, ...]
    text: str = field(compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``570.86.16``; raises ValueError for anything else."""
        text = text.strip()
        if not re.fullmatch(r"\d{2,4}(\.\d{1,4}){0,2}", text):
            raise ValueError(text)
        return cls(tuple(int(part) for part in text.split(".")), text)

    @property
    def branch(self) -> int:
        """The number in front: 570."""
        return self.parts[0]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this machine, or one that was asked for with ``--gpu``."""

    name: str
    capability: ComputeCapability
    source: str
    first_driver: DriverRelease | None = None

    @property
    def pretended(self) -> bool:
        """True if nobody has seen this GPU here."""
        return self.source.startswith("--gpu")

    @property
    def called(self) -> Text:
        """The name with both spellings of what it is: ``GeForce RTX 5090 (compute capability 12.0 = sm_120)``."""
        return Text("gpu-called", {"gpu": self.name, "capability": str(self.capability), "sm": self.capability.sm})


@dataclass(frozen=True, slots=True)
class Driver:
    """The NVIDIA driver: `cuda` is the newest CUDA it knows, `open_module` the flavour of the kernel module."""

    release: DriverRelease
    cuda: CudaVersion | None
    open_module: bool | None
    source: str


CONDA_BASE = ("envs", "pkgs", "condabin")
"""What only the prefix holds that conda itself lives in."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that is judged. `tag` is its wheel tag (``cp311``), `platform` is like ``linux_x86_64``.

    `purelib` is where it installs to, `site_dirs` are all folders it looks in, `libc` is like ``glibc 2.36``. `in_conda`: in
    an environment that conda made, and not in its base.
    """

    executable: Path
    prefix: Path
    version: str
    tag: str
    platform: str
    is_virtual: bool
    purelib: Path
    site_dirs: tuple[Path, ...]
    libc: str | None
    in_conda: bool = False

    @property
    def is_changeable(self) -> bool:
        """Is it an environment of its own, not a Python that others are built on?"""
        return self.is_virtual or self.in_conda


@dataclass(frozen=True, slots=True)
class Distribution:
    """An installed package: `requires` are its requirement strings, `import_names` its top-level modules.

    `probes` are its entry points ``archfit.probes``: name and ``module:function``.
    """

    name: str
    version: str
    requires: tuple[str, ...] = ()
    import_names: tuple[str, ...] = ()
    libraries: tuple[Library, ...] = ()
    compilers: tuple[Compiler, ...] = ()
    probes: tuple[tuple[str, str], ...] = ()

    @property
    def torch_extensions(self) -> tuple[Library, ...]:
        """Its libraries that load torch's own: compiled against one torch, broken by another."""
        return tuple(lib for lib in self.libraries if any(so.startswith(("libtorch", "libc10")) for so in lib.needed))

    @property
    def in_place(self) -> bool:
        """Is its code used from the folder in which somebody works on it (``pip install -e``)?"""
        return any(PurePath(lib.path).is_absolute() for lib in self.libraries)

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


@dataclass(frozen=True, slots=True)
class GpuState:
    """What a GPU is doing now: memory in bytes, how busy it is in percent, who is on it.

    `exclusive`: it admits one process; `mig`: it is cut into slices.
    """

    name: str
    free_bytes: int
    total_bytes: int
    busy_percent: int
    exclusive: bool
    mig: bool
    processes: tuple[str, ...] = ()


CacheKind = Literal["torch-extension", "triton", "compute"]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """Code that was compiled at run time and kept: by torch, by Triton, or by the driver.

    `library` is what was compiled, where it is a shared object; `targets` are capabilities of other forms. `trouble` says
    what the entry itself shows: ``locked``, ``other-torch``, ``older``; empty if nothing.
    """

    kind: CacheKind
    path: Path
    size_bytes: int
    count: int = 1
    library: Library | None = None
    targets: tuple[ComputeCapability, ...] = ()
    trouble: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Shadow:
    """A CUDA library in a folder of LD_LIBRARY_PATH that has the name of one in the environment."""

    name: str
    path: Path
    version: str
    own_version: str


@dataclass(frozen=True, slots=True)
class CondaPrefix:
    """What conda's records of a prefix say: all its `packages`; `owns` leads from the Python packages that are in place to
    conda's names of them.
    """

    packages: frozenset[str]
    owns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What lies around an environment and can spoil it.

    `variables` are the ones that CUDA, torch and the loader read; `libcuda` is the driver library that a program would load,
    with its links followed; `compute_cache` says whether the driver can keep what it compiles: empty, or why not; `host` is
    the machine, and `places` are the folders that it may share with others.
    """

    variables: Mapping[str, str]
    gpu_states: tuple[GpuState, ...] = ()
    caches: tuple[CacheEntry, ...] = ()
    shadows: tuple[Shadow, ...] = ()
    libcuda: Path | None = None
    compute_cache: str = ""
    host: Host | None = None
    places: tuple[Place, ...] = ()


_UNSEEN = Unknown("not looked at")


@dataclass(frozen=True, slots=True)
class Environment:
    """Everything that was observed; the checks look at nothing else.

    `root` and `python` are the target, `chosen` why it was taken (a key of the texts), `unreadable` are files with the
    reason, `interrupted` is a change that was cut off half-way, `conda` what conda knows of a prefix that it made,
    `pretended_platform` what was asked for with ``--platform``.
    """

    root: Path
    python: Path
    chosen: str
    interpreter: Known[Interpreter] | Unknown
    distributions: tuple[Distribution, ...]
    unreadable: tuple[tuple[str, Text], ...]
    torch_cuda: Known[CudaVersion] | Unknown
    gpus: Known[tuple[Gpu, ...]] | Unknown
    driver: Known[Driver] | Unknown
    interrupted: Interruption | None = None
    surroundings: Known[Surroundings] | Unknown = _UNSEEN
    conda: CondaPrefix | None = None
    pretended_platform: str | None = None

    @property
    def platform(self) -> str:
        """As its Python calls it, ``linux_x86_64``, or as was asked for; empty where nobody knows."""
        own = self.interpreter.value.platform if isinstance(self.interpreter, Known) else ""
        return self.pretended_platform or own

    @property
    def gpu_states(self) -> tuple[GpuState, ...]:
        """What the GPUs of this machine are doing; empty where that is not known."""
        return self.surroundings.value.gpu_states if isinstance(self.surroundings, Known) else ()

    @property
    def fingerprint(self) -> str:
        """What is installed, as one hash: sha256 over the lines ``name==version``, sorted, each with its line feed."""
        import hashlib  # loads OpenSSL, 3.6 MB, which who reads a file alone can do without

        lines = sorted(f"{d.name}=={d.version}\n" for d in self.distributions if d.version)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def distribution(self, name: str) -> Distribution | None:
        """The installed package of this normalised name."""
        return next((d for d in self.distributions if d.name == name), None)

    def command(self, verb: str) -> str:
        """``archfit upgrade /path --gpu 'RTX 5090'``: the verb for this target with what was pretended."""
        usual = self.python.parent == self.root / "bin" and self.python.name in ("python", "python3")
        words = ["archfit", verb, str(self.root if usual or not self.python.is_absolute() else self.python)]
        if verb == "rollback":  # what was pretended does not matter for going back
            return shlex.join(words)
        for gpu in self.devices:
            words += ["--gpu", gpu.name] if gpu.pretended else []
        if isinstance(self.driver, Known) and self.driver.value.source.startswith("--driver"):
            words += ["--driver", str(self.driver.value.release)]
        return shlex.join(words)

    @property
    def cure(self) -> str:
        """The command that gets out of here: environments of their own are changed.

        For the rest, and for a torch that conda installed, there are the commands of a plan.
        """
        fixed = isinstance(self.interpreter, Known) and not self.interpreter.value.is_changeable
        of_conda = self.conda is not None and "torch" in self.conda.owns
        return self.command("plan" if fixed or of_conda else "upgrade")

    def listed(self, gpu: Gpu) -> bool:
        """Does the driver itself list this GPU? Then it knows it, whatever a table of first drivers says."""
        return isinstance(self.driver, Known) and not gpu.pretended and gpu.source == self.driver.value.source

    def driver_knows(self, cuda: CudaVersion) -> bool:
        """Does the loaded libcuda say that it serves this CUDA? One of cuda-compat does, on an older driver release."""
        known = self.driver.value if isinstance(self.driver, Known) else None
        return known is not None and known.source == "nvml" and known.cuda is not None and known.cuda >= cuda

    @property
    def devices(self) -> tuple[Gpu, ...]:
        """One GPU per compute capability, oldest first; empty where none is known."""
        if isinstance(self.gpus, Unknown):
            return ()
        by_capability = {gpu.capability: gpu for gpu in reversed(self.gpus.value)}
        return tuple(by_capability[c] for c in sorted(by_capability))
