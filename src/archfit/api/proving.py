"""Prove what an environment can do."""

from __future__ import annotations

from archfit.model import Diagnosis, Verification
from archfit.verify import verify
from archfit.verify.lanes import OnProbe


def prove(
    diagnosis: Diagnosis,
    level: str,
    on_probe: OnProbe | None = None,
    *,
    device: str = "cuda",
    only: tuple[str, ...] = (),
) -> Verification:
    """Collect evidence up to `level`; `device` cpu checks the kernel probes themselves, `only` are patterns of probes."""
    return verify(diagnosis, level, device=device, only=only, on_probe=on_probe)
