"""What the catalog tells without an environment."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from archfit.api.told import OnRead
from archfit.arch import ComputeCapability
from archfit.catalog import load_catalog
from archfit.errors import UsageError
from archfit.matrix import Matrix, matrix_of, packages_of
from archfit.probe.observe import parse_gpus


def matrix(specs: Sequence[str] = (), packages: Sequence[str] = (), on_row: OnRead | None = None) -> Matrix:
    """What the catalog tells of `packages` (all, if none is named), on the GPUs that `specs` mean, or on every generation.

    Raises:
        UsageError: no such GPU, or no row is about one of the packages.
    """
    catalog = load_catalog()
    gpus = dict.fromkeys(gpu for spec in specs for gpu in parse_gpus(spec, catalog))
    known = packages_of(catalog)
    for name in packages:
        if name not in known:
            near = get_close_matches(name, known, n=3) or known[:6]
            raise UsageError("package-unknown", spec=name, near=", ".join(near))
    return matrix_of(catalog, tuple(gpus), packages, on_row or (lambda done, total: None))


def devices_of(specs: Sequence[str]) -> tuple[ComputeCapability, ...]:
    """The compute capabilities that are meant by ``RTX 5090``, ``sm_120`` or ``12.0``; all that are known for none.

    Raises:
        UsageError: no such GPU.
    """
    catalog = load_catalog()
    named = [gpu.capability for spec in specs for gpu in parse_gpus(spec, catalog)]
    return tuple(sorted(set(named or catalog.generations)))
