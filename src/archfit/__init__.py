"""archfit: make a PyTorch environment run on the GPU that is really in the machine.

>>> import archfit
>>> archfit.explain(open("train.log").read()).first.id
'arch-missing-torch'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archfit.logs import explain

__version__ = "0.1.0"
__all__ = ["__version__", "explain"]


def __getattr__(name: str) -> object:
    """``archfit.explain`` is loaded when first asked for, so that importing archfit costs nothing."""
    if name == "explain":
        return importlib.import_module("archfit.logs").explain
    if name == "fleet":
        return importlib.import_module("archfit.fleet")
    raise AttributeError(name)
