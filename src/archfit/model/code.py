"""GPU code in files, and what it can do on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict
from archfit.model.facts import Text

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
