"""The frozen records that the rooms hand to each other.

Facts of the world that may be out of reach are `Known` or `Unknown`, never ``None``: an `Unknown` says why.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict
from archfit.errors import FormatError

T_co = TypeVar("T_co", covariant=True)

# --- knowing and not knowing -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known(Generic[T_co]):
    """A fact and where it was read."""

    value: T_co
    source: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that could not be had, why, and which ways were tried."""

    reason: str
    tried: tuple[str, ...] = ()


Values = Mapping[str, "str | Text"]


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence to be: a key of the texts and what fills it, which may be another sentence."""

    key: str
    values: Values = field(default_factory=dict)

    @classmethod
    def why(cls, error: FormatError | OSError) -> Text:
        """Why a file could not be read."""
        if isinstance(error, FormatError):
            return cls(error.key, {name: str(value) for name, value in error.values.items()})
        return cls("plain", {"text": error.strerror or str(error)})


# --- GPU code --------------------------------------------------------------------------------------------------------

CodeKind = Literal["sass", "ptx", "lto", "tile", "index", "unknown"]
FileFormat = Literal["elf", "pe", "cubin", "ptx", "fatbin", "archive", "script"]


@dataclass(frozen=True, slots=True)
class CodeObject:
    """One entry of a fatbin.

    `target` is set for SASS and PTX, and for link-time code of one architecture; `isa` is the PTX ISA version, such as
    ``8.7``. `has_kernels` is False for a cubin too small to hold a kernel. `number` is the kind as the file spells it.
    """

    kind: CodeKind
    target: Target | None
    isa: str | None
    compression: str | None
    has_kernels: bool
    debug: bool = False
    obfuscated: bool = False
    number: int = 0

    @property
    def launchable(self) -> bool:
        """True for code that a driver can load: link-time code, tables and unknown kinds are not."""
        return self.kind in ("sass", "ptx")


@dataclass(frozen=True, slots=True)
class Container:
    """`count` fatbin containers of one library that hold the same code objects.

    `registered` containers are loaded by the CUDA runtime at start; the others are picked by the library's own code.
    A `linked` one is the image that the library's `relocatable` ones were linked to; only where nothing in it fits the GPU
    does the runtime link those again, from their PTX (seen on a GPU: docs/measurements.md).
    """

    objects: tuple[CodeObject, ...]
    registered: bool
    count: int
    section: str = ".nv_fatbin"
    linked: bool = False

    @property
    def relocatable(self) -> bool:
        """True for the parts of device-linked code."""
        return self.section.startswith("__nv_rel")


@dataclass(frozen=True, slots=True)
class Library:
    """A file with GPU code, mostly a shared object: `path` is relative to the folder its package is installed in.

    Of a package that is installed in place (``pip install -e``) it is absolute. `size_bytes` is the size of the file, `odd`
    says what was seen in it that no rule explains.
    """

    path: str
    size_bytes: int
    needed: tuple[str, ...]
    containers: tuple[Container, ...]
    format: FileFormat = "elf"
    odd: tuple[Text, ...] = ()

    @property
    def name(self) -> str:
        """The file name: ``libtorch_cuda.so``."""
        return self.path.rsplit("/", 1)[-1]


CompilerKind = Literal["ptxas", "nvrtc", "nvjitlink", "nvvm", "libdevice"]


@dataclass(frozen=True, slots=True)
class Compiler:
    """A compiler of GPU code that works at run time: `release` is its CUDA, `targets` what its bytes say it can target.

    `targets` is empty for ``libdevice``, whose code is for every GPU.
    """

    path: str
    kind: CompilerKind
    release: CudaVersion | None
    targets: tuple[Target, ...]

    @property
    def name(self) -> str:
        """The file name: ``ptxas-blackwell``."""
        return self.path.rsplit("/", 1)[-1]

    def knows(self, device: ComputeCapability) -> bool:
        """Can it compile for exactly this GPU?"""
        return self.kind == "libdevice" or any(t.capability.canonical == device.canonical for t in self.targets)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What one library can do on one GPU.

    `counts` has containers per verdict (native, compatible, jit, none); `ptx_isa` is the newest PTX ISA version that the
    driver must be able to compile, set when the verdict needs PTX.
    """

    verdict: Verdict
    counts: Mapping[Verdict, int]
    ptx_isa: str | None = None


