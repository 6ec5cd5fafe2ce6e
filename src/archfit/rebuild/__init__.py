"""Compile extensions of torch again, for another torch and other GPUs; nothing of an environment is touched."""

from archfit.rebuild.install import install_built
from archfit.rebuild.make import rebuild
from archfit.rebuild.origin import find_origin
from archfit.rebuild.records import BuildError, BuildProgress, Built, Ground, OnProgress, Wanted
from archfit.rebuild.store import Store
from archfit.rebuild.toolchain import find_toolkits

__all__ = [
    "BuildError",
    "BuildProgress",
    "Built",
    "Ground",
    "OnProgress",
    "Store",
    "Wanted",
    "find_origin",
    "find_toolkits",
    "install_built",
    "rebuild",
]
