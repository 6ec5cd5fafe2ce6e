"""What a log says about the machine: GPUs, the targets of its torch, versions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

import re2

from archfit.arch import ComputeCapability, CudaVersion, Target, judge_code
from archfit.catalog import load_catalog
from archfit.model import DriverRelease, Gpu

Standing = Literal["newer", "older", "covered", "unknown"]


class Pattern:
    """A pattern that is compiled when first needed; RE2, so that no text makes it slow."""

    def __init__(self, pattern: bytes) -> None:
        self._pattern = pattern

    @cached_property
    def _compiled(self) -> Any:
        return re2.compile(self._pattern)

    def search(self, text: bytes) -> Any:
        """The first match, or None."""
        return self._compiled.search(text)

    def finditer(self, text: bytes) -> Iterator[Any]:
        """All matches from left to right."""
        return iter(self._compiled.finditer(text))


# Read from squeezed text, so without blanks.
_TORCH_LIST = Pattern(rb"supportsCUDAcapabilities((?:(?:sm|compute)_\d{2,3}[af]?,?){1,40})")
_ARCH_LIST = Pattern(
    rb"(?i:arch_?list(?:\(\))?|ARCH_?LIST|archlist)[^\[\w]{0,6}\[((?:'(?:sm|compute)_\d{2,3}[af]?',?){1,40})\]"
)
_TARGET = re.compile(r"(?:sm|compute)_\d{2,3}[af]?")
_BOUNDS = Pattern(
    rb"MinimumandMaximumcudacapabilitysupportedbythisversionofPyTorchis\(?(\d{1,2}\.\d)\)?-\(?(\d{1,2}\.\d)\)?"
)
_MINIMUM = Pattern(rb"minimumcudacapability(?:thatwesupport|supportedbythislibrary)is(\d{1,2}\.\d)")
_CAPABILITIES = tuple(
    Pattern(pattern)
    for pattern in (
        rb"withCUDAcapabilitysm_(?P<sm>\d{2,3})",
        rb"whichisof(?:cuda|compute)capability(?:\(CC\))?(?P<dot>\d{1,2}\.\d)",
        rb"(?:[Cc]ompute|CUDA|cuda|[Dd]evice)[ _]?[Cc]apability(?:amongGPUsdetected|of(?:device\d)?|is|:|=|\()*"
        rb":?=?\(?(?P<dot>\d{1,2}\.\d)\b",
        rb"capability[:=(]{0,3}\(?(?P<major>\d{1,2}),(?P<minor>\d)\)",
        rb"CC(?P<dot>\d{1,2}\.\d)\b",
        rb"major=(?P<major>\d{1,2}),minor=(?P<minor>\d)",
        rb"(?:SM|sm_)(?P<sm>1[012]\d)(?:GPU|device|\(Blackwell)",
        rb"currentGPUis(?P<sm>\d{2,3})",
    )
)
_GPU_NAME = Pattern(
    rb"(?P<name>RTXPRO\d{4}(?:Blackwell)?|RTXA\d{4}|RTX\d{4}Ada|QuadroRTX\d{4}|Quadro[PMKT]\d{3,4}|QuadroG[VP]100|RTX\d{4}(?:Ti|SUPER|D|LaptopGPU)*|GTXTITANX|GTX\d{3,4}(?:Ti|SUPER)*|TITAN(?:V|RTX|Xp|X)"
    rb"|(?:GH|GB|H|B)[123]00|H20|H800|A100|A800|A10G|A10|A30|A40|A16|L40S?|L4|L20|V100|P100|P40|P4"
    rb"|TeslaT4|T4|TeslaK80|TeslaM40|TeslaM60|DGXSpark|GB10|JetsonThor|AGXThor|AGXOrin|MX\d{3}|[12345]0[5-9]0(?:[Tt]i)?(?:S(?:UPER|uper))?)"
)
_LONGER = re.compile(rb"\d(?!\d{0,2}GB)")  # A100 is not in A1000, but in "A100 80GB", which has no blank here
_BARE_CONTEXT = Pattern("(?i:rtx|gtx|geforce|显卡|显存|graphics|gpu|卡)".encode())
_NAME_CONTEXT = Pattern(rb"NVIDIA|GeForce|Tesla|Quadro|GPU|gpu|RTX|GTX|TITAN|DGX|Jetson|CUDA|cuda|[\x80-\xff]")
_TORCH_VERSIONS = tuple(
    Pattern(pattern)
    for pattern in (
        rb"PyTorchversion:?(?P<v>\d\.\d{1,2}(?:\.\d{1,2})?)(?:a0|\.dev\d{8}|rc\d)?(?:\+(?P<b>cu\d{2,3}|cpu|rocm[\d.]+|git\w+|xpu))?",
        rb"torch\.__version__[^\d]{0,8}(?P<v>\d\.\d{1,2}(?:\.\d{1,2})?)(?:\.dev\d{8})?(?:\+(?P<b>cu\d{2,3}|cpu))?",
        rb"(?:PyTorch|Torch|TORCH|(?:\b|[^a-z])(?:torch|pytorch))(?:version|Version)?(?:==|=|:|-|v|\(|\s)*(?P<v>[12]\.\d{1,2}\.\d{1,2})(?:\.dev\d{8}|\.post\d)?(?:\+(?P<b>cu\d{2,3}|cpu))",
        rb"Name:torchVersion:(?P<v>\d\.\d{1,2}\.\d{1,2})(?:\+(?P<b>cu\d{2,3}|cpu))?",
        rb"(?:PyTorch|Torch|(?:\b|[^a-z_\-])(?:torch|pytorch))(?:version|Version)?(?:=|:|-|v|\()*(?P<v>[12]\.\d{1,2}(?:\.\d{1,2})?)(?:\.dev\d{8})?",
        rb"torch==(?P<v>[12]\.\d{1,2}\.\d{1,2})(?:\.dev\d{8})?",
        rb"youhave(?P<v>[12]\.\d{1,2}\.\d{1,2})\+(?P<b>cu\d{2,3}|cpu)",
    )
)
_DRIVER = Pattern(rb"(?:DriverVersion|driverversion|driver|Driver):?(\d{3}\.\d{2,3}(?:\.\d{2})?)")
_CUDA_OF_TORCH = Pattern(rb"CUDAusedtobuildPyTorch:(\d{1,2}\.\d)|torch\.version\.cuda[^\d]{0,6}(\d{1,2}\.\d)")
_CUDA_SAID = Pattern(rb"(?:CUDA|cuda)(?:version|Version|toolkit)?[:=v-]{0,3}(1[0-3]\.\d)")
_WINDOWS = Pattern(
    rb"[A-Z]:\\\\?(?:Users|Python|Program|[\w\- ]{1,40}\\\\)|win_amd64|\[WinError|\.pyd|[Ww]indows1[01]|\.dll"
)
_FIRST_SUPPORT = ComputeCapability(5, 0)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the log says: `capability` of the GPU, `gpu` as it is called, `targets` of torch, its version and build (cu124).

    `standing` is how the GPU stands to that torch; `driver` is "old" where the log's driver cannot serve them, else empty.
    """

    gpu: str = ""
    capability: ComputeCapability | None = None
    targets: tuple[Target, ...] = ()
    torch: str = ""
    build: str = ""
    standing: Standing = "unknown"
    driver: str = ""


