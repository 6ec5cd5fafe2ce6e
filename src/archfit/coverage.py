"""From the containers of one library to a verdict for one GPU.

A union of targets is the wrong summary: one container with sm_120 does not make a library run on an RTX 5090, and a
library without sm_89 runs on an RTX 4090. Each container is judged, then the containers are weighed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from archfit.arch import ComputeCapability, CudaVersion, Verdict, judge_code
from archfit.model import CodeObject, Container, Coverage, Library

_BEST_FIRST = (Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT)


def judge_library(
    library: Library, device: ComputeCapability, *, dispatched: bool = False, toolkit: CudaVersion | None = None
) -> Coverage:
    """What can `library` do on `device`?

    Args:
        library: as read from the file.
        device: the GPU.
        dispatched: the library picks its kernels by GPU on purpose (cuBLASLt, cuDNN), so one fitting container is enough.
        toolkit: the CUDA release that compiled the code, if known; matters only for Tegra.
    """
    usable = [c for c in library.containers if _can_launch(c)]
    if not usable:
        return Coverage(Verdict.NO_GPU_CODE, {})
    judged = [(c, _judge_container(c, device, toolkit)) for c in usable]
    counts = Counter[Verdict]()
    for container, verdict in judged:
        counts[verdict] += container.count
    deciding = judged if dispatched else _required(judged)
    verdict = _best(v for _, v in deciding) if dispatched or deciding is judged else _weigh(deciding)
    return Coverage(verdict, dict(counts), _newest_isa(deciding, device) if verdict.runs else None)


def targets_of(library: Library) -> tuple[str, ...]:
    """The targets in this library, sorted by capability: for a sentence, never for a verdict."""
    targets = {o.target for c in library.containers if _can_launch(c) for o in c.objects if o.target}
    return tuple(str(t) for t in sorted(targets, key=lambda t: (t.kind == "ptx", t.capability, t.suffix)))


def base_targets_of(library: Library) -> tuple[str, ...]:
    """The targets that most containers share: what the library was built for, without targets of single kernels."""
    sets = Counter[tuple[str, ...]]()
    for container in library.containers:
        if container.registered and _can_launch(container):
            targets = {o.target for o in container.objects if o.target}
            key = tuple(str(t) for t in sorted(targets, key=lambda t: (t.kind == "ptx", t.capability, t.suffix)))
            sets[key] += container.count
    return sets.most_common(1)[0][0] if sets else targets_of(library)


def _can_launch(container: Container) -> bool:
    """False for stubs of source files without device code, and for link-time code, which is never launched itself."""
    cubins = [o for o in container.objects if o.kind == "sass"]
    if cubins:
        return any(o.has_kernels for o in cubins)
    return any(o.kind == "ptx" for o in container.objects)


def _judge_container(container: Container, device: ComputeCapability, toolkit: CudaVersion | None) -> Verdict:
    return _best(judge_code(o.target, device, toolkit) for o in container.objects if o.target)


def _required(judged: list[tuple[Container, Verdict]]) -> list[tuple[Container, Verdict]]:
    """The containers that every GPU must find code in.

    Left out are containers that the library's own code picks from, and those with nothing but `a` or `f` code: kernels
    for one generation that have a general sibling. If nothing else is there, the library picks from all it has.
    """
    required = [(c, v) for c, v in judged if c.registered and not _optional(c.objects)]
    return required or judged


def _optional(objects: tuple[CodeObject, ...]) -> bool:
    return all(o.target.suffix for o in objects if o.target)


def _best(verdicts: Iterable[Verdict]) -> Verdict:
    found = set(verdicts)
    return next((v for v in _BEST_FIRST if v in found), Verdict.NONE)


def _weigh(required: list[tuple[Container, Verdict]]) -> Verdict:
    counts = Counter[Verdict]()
    for container, verdict in required:
        counts[verdict] += container.count
    if Verdict.NONE not in counts:
        return max(counts, key=lambda v: (counts[v], _BEST_FIRST.index(v)))  # a tie counts as the worse one
    return Verdict.NONE if len(counts) == 1 else Verdict.PARTIAL


def _newest_isa(judged: list[tuple[Container, Verdict]], device: ComputeCapability) -> str | None:
    """The newest PTX ISA among what the driver would compile; it takes the highest fitting PTX of each container."""
    isas = [
        max(
            (o for o in container.objects if _fits(o, device)),
            key=lambda o: o.target.capability if o.target else device,
        ).isa
        for container, verdict in judged
        if verdict is Verdict.JIT
    ]
    return max((isa for isa in isas if isa), key=lambda isa: tuple(map(int, isa.split("."))), default=None)


def _fits(code: CodeObject, device: ComputeCapability) -> bool:
    return code.kind == "ptx" and code.target is not None and judge_code(code.target, device) is Verdict.JIT
