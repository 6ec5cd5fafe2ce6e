"""Build hook: compile archfit's one piece of C, where there is a C compiler and Python's headers.

The wheel is then one for this system; else it is the pure one, in which Python does the same work (docs/measurements.md says
how much slower). ``ARCHFIT_PURE=1`` asks for that. Nothing is written into the source, which may be read-only or in use,
unless the install is an editable one: that runs from there.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "archfit.binary._follow"
STABLE_ABI = "0x030b0000"  # of Python 3.11: one wheel for it and all that follow


class CompileFollow(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before each wheel, the editable one included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the library to the wheel and name the wheel after the system, if there is a library."""
        if self.target_name != "wheel":
            return
        source = Path(self.root, "src", *MODULE.split(".")).with_suffix(".c")
        self.scratch = TemporaryDirectory(prefix="archfit-")
        built = None if os.environ.get("ARCHFIT_PURE") else compile_module(source, Path(self.scratch.name))
        if version == "editable":
            try:
                put_beside(source, built)
            except OSError:  # read-only
                built = None
        elif built:
            build_data["force_include"][str(built)] = built.relative_to(self.scratch.name).as_posix()
        if built:
            build_data["pure_python"] = False
            build_data["tag"] = tag()
        else:
            self.app.display_warning("archfit: nothing could be compiled here; Python reads fatbins by itself")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The library is in the wheel."""
        if self.target_name == "wheel":
            self.scratch.cleanup()


def compile_module(source: Path, scratch: Path) -> Path | None:
    """The library, in the folders of its package below `scratch`; None where it cannot be made."""
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    macros = [] if is_free_threaded() else [("Py_LIMITED_API", STABLE_ABI)]
    extension = Extension(
        MODULE,
        [source.name],
        define_macros=macros,
        py_limited_api=bool(macros),
        optional=True,
        extra_compile_args=["-O2"],
    )
    command = build_ext(Distribution({"ext_modules": [extension]}))
    command.build_lib, command.build_temp = str(scratch), str(scratch / "objects")
    command.ensure_finalized()
    before = Path.cwd()
    os.chdir(source.parent)
    try:
        command.run()
    finally:
        os.chdir(before)
    return next(libraries(scratch.joinpath(*MODULE.split("."))), None)


def put_beside(source: Path, built: Path | None) -> None:
    """Replace the library that an editable install runs. Where none could be made there is none, rather than an older one."""
    for old in libraries(source):
        old.unlink(missing_ok=True)
    if built:
        shutil.copy(built, source.parent)


def libraries(source: Path) -> Iterator[Path]:
    """What was made of it, for whichever Python."""
    return (path for path in source.parent.glob(f"{source.stem}.*") if path.suffix in (".so", ".pyd"))


def is_free_threaded() -> bool:
    """Such a Python has no stable ABI."""
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def tag() -> str:
    """Of the wheel: which Pythons, and which system."""
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    if is_free_threaded():
        python = f"cp{sys.version_info.major}{sys.version_info.minor}"
        return f"{python}-{python}t-{platform}"
    return f"cp311-abi3-{platform}"