def read_facts(text: bytes) -> Facts:
    """Read the facts out of squeezed text."""
    name, capability = _gpu(text)
    targets = _targets(text)
    torch, build = _torch(text)
    standing = _standing(capability, text, targets, torch, build)
    return Facts(name, capability, targets, torch, build, standing, _driver(text, name, capability, build))


def _driver(text: bytes, name: str, capability: ComputeCapability | None, build: str) -> str:
    """Say ``old`` where the driver that the log names knows the GPU not yet, or not the CUDA of torch."""
    match = _DRIVER.search(text)
    if not match or capability is None:
        return ""
    catalog = load_catalog()
    release = DriverRelease.parse(match[1].decode())
    product = catalog.find_product(name)
    gpu = Gpu(name, capability, "log", product.first_driver if product else None)
    platform = "win_amd64" if _WINDOWS.search(text) else ""
    needed = [catalog.first_driver_for(gpu, platform)]
    if re.fullmatch(r"cu\d{3}", build):
        needed.append(catalog.min_driver_for_cuda(CudaVersion.parse(build), platform))
    return "old" if any(first and release < first for first in needed) else ""


def _gpu(text: bytes) -> tuple[str, ComputeCapability | None]:
    """The GPU that the log is about: one that torch complains of, else the first that is named or numbered."""
    for pattern in _CAPABILITIES:
        if match := pattern.search(text):
            found = _capability(match)
            if found and (found in load_catalog().generations or found < _FIRST_SUPPORT):
                return _named(text, found), found
    names = list(_names(text))
    return names[0] if names else ("", None)


def _capability(match: Any) -> ComputeCapability | None:
    groups = {name.decode(): value.decode() for name, value in match.groupdict().items() if value}
    spelled = groups.get("sm") or groups.get("dot") or f"{groups.get('major')}.{groups.get('minor')}"
    try:
        return ComputeCapability.parse(spelled)
    except ValueError:
        return None


