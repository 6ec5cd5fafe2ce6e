"""What people and drivers call a GPU, and which compute capability it has."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from archfit.arch import ComputeCapability
from archfit.catalog.tables import load_json
from archfit.errors import UsageError
from archfit.model import DriverRelease, Gpu


@dataclass(frozen=True, slots=True)
class Product:
    """A GPU that can be bought."""

    name: str
    capability: ComputeCapability
    first_driver: DriverRelease | None


@cache
def load_products() -> tuple[Product, ...]:
    """GPUs by name."""
    return tuple(
        Product(
            row["name"],
            ComputeCapability.parse(row["capability"]),
            DriverRelease.parse(row["first_driver"]) if row["first_driver"] else None,
        )
        for row in load_json("gpus.json")["products"]
    )


def find_gpu(spec: str, known: Collection[ComputeCapability]) -> Gpu:
    """Read what a person calls a GPU: ``RTX 5090``, ``sm_120``, ``12.0``; `known` are the generations there are.

    Raises:
        UsageError: no such GPU, or several generations share the name.
    """
    try:
        capability = ComputeCapability.parse(re.sub(r"(?<=\d)[af]$", "", spec))  # sm_120a is code for that GPU
    except ValueError:
        product = _find_product(spec)
        return Gpu(product.name, product.capability, f'--gpu "{spec}"', product.first_driver)
    if capability not in known and capability != capability.canonical:
        capability = capability.canonical
    if capability not in known:
        names = ", ".join(str(c) for c in sorted(known))
        raise UsageError("gpu-unknown-capability", spec=spec, known=names)
    return Gpu(capability.sm, capability, f"--gpu {spec}")


def find_product(name: str) -> Product | None:
    """The row of a GPU by the name its driver prints, if there is one."""
    words = _words(name)
    found = [p for p in load_products() if words in (_words(p.name), _words(p.name.partition(" (")[0]))]
    return min(found, key=lambda p: p.first_driver is None, default=None)


def _find_product(spec: str) -> Product:
    words = _words(spec)
    exact = [p for p in load_products() if _words(p.name) == words and words]
    found = exact or [p for p in load_products() if words and words <= _words(p.name)]
    if not found:
        raise UsageError("gpu-unknown-name", spec=spec, near=", ".join(_near(words)) or "RTX 5090, H200, T4")
    if len({p.capability for p in found}) > 1:
        names = ", ".join(f'"{p.name}" ({p.capability})' for p in found[:6])
        raise UsageError("gpu-ambiguous", spec=spec, names=names)
    return min(found, key=lambda p: (p.first_driver is None, len(p.name)))


def _near(words: frozenset[str]) -> list[str]:
    from difflib import get_close_matches

    names = {" ".join(sorted(_words(p.name))): p.name for p in load_products()}
    close = get_close_matches(" ".join(sorted(words)), list(names), n=3, cutoff=0.6)
    return [names[name] for name in close]


_NOISE = frozenset({"nvidia", "geforce", "tesla", "gpu", "graphics", "card", "generation", "edition"})


def _words(name: str) -> frozenset[str]:
    """The words that tell one GPU from another: memory size, form factor and family names do not."""
    spaced = re.sub(r"(?<![a-z])(rtx|gtx|gt|tesla|quadro)(?=\d)", r"\1 ", name.lower())  # RTX5090
    words = re.split(r"[\s()\-_/]+", spaced)
    return frozenset(w for w in words if w and w not in _NOISE and not re.fullmatch(r"\d+gb|sxm\d?|pcie|hbm\d\w?", w))
