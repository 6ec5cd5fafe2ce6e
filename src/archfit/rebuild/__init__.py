"""Compile extensions of torch again, for another torch and other GPUs; nothing of an environment is touched."""

from archfit.rebuild.install import install_built
from archfit.rebuild.make import rebuild
from archfit.rebuild.origin import find_origin
from archfit.rebuild.records import BuildError, Built, Ground, OnProgress, Progress, Wanted
from archfit.rebuild.store import Store

__all__ = [
    "BuildError",
    "Built",
    "Ground",
    "OnProgress",
    "Progress",
    "Store",
    "Wanted",
    "find_origin",
    "install_built",
    "rebuild",
]