SubjectKind = Literal["wheel", "library", "folder", "environment", "requirement"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What was scanned, and the code in it: one distribution for a wheel or file, one for each package of an environment.

    `name` is what was asked for, `file` what answered it (a wheel's name), `sha256` and `size_bytes` are its hash and size
    where it is one file; `cuda` is the release of torch in it. `unreadable` are files with the reason; `cached` is True for
    an answer that was kept.
    """

    name: str
    kind: SubjectKind
    distributions: tuple[Distribution, ...]
    unreadable: tuple[tuple[str, Text], ...] = ()
    file: str = ""
    sha256: str | None = None
    size_bytes: int | None = None
    cuda: CudaVersion | None = None
    cached: bool = False

    @property
    def libraries(self) -> tuple[Library, ...]:
        """All files in which GPU code was looked for."""
        return tuple(lib for d in self.distributions for lib in d.libraries)

    @property
    def compilers(self) -> tuple[Compiler, ...]:
        """All run-time compilers."""
        return tuple(c for d in self.distributions for c in d.compilers)


# --- the machine -----------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Driver:
    """The NVIDIA driver: `cuda` is the newest CUDA it knows, `open_module` the flavour of the kernel module."""

    release: DriverRelease
    cuda: CudaVersion | None
    open_module: bool | None
    source: str


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that is judged. `tag` is its wheel tag (``cp311``), `platform` is like ``linux_x86_64``.

    `purelib` is where it installs to, `site_dirs` are all folders it looks in, `libc` is like ``glibc 2.36``.
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
class Surroundings:
    """What lies around an environment and can spoil it.

    `variables` are the ones that CUDA, torch and the loader read; `libcuda` is the driver library that a program would load,
    with its links followed; `compute_cache` says whether the driver can keep what it compiles: empty, or why not.
    """

    variables: Mapping[str, str]
    gpu_states: tuple[GpuState, ...] = ()
    caches: tuple[CacheEntry, ...] = ()
    shadows: tuple[Shadow, ...] = ()
    libcuda: Path | None = None
    compute_cache: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """Everything that was observed; the checks look at nothing else.

    `root` and `python` are the target, `chosen` why it was taken (a key of the texts), `unreadable` are files with the
    reason, `interrupted` is the id of a change that was cut off half-way.
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
    interrupted: str | None = None
    surroundings: Known[Surroundings] | Unknown = Unknown("not looked at")

    @property
    def gpu_states(self) -> tuple[GpuState, ...]:
        """What the GPUs of this machine are doing; empty where that is not known."""
        return self.surroundings.value.gpu_states if isinstance(self.surroundings, Known) else ()

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
        """The command that gets out of here: only virtual environments are changed, for the rest there are commands."""
        fixed = isinstance(self.interpreter, Known) and not self.interpreter.value.is_virtual
        return self.command("plan" if fixed else "upgrade")

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


# --- answers ---------------------------------------------------------------------------------------------------------


class Severity(StrEnum):
    """How bad a finding is, worst first."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class State(StrEnum):
    """How a check ended; none is ever lost."""

    PASSED = "passed"
    FOUND = "found"
    UNDECIDED = "undecided"
    CRASHED = "crashed"
    NOT_APPLICABLE = "not-applicable"


class Status(StrEnum):
    """The answer as a whole."""

    OK = "ok"
    PROBLEMS = "problems"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Fact:
    """One piece of evidence: what was read, and where."""

    source: str
    text: Text


@dataclass(frozen=True, slots=True)
class Finding:
    """A state of the environment.

    `id` is permanent; the words for it live in the texts and are filled with `values`. `fix` is a command to run now.
    """

    id: str
    severity: Severity
    subject: str
    values: Values
    evidence: tuple[Fact, ...] = ()
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one check; `reason` says why it passed, could not decide or did not apply."""

    check: str
    state: State
    findings: tuple[Finding, ...] = ()
    reason: Text | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All outcomes over one environment; `primary` is the finding to solve first."""

    environment: Environment
    outcomes: tuple[Outcome, ...]
    findings: tuple[Finding, ...]
    primary: Finding | None
    status: Status


# --- ways out --------------------------------------------------------------------------------------------------------

OptionKind = Literal["upgrade", "nightly", "rebuild", "source-build", "driver", "cpu", "none"]


@dataclass(frozen=True, slots=True)
class Step:
    """One change. `unsafe` is the default: a step must earn the word safe."""

    action: Literal["install", "rebuild", "driver", "build", "run"]
    package: str
    current: str | None
    wanted: str | None
    index: str | None
    why: tuple[Text, ...]
    unsafe: bool = True


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """The torch that an option ends with."""

    version: str
    cuda: str | None
    index: str


@dataclass(frozen=True, slots=True)
class Requires:
    """What an option needs: the oldest driver, the Python, room on the disk, bytes to load (None: not known)."""

    driver: DriverRelease | None = None
    python: str | None = None
    disk_bytes: int | None = None
    download_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One way out."""

    kind: OptionKind
    summary: Text
    steps: tuple[Step, ...] = ()
    torch: TorchBuild | None = None
    requires: Requires = Requires()
    risks: tuple[Text, ...] = ()
    pip: tuple[str, ...] = ()
    uv: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """A way that looks like one and is none, with the reason."""

    option: Text
    why: Text


@dataclass(frozen=True, slots=True)
class Unsolved:
    """What no option solves, and the command that would, where there is one to run by hand."""

    text: Text
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Every way out, best first; what no option solves; what was rejected."""

    environment: Environment
    options: tuple[Option, ...]
    unsolved: tuple[Unsolved, ...]
    rejected: tuple[Rejected, ...]


# --- proof -----------------------------------------------------------------------------------------------------------


class Proof(StrEnum):
    """How a probe of `verify` ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measurement: `seconds` of wall time; `reason` or `finding` says why it ended as it did.

    `package` is the distribution that the probe is about, where it is about one.
    """

    probe: str
    status: Proof
    measured: str = ""
    expected: str = ""
    tolerance: str = ""
    device: str = ""
    seconds: float = 0.0
    reason: Text | None = None
    finding: Finding | None = None
    package: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """All evidence of one run of `verify`."""

    level: str
    evidence: tuple[Evidence, ...]

    @property
    def passed(self) -> bool:
        """True if something was proven and nothing failed."""
        states = {e.status for e in self.evidence}
        return Proof.FAILED not in states and Proof.PASSED in states

    @property
    def reached(self) -> bool:
        """True if something was proven at the level that was asked for: kernels that no GPU ran prove nothing."""
        kinds = {"kernels": ("kernel:", "extension:", "plugin:"), "train": ("train:",)}.get(self.level, ("",))
        return any(e.status is Proof.PASSED and e.probe.startswith(kinds) for e in self.evidence)


# --- change ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One package of a resolution: `current` is what is installed now, `wheel_bytes` what would be loaded."""

    name: str
    current: str | None
    wanted: str
    wheel_bytes: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class StateRecord:
    """One state of the environment: `path` is where it stands now, None if it was removed; `live` if it is in place."""

    id: int
    label: str
    time: str
    why: str
    path: Path | None
    live: bool
    verified: str
    record: Path | None


@dataclass(frozen=True, slots=True)
class History:
    """The states of one environment, oldest first, and what was done, in order."""

    root: Path
    states: tuple[StateRecord, ...]
    entries: tuple[dict[str, Any], ...]

    @property
    def live(self) -> StateRecord | None:
        """The state in place."""
        return next((s for s in self.states if s.live), None)

    def previous(self) -> StateRecord | None:
        """The state that was live before this one."""
        switches = [e for e in self.entries if e["event"] == "done"]
        known = {s.id: s for s in self.states if s.path and not s.live}
        return next((known[e["from"]] for e in reversed(switches) if e["from"] in known), None)


# --- logs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Quote:
    """A line of a log: its number, from 1, and what it says."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Culprit:
    """The package and the library that a cause names; empty where nobody can tell."""

    package: str = ""
    library: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of what a log shows.

    `id` is the class, `confidence` between 0 and 1, `row` the signature that decided, `environment` False where neither GPU
    nor environment are at fault, `commands` what to run, `findings` what a look at the environment adds.
    """

    id: str
    confidence: float
    evidence: tuple[Quote, ...]
    culprit: Culprit
    commands: tuple[str, ...]
    environment: bool
    row: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class LogFacts:
    """What a log says about its machine; empty where it does not. `cleared` are packages that are not at fault."""

    gpu: str = ""
    capability: str = ""
    torch: str = ""
    cuda: str = ""
    cleared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """The causes of what a log shows, root first; never empty: what nobody knows is `other` with low confidence.

    `lines_total` counts the lines of the log, `paths` are folders of environments that it names, `joined` is the environment
    that was looked at beside it.
    """

    causes: tuple[Cause, ...]
    facts: LogFacts
    lines_total: int
    paths: tuple[str, ...] = ()
    joined: Path | None = None

    @property
    def first(self) -> Cause:
        """The cause to solve first."""
        return self.causes[0]
