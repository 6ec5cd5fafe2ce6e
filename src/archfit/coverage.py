"""From the containers of libraries to a verdict for one GPU.

A union of targets is the wrong summary: one container with sm_120 does not make a library run on an RTX 5090, and a
library without sm_89 runs on an RTX 4090. Each container is judged, then the containers of a library are weighed, then the
libraries of a package: only what would be loaded on that GPU counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict, judge_code
from archfit.model import CodeObject, Container, Coverage, Library, Subject

_NOTHING = Coverage(Verdict.NO_GPU_CODE, {})
_BEST_FIRST = (Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT)


@dataclass(frozen=True, slots=True)
class Loading:
    """How a package loads its libraries, as far as its rows in the catalog tell; patterns as in ``libraries.toml``.

    `main` libraries speak for the package; of `picked` ones Python loads one (by CUDA release or by GPU); `special` ones are
    called only on GPUs that they are for; `dispatched` ones pick kernels by GPU; `tools` serve themselves.
    """

    main: tuple[str, ...] = ()
    picked: tuple[tuple[re.Pattern[str], str], ...] = ()
    special: tuple[str, ...] = ()
    dispatched: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PackageCoverage:
    """What a package can do on one GPU, which libraries decided that, and what each library can do."""

    verdict: Verdict
    decided_by: tuple[str, ...]
    libraries: Mapping[str, Coverage] = field(default_factory=dict)


# --- one library -----------------------------------------------------------------------------------------------------


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
    usable = [c for c in library.containers if can_launch(c)]
    if not usable:
        return _NOTHING
    judged = [(c, _judge_linked(c, library, device, toolkit)) for c in usable]
    counts = Counter[Verdict]()
    for container, verdict in judged:
        counts[verdict] += container.count
    deciding = judged if dispatched else _required(judged, device)
    verdict = _best(v for _, v in deciding) if dispatched or deciding is judged else _weigh(deciding)
    if any(c.linked and v is Verdict.JIT for c, v in deciding):
        deciding = [*deciding, *((c, Verdict.JIT) for c in library.containers if c.relocatable)]
    return Coverage(verdict, dict(counts), _newest_isa(deciding, device) if verdict.runs else None)


def judge_container(container: Container, device: ComputeCapability, toolkit: CudaVersion | None = None) -> Verdict:
    """The best that the code objects of one container can do on `device`.

    A cubin without kernels beside others that have some counts: its source was compiled for that GPU, and means it so.
    """
    return _best(judge_code(o.target, device, toolkit) for o in container.objects if o.target and o.launchable)


def _judge_linked(
    container: Container, library: Library, device: ComputeCapability, toolkit: CudaVersion | None
) -> Verdict:
    """The verdict of a container; a linked image may be linked again from its parts, if each of them has code."""
    verdict = judge_container(container, device, toolkit)
    if verdict is Verdict.NONE and container.linked:
        parts = [judge_container(c, device, toolkit) for c in library.containers if c.relocatable]
        return Verdict.JIT if parts and Verdict.NONE not in parts else Verdict.NONE
    return verdict


def lacking(library: Library, device: ComputeCapability, toolkit: CudaVersion | None = None) -> tuple[Container, ...]:
    """The containers with kernels of which none runs on `device`."""
    return tuple(c for c in library.containers if can_launch(c) and judge_container(c, device, toolkit) is Verdict.NONE)


def targets_of(library: Library) -> tuple[str, ...]:
    """The targets in this library, sorted by capability: for a sentence, never for a verdict."""
    return _sorted(o.target for c in library.containers if can_launch(c) for o in c.objects if o.launchable)


def base_targets_of(library: Library) -> tuple[str, ...]:
    """The targets that most containers share: what the library was built for, without targets of single kernels."""
    sets = Counter[tuple[str, ...]]()
    for container in library.containers:
        if container.registered and can_launch(container):
            sets[_sorted_targets(container)] += container.count
    return sets.most_common(1)[0][0] if sets else targets_of(library)


def can_launch(container: Container) -> bool:
    """False for what is never launched itself: stubs of files without device code, link-time code, parts of a link."""
    if container.relocatable:
        return False
    cubins = [o for o in container.objects if o.kind == "sass"]
    if cubins:
        return any(o.has_kernels for o in cubins)
    return any(o.kind == "ptx" and o.has_kernels for o in container.objects)


def _sorted(targets: Iterable[Target | None]) -> tuple[str, ...]:
    return _in_order(frozenset(t for t in targets if t))


@lru_cache(maxsize=4096)
def _in_order(targets: frozenset[Target]) -> tuple[str, ...]:
    return tuple(str(t) for t in sorted(targets, key=lambda t: (t.kind == "ptx", t.capability, t.suffix)))


def _required(judged: list[tuple[Container, Verdict]], device: ComputeCapability) -> list[tuple[Container, Verdict]]:
    """The containers that every GPU must find code in.

    Left out are containers that the library's own code picks from; those with nothing but `a` or `f` code, kernels for one
    generation that have a general sibling; and kernels for what only newer GPUs have. Where a library chooses among its units
    by GPU, those built for what most are built for speak for it. If nothing else is there, it picks from all it has.
    """
    registered = [(c, v) for c, v in judged if c.registered]
    required = [(c, v) for c, v in registered if not _optional(c.objects)]
    if not required:
        return judged
    modal = _modal(required)
    chooses = len(required) < len(registered) or _chooses(required, modal)
    if chooses and any(v is not Verdict.NONE for c, v in required if _sorted_targets(c) == modal):
        return [(c, v) for c, v in required if v is not Verdict.NONE]
    served = sum(c.count for c, v in required if v is not Verdict.NONE)
    if 2 * served > sum(c.count for c, _ in required):
        required = [(c, v) for c, v in required if v is not Verdict.NONE or not _for_newer(c.objects, device)]
    return required


def _modal(required: list[tuple[Container, Verdict]]) -> tuple[str, ...]:
    """The targets that most of these containers share; of several such the first in order."""
    sets = Counter[tuple[str, ...]]()
    for container, _ in required:
        sets[_sorted_targets(container)] += container.count
    return min(sets, key=lambda targets: (-sets[targets], targets))


def _chooses(required: list[tuple[Container, Verdict]], modal: tuple[str, ...]) -> bool:
    """Does the library hold units for different GPUs on purpose, such as the kernels of a linked cuDNN beside its own?

    Units that share no target with each other are for different GPUs; that most others are alike says that it is no accident.
    """
    sets = {frozenset(_sorted_targets(c)) for c, _ in required}
    alike = sum(c.count for c, _ in required if _sorted_targets(c) == modal)
    return 2 * alike > sum(c.count for c, _ in required) and any(a.isdisjoint(b) for a in sets for b in sets)


def _sorted_targets(container: Container) -> tuple[str, ...]:
    return _sorted(o.target for o in container.objects if o.launchable)


def _optional(objects: tuple[CodeObject, ...]) -> bool:
    return all(o.target.suffix for o in objects if o.target and o.launchable)


def _for_newer(objects: tuple[CodeObject, ...], device: ComputeCapability) -> bool:
    """Is all of this code for GPUs newer than `device`, which most of the library serves?"""
    return all(device.canonical < o.target.capability.canonical for o in objects if o.target and o.launchable)


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
    fitting = [[o for o in c.objects if _fits(o, device)] for c, verdict in judged if verdict is Verdict.JIT]
    isas = [max(found, key=lambda o: o.target.capability if o.target else device).isa for found in fitting if found]
    return max((isa for isa in isas if isa), key=lambda isa: tuple(map(int, isa.split("."))), default=None)


def _fits(code: CodeObject, device: ComputeCapability) -> bool:
    return code.kind == "ptx" and code.target is not None and judge_code(code.target, device) is Verdict.JIT


# --- the libraries of one package ------------------------------------------------------------------------------------


def judge_package(
    libraries: Sequence[Library],
    device: ComputeCapability,
    loading: Loading,
    *,
    cuda: CudaVersion | None = None,
    toolkit: CudaVersion | None = None,
) -> PackageCoverage:
    """What can a package with these libraries do on `device`?

    `cuda` is the release of the torch beside it, by which some packages pick; `toolkit` as in `judge_library`.
    """
    judged = {
        lib.path: judge_library(lib, device, dispatched=_named(lib, loading.dispatched), toolkit=toolkit)
        if lib.containers
        else _NOTHING
        for lib in libraries
    }
    with_code = [
        lib
        for lib in libraries
        if judged[lib.path].verdict is not Verdict.NO_GPU_CODE and not _named(lib, loading.tools)
    ]
    if not with_code:
        return PackageCoverage(Verdict.NO_GPU_CODE, (), judged)
    with_code = [lib for lib in with_code if lib.format != "archive"] or with_code  # nobody loads a static archive
    main = [lib for lib in with_code if _named(lib, loading.main)]
    chosen = [_choose(group, judged) for group in _groups(main or with_code, loading, cuda)]
    required = [lib for lib in chosen if not _excused(lib, loading, judged, device)] or chosen
    verdict = _combine([judged[lib.path].verdict for lib in required])
    decisive = {verdict} if verdict is not Verdict.PARTIAL else {Verdict.PARTIAL, Verdict.NONE}
    return PackageCoverage(verdict, tuple(lib.path for lib in required if judged[lib.path].verdict in decisive), judged)


def judge_subject(subject: Subject, device: ComputeCapability, loading_of: Callable[[str], Loading]) -> PackageCoverage:
    """What everything that was scanned can do on `device`: of several packages, those decide that have code of their own."""
    packages = [
        judge_package(d.libraries, device, loading_of(d.name), cuda=subject.cuda, toolkit=subject.cuda)
        for d in subject.distributions
    ]
    libraries = {path: coverage for package in packages for path, coverage in package.libraries.items()}
    with_code = [
        (package, distribution)
        for package, distribution in zip(packages, subject.distributions, strict=True)
        if package.verdict is not Verdict.NO_GPU_CODE
    ]
    own = [package for package, d in with_code if not d.name.startswith("nvidia-")]
    deciding = own or [package for package, _ in with_code]
    if not deciding:
        return PackageCoverage(Verdict.NO_GPU_CODE, (), libraries)
    verdict = _combine([package.verdict for package in deciding])
    decisive = {verdict} if verdict is not Verdict.PARTIAL else {Verdict.PARTIAL, Verdict.NONE}
    decided_by = tuple(path for package in deciding if package.verdict in decisive for path in package.decided_by)
    return PackageCoverage(verdict, decided_by, libraries)


def _groups(libraries: Sequence[Library], loading: Loading, cuda: CudaVersion | None) -> list[list[Library]]:
    """Libraries of which one is loaded stand together; all others each for itself."""
    groups: dict[str, list[tuple[Library, str, str]]] = {}
    for lib in libraries:
        name, key, by = _family(lib, loading)
        groups.setdefault(name, []).append((lib, key, by))
    return [_for_cuda(group, cuda) for group in groups.values()]


def _family(library: Library, loading: Loading) -> tuple[str, str, str]:
    """The path without what tells variants apart, what tells them apart, and who picks: cuda, gpu or nobody."""
    if library.format in ("cubin", "ptx", "fatbin"):
        return "*", library.path, "gpu"  # files of single code objects are there to be picked from
    for pattern, by in loading.picked:
        match = pattern.search(library.path)
        if match:
            start, end = match.span("key")
            return f"{library.path[:start]}*{library.path[end:]}", match["key"], by
    return library.path, "", ""


def _for_cuda(group: list[tuple[Library, str, str]], cuda: CudaVersion | None) -> list[Library]:
    wanted = (f"{cuda.major}{cuda.minor}", f"{cuda.major}") if cuda else ()
    exact = [lib for lib, key, by in group if by == "cuda" and key in wanted]
    return exact or [lib for lib, _, _ in group]


def _choose(group: Sequence[Library], judged: Mapping[str, Coverage]) -> Library:
    """The variant that would be loaded: the best for this GPU."""
    order = list(Verdict)
    return min(group, key=lambda lib: (order.index(judged[lib.path].verdict), lib.path))


def _excused(library: Library, loading: Loading, judged: Mapping[str, Coverage], device: ComputeCapability) -> bool:
    """May this library lack the GPU, since it would not be asked on it?"""
    if judged[library.path].verdict is not Verdict.NONE:
        return False
    special = _named(library, loading.special) or _named(library, loading.dispatched)
    return special or all(_optional(c.objects) for c in library.containers if can_launch(c))


def _combine(verdicts: Sequence[Verdict]) -> Verdict:
    if all(v is Verdict.NONE for v in verdicts):
        return Verdict.NONE
    if Verdict.NONE in verdicts or Verdict.PARTIAL in verdicts:
        return Verdict.PARTIAL
    return max(verdicts, key=_BEST_FIRST.index)  # the weakest says what it takes


def _named(library: Library, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(library.path if "/" in pattern else library.name, pattern) for pattern in patterns)
