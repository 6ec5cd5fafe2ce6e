"""Read code objects, wherever they are, and hold them against a policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archfit.api.told import OnCount, OnRead
from archfit.arch import ComputeCapability, CudaVersion
from archfit.audit import Audit, Policy
from archfit.audit import audit as audit_subject
from archfit.binary.kernels import kernels_of, readable
from archfit.catalog import load_catalog
from archfit.coverage import lacking
from archfit.errors import FormatError, UsageError
from archfit.model import Library, Subject
from archfit.probe.choose import expand, is_environment
from archfit.probe.observe import observe_code
from archfit.probe.packages import observe_packages
from archfit.scan import ScanWish, wheels_in
from archfit.scan import scan as scan_files


def scan(wish: ScanWish, on_bytes: OnCount | None = None, on_total: OnCount | None = None) -> Subject:
    """What code is inside a file, a wheel, a folder, an environment or a requirement.

    `on_total` is told how many bytes there are to read, `on_bytes` how many were read since the last time.

    Raises:
        UsageError: there is no such file, and it is no requirement.
        FormatError, OSError: the one file that was asked for cannot be read.
        ObserveError: the package index cannot be reached, or has no such wheel.
    """
    if not wish.name.strip():
        raise UsageError("scan-unknown", name='""')
    path = expand(wish.name)
    if is_environment(path):
        installed, cuda = observe_code(wish.name, _counted(on_bytes, on_total), deep=wish.deep)
    elif _holds_packages(path):
        installed, cuda = observe_packages((path,), _counted(on_bytes, on_total), deep=wish.deep), None
    else:
        return scan_files(wish, on_bytes, on_total)
    return Subject(wish.name, "environment", installed.distributions, installed.unreadable, cuda=cuda)


def remember(subject: Subject) -> dict[str, str]:
    """Lay what was found in a wheel over the catalog, from now on; returns what was kept, and where.

    Raises:
        UsageError: it is no wheel with a release and a platform, or the folder cannot be written.
    """
    from datetime import date

    from archfit.catalog.remembered import remember as keep

    path = keep(subject, date.today())
    package = subject.distributions[0]
    tag = subject.file.removesuffix(".whl").rpartition("-")[2]
    return {"package": package.name, "version": package.version, "platform": tag, "path": str(path)}


def spread(name: str) -> tuple[str, ...]:
    """What a word stands for: a folder of wheels for each of them, and for itself if it holds other code, or nothing."""
    path = expand(name)
    if not (name.strip() and path.is_dir()) or is_environment(path) or _holds_packages(path):
        return (name,)
    wheels, has_more = wheels_in(path)
    return (*map(str, wheels), *((name,) if has_more or not wheels else ()))


def audit(subject: Subject, policy: Policy) -> Audit:
    """Hold what was scanned against a policy."""
    return audit_subject(subject, policy, load_catalog().loading_of)


def kernels_lacking(
    path: Path, library: Library, devices: Sequence[ComputeCapability], cuda: CudaVersion | None
) -> list[str]:
    """Readable names of the kernels in the containers of a library on disk that have nothing for one of `devices`."""
    wanted = frozenset(c.objects for device in devices for c in lacking(library, device, cuda))
    if not wanted:
        return []
    try:
        return list(dict.fromkeys(readable(name) for _, name in kernels_of(path, wanted)))
    except (FormatError, OSError):
        return []  # a name is a help, not a verdict


def _holds_packages(path: Path) -> bool:
    return path.is_dir() and next(path.glob("*.dist-info"), None) is not None


def _counted(on_bytes: OnCount | None, on_total: OnCount | None) -> OnRead:
    """Progress of an environment is told as a sum."""
    told = 0

    def on_read(done: int, total: int) -> None:
        nonlocal told
        if told == 0 and on_total:
            on_total(total)
        if on_bytes and done > told:
            on_bytes(done - told)
        told = max(told, done)

    return on_read
