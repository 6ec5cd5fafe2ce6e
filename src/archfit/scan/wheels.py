"""One wheel, on disk or behind an index: its members read side by side."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from archfit.arch import CudaVersion
from archfit.binary.wheel import Archive, Member, OnBytes, inflate, list_members, read_member
from archfit.errors import FormatError
from archfit.model import Compiler, Distribution, Library, Text

_LARGEST_PAGE_BYTES = 1 << 20
_CUDA = re.compile(r"^cuda\b[^=\n]*=\s*['\"](\d+\.\d+)['\"]", re.MULTILINE)


def read_wheel(
    archive: Archive, file: str, on_bytes: OnBytes | None = None, on_total: OnBytes | None = None
) -> tuple[Distribution, tuple[tuple[str, Text], ...], CudaVersion | None]:
    """The package in a wheel with its libraries and compilers, the members that could not be read, and torch's CUDA.

    `on_total` is told once how many packed bytes there are to read.

    Raises:
        FormatError: the file is no wheel.
    """
    members = list_members(archive)
    worth = sorted((m for m in members if m.may_hold_code), key=lambda m: -m.packed_bytes)
    if on_total:
        on_total(sum(m.packed_bytes for m in worth))
    found: dict[str, Library | Compiler] = {}
    unreadable: list[tuple[str, Text]] = []
    for member, task in zip(worth, _side_by_side(archive, worth, on_bytes), strict=True):
        try:
            library, compiler = task.result()
        except FormatError as error:
            unreadable.append((member.name, Text(error.key, {k: str(v) for k, v in error.values.items()})))
        else:
            found.update({f"library {member.name}": library} if library else {})
            found.update({f"compiler {member.name}": compiler} if compiler else {})
    rows = [found[name] for name in sorted(found)]
    name, version = name_and_version(file)
    libraries = tuple(row for row in rows if isinstance(row, Library))
    compilers = tuple(row for row in rows if isinstance(row, Compiler))
    distribution = Distribution(name, version, (), (), libraries, compilers)
    return distribution, tuple(unreadable), _torch_cuda(archive, members)


def name_and_version(file: str) -> tuple[str, str]:
    """From a wheel's file name; the whole name and nothing for a file that is not called like a wheel."""
    try:
        name, version, _, _ = parse_wheel_filename(file)
    except InvalidWheelFilename:
        return file.removesuffix(".whl"), ""
    return str(name), str(version)


def _side_by_side(
    archive: Archive, members: Iterable[Member], on_bytes: OnBytes | None
) -> Iterable[Future[tuple[Library | None, Compiler | None]]]:
    """Largest first, so that no core waits for the last one; the tasks in the order of `members`."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "archfit-scan") as pool:
        tasks = [pool.submit(read_member, archive, member, on_bytes) for member in members]
        try:
            for task in tasks:
                task.exception()
                yield task
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _torch_cuda(archive: Archive, members: Iterable[Member]) -> CudaVersion | None:
    """As torch's own version file says."""
    page = next((m for m in members if m.name == "torch/version.py" and m.size_bytes < _LARGEST_PAGE_BYTES), None)
    if page is None:
        return None
    match = _CUDA.search(b"".join(inflate(archive, page)).decode("utf-8", "replace"))
    return CudaVersion.parse(match[1]) if match else None
