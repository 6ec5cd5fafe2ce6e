"""From what was scanned to a row of the catalog; the way back is `wheels.wheel_of`.

The same code writes ``wheels.json``, which ships with archfit, and the file that a user's own measurements are kept in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from archfit.arch import CudaVersion
from archfit.catalog.digest import Texts, pack_compilers, pack_libraries
from archfit.model import Subject

Document = dict[str, Any]

_PLATFORMS = ((r"linux.*_x86_64", "linux_x86_64"), (r"linux.*_aarch64", "linux_aarch64"), (r"win_amd64", "win_amd64"))
_GLIBC = re.compile(r"manylinux_(\d+)_(\d+)_|manylinux(1|2010|2014)_")
_OLD_GLIBC = {"1": (2, 5), "2010": (2, 12), "2014": (2, 17)}
_MATTERS = re.compile(
    r"^(torch\w*|triton\w*|pytorch-triton|numpy|nvidia-.*|cuda-.*|jax\w*|tensorflow|cupy.*|.*-cu\d\d)$"
)
_RUNTIME = re.compile(r"^(nvidia-cuda-runtime(-cu\d\d)?|cuda-toolkit|nvidia-cuda-nvrtc(-cu\d\d)?)$")
_MAJOR = re.compile(r"(?:^|[/_.-])(?:cu|cuda)(1[0-9])(?:\d|x|$|[/_.-])")
_RUNTIME_LIBRARY = re.compile(
    r"^lib(?:cudart|cublas|cublasLt|nvrtc)\.so\.(1[0-9])\b|^(?:cudart|cublas|cublasLt)64_(1[0-9])\d?\.dll", re.I
)


@dataclass(frozen=True, slots=True)
class Published:
    """What an index says about one wheel, and the tags of all wheels of that release for this platform."""

    file: str
    platform: str
    python_tags: tuple[str, ...]
    sha256: str
    size_bytes: int
    uploaded: str | None


def platform_of(file: str) -> str | None:
    """``linux_x86_64``, ``linux_aarch64``, ``win_amd64``, ``any``; None for other systems, and for what is no wheel."""
    try:
        tags = {tag.platform for tag in parse_wheel_filename(file)[3]}
    except InvalidWheelFilename:
        return None  # such as k2-1.23.4-py3.10-none-any.whl, which no installer takes
    found = (name for pattern, name in _PLATFORMS if any(re.search(pattern, tag) for tag in tags))
    return "any" if "any" in tags else next(found, None)


def python_tags_of(file: str) -> tuple[str, ...]:
    """``cp311``, ``cp313t``, ``py3``: what a wheel's name says that it is for."""
    tags = parse_wheel_filename(file)[3]
    return tuple(sorted({tag.interpreter + ("t" if tag.abi.endswith("t") else "") for tag in tags}))


def glibc_of(file: str) -> str | None:
    """The oldest glibc that a wheel's tags admit."""
    matches = [m for tag in parse_wheel_filename(file)[3] if (m := _GLIBC.search(tag.platform))]
    versions = [_OLD_GLIBC[m[3]] if m[3] else (int(m[1]), int(m[2])) for m in matches]
    return ".".join(map(str, min(versions))) if versions else None


def row_of(subject: Subject, published: Published, metadata: str, source: str, read: str, texts: Texts) -> Document:
    """The row of a wheel that was scanned; `metadata` is its METADATA file, `texts` takes the targets."""
    distribution = subject.distributions[0]
    headers = HeaderParser().parsestr(metadata)
    requires = _requires(headers.get_all("Requires-Dist", []), published)
    cuda = subject.cuda or _cuda_of(requires)
    major = cuda.major if cuda else _major_of(subject, requires)
    row: Document = {
        "package": distribution.name,
        "version": distribution.version,
        "platform": published.platform,
        "python_tags": list(published.python_tags),
        "file": published.file,
        "sha256": published.sha256,
        "size_bytes": published.size_bytes,
        "uploaded": published.uploaded,
        "requires_python": headers.get("Requires-Python", ""),
        "requires": requires,
        "cuda": str(cuda) if cuda else None,
        "cuda_major": major,
        "glibc": glibc_of(published.file),
        "read": read,
        "source": source,
        "libraries": pack_libraries(distribution.libraries, texts),
        "compilers": pack_compilers(distribution.compilers, texts),
    }
    needed = {
        "package",
        "version",
        "platform",
        "python_tags",
        "file",
        "sha256",
        "size_bytes",
        "uploaded",
        "read",
        "source",
    }
    return {key: value for key, value in row.items() if value or key in needed | {"libraries"}}


