"""A Python that uv takes for a free-threaded one, or for one with a GIL, where the other kind is here.

uv is told another version or platform by options, but reads from the interpreter itself whether it is free-threaded (0.13.9
refuses ``--python-version 3.14t``). So an environment of this Python is made for the question, which says what is wanted.
"""

from __future__ import annotations

import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CODE = 'import sysconfig; sysconfig.get_config_vars()["Py_GIL_DISABLED"] = {flag}\n'


def is_free_threaded(tag: str) -> bool:
    """Is it the tag of a free-threaded Python: ``cp314t``?"""
    return tag.endswith("t")


def own_tag() -> str:
    """The tag of the Python that archfit runs in."""
    threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return f"cp{sys.version_info[0]}{sys.version_info[1]}{threaded}"


@contextmanager
def python_for(tag: str | None, python: Path, tag_of_python: str) -> Iterator[Path]:
    """`python` itself where it is of the same kind as `tag` asks for (or nothing is asked for), else a stand-in.

    What `tag` says of the version is for uv's own option.
    """
    if tag is None or is_free_threaded(tag) == is_free_threaded(tag_of_python):
        yield python
        return
    with tempfile.TemporaryDirectory(prefix="archfit-python-") as scratch:
        venv.EnvBuilder(symlinks=sys.platform != "win32").create(scratch)
        site = Path(sysconfig.get_path("purelib", "venv", {"base": scratch, "platbase": scratch}))
        site.joinpath("kind.pth").write_text(_CODE.format(flag=int(is_free_threaded(tag))), "utf-8")
        yield Path(sysconfig.get_path("scripts", "venv", {"base": scratch}), "python")
