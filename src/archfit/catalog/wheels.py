"""Published wheels and the GPU code in them: measured by reading them, or documented where that is not possible.

A row keeps what a scan saw (`digest`), and `Wheel.verdict` judges that with the rules of `coverage`: the answer is the one
that ``archfit scan`` of the same file gives. ``tools/refresh_catalog.py`` makes ``wheels.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict
from archfit.catalog.digest import Row, unpack_compilers, unpack_libraries
from archfit.catalog.libraries import loading_of
from archfit.catalog.tables import load_json
from archfit.coverage import PackageCoverage, judge_subject
from archfit.model import Compiler, Distribution, Library, Subject

Confidence = Literal["measured", "documented", "inferred"]


class Code:
    """The libraries and run-time compilers of one wheel, unpacked when first looked at."""

    def __init__(self, libraries: Sequence[Row], compilers: Sequence[Row] = (), targets: Sequence[str] = ()) -> None:
        self._libraries, self._compilers, self._targets = libraries, compilers, targets
        self._judged: dict[ComputeCapability, PackageCoverage] = {}

    @cached_property
    def libraries(self) -> tuple[Library, ...]:
        """Those with GPU code."""
        return unpack_libraries(self._libraries, self._targets)

    @cached_property
    def compilers(self) -> tuple[Compiler, ...]:
        """Compilers of GPU code that work at run time, such as Triton's ``ptxas``."""
        return unpack_compilers(self._compilers, self._targets)

    def judge(self, package: str, cuda: CudaVersion | None, device: ComputeCapability) -> PackageCoverage:
        """What a scan of this wheel says for `device`."""
        if device not in self._judged:
            distribution = Distribution(package, "", libraries=self.libraries)
            subject = Subject(package, "wheel", (distribution,), cuda=cuda)
            self._judged[device] = judge_subject(subject, device, loading_of)
        return self._judged[device]


@dataclass(frozen=True, slots=True)
class Wheel:
    """One published wheel.

    Attributes:
        package: the normalised name.
        version: with the local part, if there is one.
        platform: ``linux_x86_64``, ``linux_aarch64`` or ``win_amd64``.
        python_tags: ``cp311`` …, all that this release offers on this platform; `file` is the one that was read.
        index: ``PyPI`` or the address of a package index.
        file: its name; for documented rows empty.
        sha256, size_bytes, uploaded: of `file`, as the index says; None for documented rows. `uploaded` is a date.
        requires: its requirements on torch, triton, numpy and CUDA packages; without those of extras.
        requires_python: as in its metadata, empty if it says nothing.
        cuda: the CUDA release it is made for, where the wheel says which; `cuda_major` is often known where this is not.
        glibc: the oldest glibc that its tag admits, such as ``2.28``; None off Linux.
        confidence: ``measured`` rows were read from the file, the others come from `source`.
        source: where the row comes from.
        read: the date of that.
    """

    package: str
    version: str
    platform: str
    python_tags: tuple[str, ...]
    index: str
    file: str
    sha256: str | None
    size_bytes: int | None
    uploaded: str | None
    requires: tuple[str, ...]
    requires_python: str
    cuda: CudaVersion | None
    cuda_major: int | None
    glibc: str | None
    confidence: Confidence
    source: str
    read: str
    code: Code = field(compare=False, repr=False)

    @property
    def on_pypi(self) -> bool:
        """True for what ``pip install package==version`` gives without an index option."""
        return self.index == "PyPI"

    @property
    def libraries(self) -> tuple[Library, ...]:
        """The files in it that hold GPU code."""
        return self.code.libraries

    @property
    def compilers(self) -> tuple[Compiler, ...]:
        """The run-time compilers in it."""
        return self.code.compilers

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets in it, for a sentence: a verdict comes from `verdict`."""
        found = {o.target for lib in self.libraries for c in lib.containers for o in c.objects if o.target}
        return tuple(sorted(found, key=lambda t: (t.kind == "ptx", t.capability, t.suffix)))

    def coverage(self, device: ComputeCapability) -> PackageCoverage:
        """What ``archfit scan`` of this wheel says for `device`, library by library."""
        return self.code.judge(self.package, self.cuda if self.package == "torch" else None, device)

    def verdict(self, device: ComputeCapability) -> Verdict:
        """native, compatible, jit, partial, none, or no-gpu-code."""
        return self.coverage(device).verdict

    def ptx_isa(self, device: ComputeCapability) -> str | None:
        """The newest PTX ISA version that a driver must be able to compile to serve `device`; None if SASS serves it."""
        coverage = self.coverage(device)
        found = (coverage.libraries[path].ptx_isa for path in coverage.decided_by)
        return max((isa for isa in found if isa), key=lambda isa: tuple(map(int, isa.split("."))), default=None)


def wheel_of(row: Mapping[str, Any], document: Mapping[str, Any]) -> Wheel:
    """A wheel from its row in ``wheels.json``, or in a file that the user's own measurements are kept in."""
    return Wheel(
        package=row["package"],
        version=row["version"],
        platform=row["platform"],
        python_tags=tuple(row["python_tags"]),
        index=row.get("index", "PyPI"),
        file=row["file"],
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        uploaded=row["uploaded"],
        requires=tuple(row.get("requires", ())),
        requires_python=row.get("requires_python", ""),
        cuda=CudaVersion.parse(row["cuda"]) if row.get("cuda") else None,
        cuda_major=row.get("cuda_major"),
        glibc=row.get("glibc"),
        confidence="measured",
        source=document["sources"][row["source"]],
        read=row["read"],
        code=Code(row["libraries"], row.get("compilers", ()), document["targets"]),
    )


def load_wheels() -> tuple[Wheel, ...]:
    """All wheels that were read, in the order of the file: by package, oldest release first."""
    table = load_json("wheels.json")
    return tuple(wheel_of(row, table) for row in table["wheels"])
