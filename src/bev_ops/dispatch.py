"""Which code runs the operators now, in this process."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Backend:
    """What was chosen, why, and how far the chosen code was from the plain formula (None: not compared)."""

    name: str
    why: str
    error_vs_reference: float | None = None


_active = Backend("torch", "nothing chosen yet")


def active() -> Backend:
    """The backend in use."""
    return _active


def activate(backend: Backend) -> Backend:
    """Use this one from now on."""
    global _active
    _active = backend
    return backend


def uses_triton(tensor: Tensor) -> bool:
    """Whether the operators take their Triton path for this tensor."""
    return _active.name == "triton" and tensor.is_cuda
