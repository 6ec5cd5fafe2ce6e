"""Machines that people have, one a line in ``scenarios.txt``: the first way out, and what must be refused with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.version import Version

from archfit.arch import ComputeCapability, CudaVersion, Target
from archfit.model import CodeObject, Container, Distribution, Environment, Known, Library, Option, Plan, Unknown
from archfit.planner import PlanWish, plan
from archfit.report.messages import Messages
from worlds import CATALOG, diagnosis_of, driver, world

ENGLISH = Messages("en")
PLATFORMS = {"x86": "linux_x86_64", "arm": "linux_aarch64", "win": "win_amd64"}


@dataclass(frozen=True, slots=True)
class Scenario:
    line: int
    gpus: tuple[str, ...]
    driver: str
    python: str
    platform: str
    installed: tuple[str, ...]
    strategy: str
    first: str
    refused: tuple[tuple[str, str], ...]
    also: tuple[str, ...]


def scenarios() -> Iterator[Scenario]:
    text = Path(__file__).with_name("scenarios.txt").read_text("utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        gpus, release, python, platform, installed, strategy, first, refused, also = (
            c.strip() for c in line.split("|")
        )
        rows = tuple(
            (name.strip(), key.strip()) for name, key in (row.split(": ") for row in refused.split(";") if row)
        )
        yield Scenario(
            number,
            tuple(name.strip() for name in gpus.split(" + ")),
            release,
            python,
            PLATFORMS[platform],
            tuple(installed.split()),
            strategy,
            first,
            rows,
            tuple(key.strip() for key in also.split(";") if key.strip()),
        )


SCENARIOS = tuple(scenarios())


def code(path: str, targets: tuple[Target, ...]) -> Library:
    """A library that holds exactly this machine code, and is compiled against torch."""
    objects = tuple(CodeObject("ptx" if t.kind == "ptx" else "sass", t, None, None, has_kernels=True) for t in targets)
    containers = (Container(objects, registered=True, count=100),) if objects else ()
    return Library(path, 1, ("libc10.so", "libtorch_cuda.so"), containers)


def torch_of(version: str, variant: str, platform: str) -> list[Distribution]:
    """A torch with what its row of the catalog says is in it, and the torchvision that belongs to it."""
    rows = [b for b in CATALOG.builds if (b.torch, b.variant, b.platform) == (version, variant, platform)]
    targets = rows[0].targets if rows else ()
    main = "torch/lib/libtorch_cuda.so" if targets else "torch/lib/libtorch_cpu.so"
    vision = CATALOG.releases[version].torchvision[-1]
    return [
        Distribution("torch", version, (), ("torch",), (code(main, targets),)),
        Distribution(
            "torchvision", vision, (f"torch=={version}",), ("torchvision",), (code("torchvision/_C.so", targets),)
        ),
    ]


def beside(word: str, targets: tuple[Target, ...]) -> Distribution:
    """``mmcv==2.2.0``: compiled against torch, with its GPUs; ``vllm:torch==2.4.1``: only asks for something."""
    if ":" in word:
        name, _, wants = word.partition(":")
        return Distribution(name, "1.0", (wants,))
    name, _, version = word.partition("==")
    return Distribution(name, version, (), (name,), (code(f"{name}/_ext.so", targets),))


def environment(s: Scenario) -> Environment:
    first, *others = s.installed
    version, _, variant = first.partition("+")
    packages = [] if version == "none" else torch_of(version, variant, s.platform)
    old = tuple(Target(ComputeCapability.parse(text)) for text in ("5.0", "6.0", "7.0", "7.5", "8.0", "8.6", "9.0"))
    packages += [beside(word, old) for word in others]
    release, _, module = s.driver.partition(" ")
    known = variant.startswith("cu")
    facts = {"driver": driver(release, open_module=False if module else None)} if release != "-" else {}
    return world(
        *(packages or [Distribution("numpy", "1.26.4")]),
        on=s.gpus,
        tag=s.python,
        platform=s.platform,
        torch_cuda=Known(CudaVersion.parse(variant), "torch/version.py") if known else Unknown(_vendor(variant)),
        **facts,
    )


def _vendor(variant: str) -> str:
    return "built for ROCm" if variant.startswith("rocm") else "built without CUDA"


def told(option: Option) -> str:
    """An option in the words of the table."""
    if option.kind == "upgrade" and option.torch and option.torch.cuda:
        where = "PyPI" if option.torch.index == "PyPI" else "index"
        cuda = CudaVersion.parse(option.torch.cuda)
        return f"upgrade {option.torch.version}+cu{cuda.major}{cuda.minor} {where}"
    if option.kind == "driver":
        return f"driver {option.steps[0].wanted}"
    if option.kind == "source-build":
        return f"source-build {option.summary.values['cuda']}"
    if option.kind == "rebuild":
        new = option.steps[0]
        return f"rebuild python {new.wanted}" if new.package == "python" else f"rebuild {new.package}"
    return option.kind


def named(s: Scenario) -> str:
    return f"line {s.line}: {' + '.join(s.gpus)}, {s.driver}, {s.python}, {s.platform}, {' '.join(s.installed)}, {s.strategy}"


def planned(s: Scenario) -> Plan:
    return plan(diagnosis_of(environment(s)), CATALOG, PlanWish(s.strategy))  # type: ignore[arg-type]


def names_in(text: str) -> set[str]:
    """Everything that a rejected row names: ``torch 2.8.0 to 2.9.1+cu128`` names 2.8.0, 2.8.0+cu128, 2.9.0 and so on."""
    found = set(re.split(r"[ ,]+", text))
    for first, last, variant in re.findall(r"torch (\S+) to (\S+?)\+(\w+)", text):
        inside = [r for r in CATALOG.releases if Version(first) <= Version(r) <= Version(last)]
        found |= {*inside, *(f"{release}+{variant}" for release in inside)}
    for release, variant in re.findall(r"torch (\S+?)\+(\w+)", text):
        found |= {release, f"{release}+{variant}"}
    return found


@pytest.mark.parametrize("s", SCENARIOS, ids=named)
def test_the_first_way_out(s: Scenario) -> None:
    assert told(planned(s).options[0]) == s.first


@pytest.mark.parametrize("s", [s for s in SCENARIOS if s.refused], ids=named)
def test_what_is_refused_and_why(s: Scenario) -> None:
    rows = [(names_in(ENGLISH.text(r.option)), r.why.key) for r in planned(s).rejected]
    missing = [pair for pair in s.refused if not any(pair[0] in names and pair[1] == why for names, why in rows)]
    assert missing == [], [(ENGLISH.text(r.option), r.why.key) for r in planned(s).rejected]


@pytest.mark.parametrize("s", [s for s in SCENARIOS if s.also], ids=named)
def test_what_must_be_said(s: Scenario) -> None:
    found = planned(s)
    said = {
        *(u.text.key for u in found.unsolved),
        *(n.key for n in found.notices),
        *(r.key for r in found.options[0].risks),
    }
    assert set(s.also) - said == set()


def test_there_are_enough() -> None:
    assert len(SCENARIOS) >= 60
