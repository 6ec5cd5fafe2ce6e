"""Who was running when an error was printed: torch itself, an extension, another framework, a cache of compiled code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import re2

from archfit.explainer.log import Stream

_REACH = 9000  # bytes of squeezed text that a traceback is followed back
_BESIDE = 420  # bytes around a message in which its source file is named


@dataclass(frozen=True, slots=True)
class Owner:
    """`kind` is torch, family, extension, framework, cache, triton or empty; `package` an import name, `library` a file."""

    kind: str = ""
    package: str = ""
    library: str = ""


_PATTERNS = {
    "frame": rb'File"([^"]{1,400})",line\d{1,7}|((?:/|[A-Z]:\\)[\w./\\+~@\-]{1,300}\.py):\d{1,6}',
    "installed": rb"(?:site|dist)-packages[/\\]+([\w\-.]{1,80}?)(?:[/\\]|\.(?:py|so|pyd|cpython|abi3|cp3)|$)",
    "standard": rb"(?:/lib/python3\.\d{1,2}/|\\[Ll]ib\\|[Pp]ython3\d{1,2}\\lib\\)(?:importlib|contextlib|functools|multiprocessing|concurrent|threading|runpy|ctypes|asyncio|unittest|subprocess)|<frozen",
    "native": rb"_C\.|_ext\.|ext_module\.|_cuda\.|_backend\.|_gpu\.|csrc\.|cuda_ext|_kernels?\.|_CUDA\w{0,20}\.|torch\.ops\.(?P<space>\w{1,40})|\.fwd\(|\.bwd\(|_forward_cuda|_cuda_\w{1,30}\(|cdll|\.apply\(",
    "plain": rb"torch\.(?:zeros|empty|ones|randn|rand|tensor|arange|full|linspace|eye|matmul|nn\.functional|as_tensor)|\.to\(|\.cuda\(|F\.\w{1,20}\(|nn\.\w{1,30}\(",
    "source": rb"([\w./\\+~@\-]{0,200}?([\w\-]{1,80}\.(?:cu|cuh|cpp|cc|hpp)))(?::|\(|,line|line|\b)",
    "framework": rb"jaxlib|XlaRuntimeError|onnxruntime|tensorflow|cupy|numba|[Pp]addle",
    "sure_framework": rb"jaxlib\.|XlaRuntimeError|ONNXRuntimeError|cupy_backends|numba\.cuda",
    "kernel": rb"([\w./\\+~@\-]{0,200}?([\w\-]{1,80}\.(?:cu|cuh)))(?::|\(|,line|line)\d",
    "torch_source": rb"(?:aten|ATen|c10|torch[/\\]csrc|pytorch[/\\](?:aten|c10|torch)|THC\w{0,20})[/\\]",
    "cached": rb"torch_extensions|\.triton[/\\]cache|[/\\]\.nv[/\\]|jit_cache|cached_ops|\.cache/torch/kernels|\.deep_gemm",
    "fresh": rb"Buildingextensionmodule|ninja\.\.\.Building|Emittingninjabuildfile|\[1/\d{1,3}\][^\n]{0,40}(?:nvcc|c\+\+)",
    "reused": rb"ninja:noworktodo|Nomodificationsdetectedforre-loadedextensionmodule|Usingcached|Skippingbuildstep|Loadingextensionmodule",
    "library": rb"((?:[A-Za-z]:)?[\w./\\+~@\-]{0,300}?([\w\-+.]{1,100}?\.(?:so(?:\.\d{1,4}){0,4}|pyd|dll)))",
}


@cache
def _pattern(name: str) -> Any:
    return re2.compile(_PATTERNS[name])


_TRANSPARENT = (
    "/torch/autograd/function.py", "/torch/_ops.py", "/torch/library.py", "/torch/utils/_contextlib.py", "/torch/nn/modules/module.py",
    "/torch/_dynamo/", "/torch/_compile.py", "/torch/amp/", "/torch/utils/checkpoint.py", "/torch/nn/parallel/", "/torch/_library/",
    "/torch/utils/_device.py", "/torch/autograd/__init__.py", "/torch/autograd/graph.py", "/torch/fx/", "/torch/_tensor.py",
)  # fmt: skip


def owner_at(stream: Stream, begin: int, end: int, packages: Mapping[str, str]) -> Owner:
    """Whose code printed the text at this span of `stream`.

    Args:
        stream: the log of one process.
        begin: where the message begins, in bytes of the squeezed text.
        end: where it ends.
        packages: import names of packages with code of their own, and their kind.
    """
    before = stream.text[max(0, begin - _REACH) : begin]
    header = before.rfind(b"Traceback(most")
    traceback = before[header:] if header >= 0 else before[-_REACH // 3 :]
    beside = stream.around(begin, end, 1, 2)[: 4 * _BESIDE]
    said = stream.around(begin, end, 0, 0)[: 4 * _BESIDE]
    found = (
        _by_name("framework", said)
        or _by_name("sure_framework", beside)
        or _by_source("source", said, packages)
        or _by_source("kernel", beside, packages)
        or _by_frames(traceback, packages)
    )
    if found.kind in ("extension", "", "family") and _cached(stream, begin, traceback + beside):
        return Owner("cache", found.package, found.library or _library(traceback + beside)[0])
    return found


def _cached(stream: Stream, begin: int, near: bytes) -> bool:
    """Does the code come from a folder of code compiled earlier? Not if this very run compiled it."""
    if _pattern("cached").search(near):
        return not _pattern("fresh").search(stream.text)
    before = stream.text[max(0, begin - 2 * _REACH) : begin]
    return bool(_pattern("cached").search(before) and _pattern("reused").search(before)) and not _pattern(
        "fresh"
    ).search(before)


_FRAMEWORKS = {
    "XlaRuntimeError": "jax",
    "jaxlib.": "jax",
    "ONNXRuntimeError": "onnxruntime",
    "cupy_backends": "cupy",
    "numba.cuda": "numba",
}


def _by_name(kind: str, said: bytes) -> Owner | None:
    """By a framework that the message itself names."""
    match = _pattern(kind).search(said)
    return Owner("framework", _FRAMEWORKS.get(match[0].decode(), match[0].decode().lower())) if match else None


def _by_source(kind: str, beside: bytes, packages: Mapping[str, str]) -> Owner | None:
    """By the C++ or CUDA file that the message names; torch's own files mean torch."""
    for match in _pattern(kind).finditer(beside):
        path = match[1].decode("utf-8", "replace").replace("\\", "/")
        if _pattern("torch_source").search(match[1]):
            continue
        if match[2] in (
            b"ProcessGroupNCCL.cpp",
            b"CUDAException.cpp",
            b"CUDAFunctions.cpp",
            b"Module.cpp",
            b"python_variable.cpp",
        ):
            continue
        return Owner("extension", _registered(path, packages))
    return None