def _requires(texts: Sequence[str], published: Published) -> list[str]:
    """The requirements that matter for a GPU, where they hold for this platform; what comes with an extra does not."""
    found = set()
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        name = canonicalize_name(requirement.name)
        if _MATTERS.match(name) and (not requirement.marker or requirement.marker.evaluate(_world(published))):
            extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
            found.add(f"{name}{extras}{requirement.specifier}")
    return sorted(found)


def _world(published: Published) -> dict[str, str]:
    """What markers ask for, on the platform and the Python of this wheel."""
    windows = published.platform.startswith("win")
    tag = next((t for t in published.python_tags if t in published.file), "cp311")
    match = re.fullmatch(r"[a-z]+(\d)(\d+)t?", tag)
    version = f"{match[1]}.{match[2]}" if match else "3.11"
    return {
        "extra": "",
        "python_version": version,
        "python_full_version": version + ".0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_system": "Windows" if windows else "Linux",
        "sys_platform": "win32" if windows else "linux",
        "os_name": "nt" if windows else "posix",
        "platform_machine": "AMD64" if windows else published.platform.removeprefix("linux_").replace("any", "x86_64"),
    }


def _cuda_of(requires: Sequence[str]) -> CudaVersion | None:
    """The CUDA release whose runtime is pinned."""
    for requirement in map(Requirement, requires):
        pins = [s.version for s in requirement.specifier if s.operator in ("==", "~=")]
        if pins and _RUNTIME.match(requirement.name):
            numbers = Version(pins[0].removesuffix(".*")).release
            return CudaVersion(numbers[0], numbers[1]) if len(numbers) > 1 else None
    return None


def _major_of(subject: Subject, requires: Sequence[str]) -> int | None:
    """The major CUDA release: of the libraries that are loaded, of a CUDA package that is required, or of the name."""
    needed = [m for lib in subject.libraries for so in lib.needed if (m := _RUNTIME_LIBRARY.match(so))]
    majors = {int(m[1] or m[2]) for m in needed}
    majors = majors or {int(m[1]) for r in requires if (m := _MAJOR.search(Requirement(r).name))}
    distribution = subject.distributions[0]
    named = [distribution.name, *(lib.path for lib in subject.libraries if lib.containers)]
    majors = majors or {int(m[1]) for name in named if (m := _MAJOR.search(name))}
    return min(majors) if majors else None


def sort_key(row: Document) -> tuple[str, Version, str, str]:
    """Package, then release (2.10 after 2.9), then platform."""
    return row["package"], Version(row["version"]), row["platform"], row["file"]


def document(rows: Iterable[Document], targets: Sequence[str]) -> Document:
    """The whole table; `rows` have numbers in `targets`, and sources as texts."""
    ordered = sorted(rows, key=sort_key)
    texts, sources = Texts(), Texts()
    packed = [
        {
            **row,
            "source": sources.number(row["source"]),
            "libraries": [
                [path, form, [[n, flags, texts.number(targets[t])] for n, flags, t in containers]]
                for path, form, containers in row["libraries"]
            ],
            **(
                {
                    "compilers": [
                        [path, kind, cuda, texts.number(targets[t])] for path, kind, cuda, t in row["compilers"]
                    ]
                }
                if "compilers" in row
                else {}
            ),
        }
        for row in ordered
    ]
    return {"sources": sources.all, "targets": texts.all, "wheels": packed}


def render(table: Document) -> str:
    """JSON with one row per line, so that a diff shows what changed."""

    def compact(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    parts = [f'"{name}":[\n' + ",\n".join(map(compact, rows)) + "\n]" for name, rows in table.items()]
    return "{" + ",\n".join(parts) + "}\n"
