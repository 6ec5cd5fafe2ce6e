"""What people and drivers call a GPU, and which compute capability it has."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
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


@cache
def load_devices() -> dict[str, Product]:
    """GPUs by their PCI device id, four hexadecimal digits."""
    return {
        row["id"]: Product(
            row["name"],
            ComputeCapability.parse(row["capability"]),
            DriverRelease.parse(row["first_driver"]) if row["first_driver"] else None,
        )
        for row in load_json("gpus.json")["pci"]
    }


def find_gpu(spec: str, known: Collection[ComputeCapability]) -> Gpu:
    """Read what a person calls a GPU: ``RTX 5090``, ``sm_120``, ``12.0``, ``10de:2b85``; `known` are all generations.

    Raises:
        UsageError: no such GPU, or several generations share the name.
    """
    try:
        capability = ComputeCapability.parse(re.sub(r"(?<=\d)[af]$", "", spec))  # sm_120a is code for that GPU
    except ValueError:
        product = find_device(spec) or _find_product(spec)
        return Gpu(product.name, product.capability, f'--gpu "{spec}"', product.first_driver)
    if capability not in known and capability != capability.canonical:
        capability = capability.canonical
    if capability not in known:
        names = ", ".join(str(c) for c in sorted(known))
        raise UsageError("gpu-unknown-capability", spec=spec, known=names)
    return Gpu(capability.sm, capability, f"--gpu {spec}")


def find_device(text: str) -> Product | None:
    """The GPU that a PCI id names: ``10de:2b85``, ``0x2B8510DE`` as NVML tells it, or a line of ``lspci -nn`` with it."""
    match = _PCI.search(text)
    return load_devices().get((match[1] or match[2]).lower()) if match else None


def find_product(name: str) -> Product | None:
    """The row of a GPU by the name its driver prints, if there is one; a slice of a GPU is that GPU."""
    for words in _readings(name):
        found = [p for p in load_products() if words in (_words(p.name), _words(p.name.partition(" (")[0]))]
        if found and len({p.capability for p in found}) == 1:
            return min(found, key=_plainest)
    return None


def _find_product(spec: str) -> Product:
    for words in _readings(spec):
        exact = [p for p in load_products() if _words(p.name) == words and words]
        found = exact or [p for p in load_products() if words and words <= _words(p.name)]
        if len({p.capability for p in found}) > 1:
            names = ", ".join(f'"{p.name}" ({p.capability})' for p in _one_each(found)[:_SHOWN])
            raise UsageError("gpu-ambiguous", spec=spec, names=names)
        if found:
            return min(found, key=_plainest)
    raise UsageError("gpu-unknown-name", spec=spec, near=", ".join(_near(_words(spec))) or "RTX 5090, H200, T4")


def _plainest(product: Product) -> tuple[bool, int]:
    """From Blackwell on products of one generation have first drivers of their own; else the shortest name says it best."""
    return product.first_driver is None and product.capability.major >= 10, len(product.name)


def _one_each(products: Sequence[Product]) -> list[Product]:
    """Each generation among the first: one question is to show what the choice is."""
    first = {p.capability: p for p in reversed(products)}
    return [*(p for p in products if p is first[p.capability]), *(p for p in products if p is not first[p.capability])]


def _readings(name: str) -> Iterator[frozenset[str]]:
    """What a name can mean, most literal first: as it is; without what a virtual GPU or a MIG slice adds to its board."""
    name = bracketed[1] if (bracketed := _LSPCI.search(name)) else name
    name = _MIG.sub("", name)
    yield _words(name)
    board = _VGPU.sub("", re.sub(r"^\s*GRID\s+", "", name, flags=re.IGNORECASE))
    if board != name:
        yield _words(board)
        yield frozenset(re.sub(r"^([a-z]{0,3}\d+)[a-z]{1,2}$", r"\1", word) for word in _words(board))


def _near(words: frozenset[str]) -> list[str]:
    from difflib import get_close_matches

    names = {" ".join(sorted(_words(p.name))): p.name for p in load_products()}
    close = get_close_matches(" ".join(sorted(words)), list(names), n=3, cutoff=0.6)
    return [names[name] for name in close]


_SHOWN = 6
_PCI = re.compile(r"\b10de:([0-9a-f]{4})\b|\b0x([0-9a-f]{4})10de\b", re.IGNORECASE)
_LSPCI = re.compile(r"NVIDIA Corporation\b[^\[]*\[([^\]]+)\]")
_MIG = re.compile(r"\s+MIG\s+\d+[gc]\..*$", re.IGNORECASE)
# A vGPU is called after its board, its memory in GB and its licence: T4-8Q, A100-40C, of a MIG slice A100-4-20C.
_VGPU = re.compile(r"-(\d+-)?\d+(C(ME)?|Q|A|B\d?)$")
_NOISE = frozenset({"nvidia", "geforce", "tesla", "gpu", "graphics", "card", "generation", "edition"})


def _words(name: str) -> frozenset[str]:
    """The words that tell one GPU from another: memory size, form factor and family names do not."""
    spaced = re.sub(r"(?<![a-z])(rtx|gtx|gt|tesla|quadro)(?=\d)", r"\1 ", name.lower())  # RTX5090
    words = re.split(r"[\s()\-_/]+", spaced)
    return frozenset(w for w in words if w and w not in _NOISE and not re.fullmatch(r"\d+gb?|sxm\d?|pcie|hbm\d\w?", w))
