"""Is what was built fit? Read from the bytes of the wheel, never from the success of the build."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from archfit.arch import ComputeCapability, Verdict
from archfit.binary.wheel import list_members, open_wheel, read_member
from archfit.catalog import Catalog
from archfit.catalog.recipes import Recipe
from archfit.coverage import judge_package, lacking, targets_of
from archfit.errors import FormatError
from archfit.model import Library
from archfit.rebuild.records import BuildError, Wanted

_EXTENSION = re.compile(r"\.(so|pyd)$")


def judge_wheel(
    wheel: Path,
    wanted: Wanted,
    recipe: Recipe,
    devices: Sequence[ComputeCapability],
    catalog: Catalog,
    *,
    has_kernels: bool,
) -> tuple[str, ...]:
    """The targets in a wheel that is what was wanted and holds code for every GPU.

    Without `has_kernels`, CUDA files among its sources, it may hold none at all.

    Raises:
        BuildError: it is another package, has no extension in it, or lacks code for a GPU; says which.
    """
    _refuse_other(wheel, wanted)
    try:
        names, libraries = _read(wheel)
    except (FormatError, OSError) as error:
        raise BuildError("rebuild-unreadable", package=wanted, cause=error) from error
    missing = [pattern for pattern in recipe.holds if not any(fnmatchcase(name, pattern) for name in names)]
    if missing or not any(_EXTENSION.search(name) for name in names):
        raise BuildError("rebuild-no-extension", package=wanted, wheel=wheel.name, missing=", ".join(missing) or "*.so")
    targets = tuple(dict.fromkeys(target for library in libraries for target in targets_of(library)))
    for device in devices:
        judged = judge_package(libraries, device, catalog.loading_of(wanted.name))
        if judged.verdict is Verdict.NO_GPU_CODE and not has_kernels:
            continue
        if judged.verdict not in (Verdict.NATIVE, Verdict.COMPATIBLE):
            without = [library.path for library in libraries if lacking(library, device)]
            raise BuildError(
                "rebuild-lacks-code",
                package=wanted,
                capability=device,
                targets=" ".join(targets) or "-",
                libraries=", ".join(without) or "-",
            )
    return targets


def _refuse_other(wheel: Path, wanted: Wanted) -> None:
    """The name must be right; of an index the version, too, while that of a commit is what the commit says."""
    name, version, _, _ = parse_wheel_filename(wheel.name)
    same = wanted.origin or version.public == Version(wanted.version).public
    if name != canonicalize_name(wanted.name) or not same:
        raise BuildError("rebuild-other-package", package=wanted, found=f"{name} {version}")


def _read(wheel: Path) -> tuple[list[str], list[Library]]:
    with open_wheel(wheel) as archive:
        members = list_members(archive)
        read = [read_member(archive, member)[0] for member in members if member.may_hold_code]
    return [member.name for member in members], [library for library in read if library]
