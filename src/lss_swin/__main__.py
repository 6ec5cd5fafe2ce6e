"""`python PATH/TO/lss_swin train CONFIG ...`: run from a folder, in a Python that has only torch, numpy and pillow.

So archfit can start the training of its own copy inside the environment that it examines, with no other package of its own on
the path. `python -m lss_swin train ...` is the same.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_COMMANDS = {
    "train": "lss_swin.train",
    "test": "lss_swin.evaluate",
    "visualize": "lss_swin.visualize",
    "generate": "nuscenes_bev.synthetic",
}


def _find_packages() -> None:
    """Make the three packages importable without adding the folder around them, which may hold anybody's."""
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != _HERE]
    for name in ("lss_swin", "bev_ops", "nuscenes_bev"):
        spec = importlib.machinery.PathFinder.find_spec(name, [str(_HERE.parent)])
        if name not in sys.modules and spec is not None and spec.loader is not None:
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])


_find_packages()  # at import, for the workers of the loader begin here, too

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in _COMMANDS:
        sys.exit(importlib.import_module(_COMMANDS[sys.argv[1]]).main(sys.argv[2:]))
    print(f"usage: python -m lss_swin {{{','.join(_COMMANDS)}}} ...; --help after a command says more", file=sys.stderr)
    sys.exit(0 if sys.argv[1:2] in (["-h"], ["--help"]) else 2)
