"""A package index in a folder: tiny wheels, each with a name, a version, and what it asks for."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

WHEELS = {
    "torch==2.4.1": ("maths==1.0",),
    "torch==2.8.0": ("maths>=1.1",),
    "torch==2.9.1": ("maths>=3",),
    "torchvision==0.19.1": ("torch==2.4.1",),
    "torchvision==0.23.0": ("torch==2.8.0",),
    "maths==1.0": (),
    "maths==1.1": (),
    "maths==2.0": (),
    "follower==1.0": ("torch==2.4.1",),
    "follower==2.0": ("torch==2.8.0",),
    "second==1.0": ("follower==1.0",),
    "second==2.0": ("follower==2.0",),
    "stubborn==1.0": ("torch==2.4.1",),
    "bounded==1.0": ("maths<2",),
    "swapped==1.0+cpu": (),
}
"""What the index has, and what each asks for."""


def write_wheel(
    index: Path, name: str, version: str, requires: tuple[str, ...] = (), tag: str = "py3-none-any"
) -> Path:
    """Put a wheel on the shelf, and its name on the page of its project (PEP 503)."""
    project = index / name
    project.mkdir(parents=True, exist_ok=True)
    wants = "".join(f"Requires-Dist: {line}\n" for line in requires)
    path = project / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        info = f"{name}-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wants}")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    links = (f'<a href="{p.name}#sha256={digest(p)}">{p.name}</a>' for p in sorted(project.glob("*.whl")))
    (project / "index.html").write_text(f"<html><body>{''.join(links)}</body></html>")
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
