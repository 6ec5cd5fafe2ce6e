"""``archfit scan`` of a source package: for which GPUs it compiles and who chooses them, with the lines that say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text as Styled

from archfit.arch import ComputeCapability, Verdict
from archfit.buildscript import BuildScript, Spot, append_flags
from archfit.catalog import load_catalog
from archfit.model import Subject
from archfit.report.messages import Messages
from archfit.report.screen import Screen

_SPOTS = 3
_NEWEST_STANDARD = 20  # docs/building-torch.md: what the headers of torch ask for from 2.14 on


@dataclass(frozen=True, slots=True)
class BuildLine:
    """One thing that the build files say: `mark` as `Screen.mark` names them, and the lines of the files that say it."""

    mark: str
    text: str
    spots: tuple[Spot, ...] = ()


def show_build(screen: Screen, subject: Subject, build: BuildScript, devices: Sequence[ComputeCapability]) -> None:
    """What the build files of a source package say."""
    ui = screen.messages.ui
    screen.out.print(Styled(subject.file, style="bold"), Styled(ui("scan-kind-sdist"), style="dim"), sep="  ")
    screen.say(ui("build-sum", sources=f"{build.sources:,}"), "dim")
    for line in build_lines(screen.messages, build, devices):
        screen.hanging(screen.mark(line.mark), line.text, indent=0)
        for spot in line.spots[:_SPOTS]:
            screen.hanging(Styled(" "), Styled(f"{spot.file}:{spot.line}: {spot.text}", style="dim"), indent=2)
        if len(line.spots) > _SPOTS:
            screen.hanging(Styled(" "), Styled(f"… (+{len(line.spots) - _SPOTS})", style="dim"), indent=2)


def build_markdown(messages: Messages, build: BuildScript, devices: Sequence[ComputeCapability]) -> list[str]:
    """The same for an issue."""
    lines = [messages.ui("build-sum", sources=f"{build.sources:,}"), ""]
    for line in build_lines(messages, build, devices):
        lines += [f"- {line.text}", *(f"  - `{s.file}:{s.line}`: `{s.text}`" for s in line.spots)]
    return lines


def build_lines(messages: Messages, build: BuildScript, devices: Sequence[ComputeCapability]) -> tuple[BuildLine, ...]:
    """Who chooses the GPUs, which stand in the sources, what the build asks for."""
    ui = messages.ui
    variable = build.own_variable or "TORCH_CUDA_ARCH_LIST"
    mark = {"hard-coded": "warn", "computed": "warn"}.get(build.choice, "good")
    lines = [BuildLine(mark, ui(f"build-{build.choice}", variable=variable))]
    if build.targets:
        named = " ".join(map(str, build.targets))
        lines.append(BuildLine("none", ui("build-listed", targets=named), tuple(f.spot for f in build.flags)))
        lines += _lacking(messages, build, devices)
    if build.computed and build.choice == "computed":
        lines.append(BuildLine("none", ui("build-computes"), build.computed))
    if (asked := build.newest_standard) and asked[0] < _NEWEST_STANDARD:
        lines.append(BuildLine("none", ui("build-standard", standard=f"c++{asked[0]}"), (asked[1],)))
    if spot := build.imports.get("pkg_resources"):
        lines.append(BuildLine("none", ui("build-pkg-resources"), (spot,)))
    if "torch" in build.imports:
        lines.append(BuildLine("none", ui("build-imports-torch")))
    return tuple(lines)


def _lacking(messages: Messages, build: BuildScript, devices: Sequence[ComputeCapability]) -> list[BuildLine]:
    """GPUs for which the list has nothing, and how nvcc adds them."""
    lacking = [device for device, verdict in verdicts(build, devices).items() if verdict is Verdict.NONE]
    if not lacking:
        return []
    lines = [BuildLine("bad", messages.ui("build-lacks", targets=" ".join(device.sm for device in lacking)))]
    if build.choice == "hard-coded":
        lines.append(BuildLine("none", messages.ui("build-append", flags=append_flags(lacking))))
    return lines


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
