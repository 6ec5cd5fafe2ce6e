"""``archfit scan`` of a source package: for which GPUs it compiles and who chooses them, with the lines that say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text as Styled

from archfit.arch import ComputeCapability, Verdict
from archfit.buildscript import BuildScript, Spot, append_flags
from archfit.catalog import load_catalog
from archfit.model import Subject
from archfit.report.screen import Screen

_SPOTS = 3
_NEWEST_STANDARD = 20  # docs/building-torch.md: what the headers of torch ask for from 2.14 on


def show_build(screen: Screen, subject: Subject, build: BuildScript, devices: Sequence[ComputeCapability]) -> None:
    """What the build files of a source package say."""
    ui = screen.messages.ui
    screen.out.print(Styled(subject.file, style="bold"), Styled(ui("scan-kind-sdist"), style="dim"), sep="  ")
    screen.say(ui("build-sum", sources=f"{build.sources:,}"), "dim")
    variable = build.own_variable or "TORCH_CUDA_ARCH_LIST"
    mark = {"hard-coded": "warn", "computed": "warn"}.get(build.choice, "good")
    screen.hanging(screen.mark(mark), ui(f"build-{build.choice}", variable=variable), indent=0)
    if build.targets:
        _spots(screen, ui("build-listed", targets=" ".join(map(str, build.targets))), [f.spot for f in build.flags])
        lacking = [device for device, verdict in verdicts(build, devices).items() if verdict is Verdict.NONE]
        if lacking:
            named = " ".join(device.sm for device in lacking)
            screen.hanging(screen.mark("bad"), ui("build-lacks", targets=named), indent=0)
            if build.choice == "hard-coded":
                screen.hanging(Styled(" "), ui("build-append", flags=append_flags(lacking)), indent=0)
    if build.computed and build.choice == "computed":
        _spots(screen, ui("build-computes"), build.computed)
    if (asked := build.newest_standard) and asked[0] < _NEWEST_STANDARD:
        _spots(screen, ui("build-standard", standard=f"c++{asked[0]}"), [asked[1]])
    if spot := build.imports.get("pkg_resources"):
        _spots(screen, ui("build-pkg-resources"), [spot])
    if "torch" in build.imports:
        screen.hanging(Styled(" "), ui("build-imports-torch"), indent=0)


def verdicts(build: BuildScript, devices: Sequence[ComputeCapability]) -> dict[ComputeCapability, Verdict]:
    """What the list in the sources can do on each GPU, with the newest toolkit; empty where there is no list."""
    newest = load_catalog().toolkits[-1].cuda
    return {device: build.verdict(device, newest) for device in devices} if build.flags else {}


def build_document(build: BuildScript, devices: Sequence[ComputeCapability]) -> dict[str, Any]:
    """The key ``build`` of ``archfit.scan/1``."""
    return {
        "choice": build.choice,
        "variable": build.own_variable or ("TORCH_CUDA_ARCH_LIST" if build.choice == "torch" else None),
        "gpu_sources": build.sources,
        "flags": [
            {
                "targets": [str(t) for t in flag.targets],
                "since": str(flag.since) if flag.since else None,
                **_spot(flag.spot),
            }
            for flag in build.flags
        ],
        "computed": [_spot(spot) for spot in build.computed],
        "variables": [{"name": name, **_spot(spot)} for name, spot in build.variables.items()],
        "standards": [{"standard": f"c++{number}", **_spot(spot)} for number, spot in build.standards],
        "imports": [{"name": name, **_spot(spot)} for name, spot in build.imports.items() if name in _TELLING],
        "verdicts": {device.sm: verdict.value for device, verdict in verdicts(build, devices).items()},
    }


_TELLING = ("torch", "pkg_resources", "numpy")


def _spot(spot: Spot) -> dict[str, Any]:
    return {"file": spot.file, "line": spot.line, "text": spot.text}


def _spots(screen: Screen, sentence: str, spots: Sequence[Spot]) -> None:
    screen.hanging(Styled(" "), sentence, indent=0)
    for spot in spots[:_SPOTS]:
        screen.hanging(Styled(" "), Styled(f"{spot.file}:{spot.line}: {spot.text}", style="dim"), indent=2)
    if len(spots) > _SPOTS:
        screen.hanging(Styled(" "), Styled(f"… (+{len(spots) - _SPOTS})", style="dim"), indent=2)
