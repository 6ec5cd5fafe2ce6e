"""`python PATH/TO/lss_swin train CONFIG ...`: run from a folder, in a Python that has only torch, numpy and pillow.

So archfit can start the training of its own copy inside the environment that it examines, with no other package of its own on
the path. `python -m lss_swin train ...` is the same.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_COMMANDS = {"train": "train", "test": "evaluate", "visualize": "visualize", "generate": "synthetic"}


def _find_package() -> None:
    """Make `lss_swin` importable without adding the folder around it, which may hold anybody's packages."""
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != _HERE]
    if "lss_swin" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "lss_swin", _HERE / "__init__.py", submodule_search_locations=[str(_HERE)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["lss_swin"] = module
        spec.loader.exec_module(module)


_find_package()  # at import, for the workers of the loader begin here, too

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in _COMMANDS:
        command = importlib.import_module(f"lss_swin.{_COMMANDS[sys.argv[1]]}")
        sys.exit(command.main(sys.argv[2:]))
    print(f"usage: python -m lss_swin {{{','.join(_COMMANDS)}}} ...; --help after a command says more", file=sys.stderr)
    sys.exit(0 if sys.argv[1:2] in (["-h"], ["--help"]) else 2)