def _by_frames(traceback: bytes, packages: Mapping[str, str]) -> Owner:
    for path, code in _frames_inside_out(traceback):
        name = path.replace("\\", "/")
        if _pattern("standard").search(path.encode()) or any(part in name for part in _TRANSPARENT):
            continue
        if "/triton/" in name or "/torch/_inductor/" in name:
            return Owner("triton", "triton")
        package = _installed(path)
        kind = packages.get(package, "")
        if package == "torch":
            return Owner("torch", "torch")
        if not kind and not package:
            package = _registered(name, packages)
            kind = packages.get(package, "")
        if kind and not (kind == "extension" and _plain(code)):
            return Owner(kind, package)
        if native := _pattern("native").search(code):
            space = native[b"space"]
            if space == b"aten":
                return Owner("torch", "torch")
            owner = (space or b"").decode() or package
            if not owner or owner in packages or native[0] != b".apply(":
                return Owner(packages.get(owner, "extension"), owner if owner in packages else package)
        return Owner("torch", "torch") if _plain(code) else Owner()
    return Owner()


def _plain(code: bytes) -> bool:
    return bool(_pattern("plain").search(code)) and not _pattern("native").search(code)


def _frames_inside_out(traceback: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and source line of every frame, the innermost first."""
    matches = list(_pattern("frame").finditer(traceback))
    for number in range(len(matches) - 1, -1, -1):
        until = matches[number + 1].start() if number + 1 < len(matches) else len(traceback)
        path = matches[number][1] or matches[number][2]
        yield path.decode("utf-8", "replace"), traceback[matches[number].end() : until][:400]


def _installed(path: str) -> str:
    match = _pattern("installed").search(path.encode())
    return match[1].decode().partition("-")[0].removesuffix(".py") if match else ""


def _registered(path: str, packages: Mapping[str, str]) -> str:
    """The innermost part of a path that is a known package: of a checkout, or of a build folder."""
    for part in reversed(path.replace("-", "_").split("/")):
        stem = part.partition(".")[0]
        if stem in packages:
            return stem
    return ""


def library_in(text: bytes) -> tuple[str, str]:
    """The first shared object that a text names, and the package it is installed in; empty where there is none."""
    path, name = _library(text)
    return name, _installed(path) if path else ""


def _library(text: bytes) -> tuple[str, str]:
    match = _pattern("library").search(text)
    return (match[1].decode("utf-8", "replace"), match[2].decode("utf-8", "replace")) if match else ("", "")