def _named(text: bytes, capability: ComputeCapability) -> str:
    return next((name for name, found in _names(text) if found == capability), "")


def _names(text: bytes) -> Iterator[tuple[str, ComputeCapability]]:
    seen: set[bytes] = set()
    for match in _GPU_NAME.finditer(text):
        if match[b"name"] in seen or _LONGER.match(text, match.end()):
            continue
        seen.add(match[b"name"])
        around = text[max(0, match.start() - 40) : match.end() + 12]
        bare = match[b"name"][:1].isdigit()
        if not (_BARE_CONTEXT if bare else _NAME_CONTEXT).search(around):
            continue
        name = match[b"name"].decode().lower()
        spelled = (f"rtx{name}", f"gtx{name}") if bare else (name,)
        if found := next((_by_squeezed_name()[way] for way in spelled if way in _by_squeezed_name()), None):
            yield found


@cache
def _by_squeezed_name() -> dict[str, tuple[str, ComputeCapability]]:
    """Products by the name that squeezed text holds: rtx5090."""
    found: dict[str, tuple[str, ComputeCapability]] = {}
    extra = {
        "teslat4": "T4",
        "dgxspark": "GB10 (DGX Spark)",
        "gb10": "GB10 (DGX Spark)",
        "h100": "H100 PCIe",
        "teslam60": "M60",
        "teslam40": "M40",
    }
    by_name = {product.name: product.capability for product in load_catalog().products}
    for name, capability in by_name.items():
        short = re.sub(r"^(?:GeForce|NVIDIA|Tesla) ", "", name)
        found.setdefault(short.replace(" ", "").lower(), (name, capability))
    for squeezed, name in extra.items():
        if name in by_name:
            found[squeezed] = (name, by_name[name])
    found["teslak80"] = ("Tesla K80", ComputeCapability(3, 7))
    return found


def _targets(text: bytes) -> tuple[Target, ...]:
    for pattern in (_TORCH_LIST, _ARCH_LIST):
        if match := pattern.search(text):
            return tuple(Target.parse(word) for word in _TARGET.findall(match[1].decode()))
    return ()


def _torch(text: bytes) -> tuple[str, str]:
    """Version and build of torch, as the surest place says; empty where none does."""
    for pattern in _TORCH_VERSIONS:
        if match := pattern.search(text):
            build = match.groupdict().get(b"b") or _said_build(text)
            return match[b"v"].decode(), build.decode()
    return "", ""


def _said_build(text: bytes) -> bytes:
    match = _CUDA_OF_TORCH.search(text) or _CUDA_SAID.search(text)
    number = next((group for group in match.groups() if group), b"") if match else b""
    return b"cu" + number.replace(b".", b"") if number else b""


def _standing(
    device: ComputeCapability | None, text: bytes, targets: tuple[Target, ...], torch: str, build: str
) -> Standing:
    if device is None:
        return "older" if _MINIMUM.search(text) else "unknown"
    if (found := _by_targets(device, targets)) != "unknown" or (found := _by_bounds(device, text)) != "unknown":
        return found
    return _by_catalog(device, torch, build, "win_amd64" if _WINDOWS.search(text) else "linux_x86_64")


def _by_targets(device: ComputeCapability, targets: Iterable[Target]) -> Standing:
    listed = tuple(targets)
    if not listed:
        return "unknown"
    if any(judge_code(target, device).runs for target in listed):
        return "covered"
    return "older" if device < min(target.capability for target in listed) else "newer"


def _by_bounds(device: ComputeCapability, text: bytes) -> Standing:
    if match := _BOUNDS.search(text):
        low, high = (ComputeCapability.parse(bound.decode()) for bound in match.groups())
        if device < low:
            return "older"
        return "newer" if device > high and device.major > high.major else "covered"
    if match := _MINIMUM.search(text):
        return "older" if device < ComputeCapability.parse(match[1].decode()) else "unknown"
    return "unknown"


def _by_catalog(device: ComputeCapability, torch: str, build: str, platform: str) -> Standing:
    """By the builds of this release that are known; where they disagree and none is named, nobody can tell."""
    wanted = torch if torch.count(".") == 2 else f"{torch}.0"
    rows = [row for row in load_catalog().builds if row.torch == wanted and row.cuda and row.platform == platform]
    named = [row for row in rows if row.variant == build] or rows
    if not torch or not named:
        return "unknown"
    stands = {_by_targets(device, row.targets) for row in named}
    return stands.pop() if len(stands) == 1 else "unknown"
