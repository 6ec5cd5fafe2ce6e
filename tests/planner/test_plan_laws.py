"""Laws over every plan: all products, drivers, Pythons and platforms."""

from __future__ import annotations

import re
import shlex
from functools import cache
from itertools import product

import pytest

from archfit.arch import ComputeCapability, Verdict
from archfit.catalog import Build
from archfit.checks import diagnose
from archfit.model import DriverRelease, Gpu, Known, Option, Plan
from archfit.planner import PlanWish, plan
from archfit.report.messages import Messages
from worlds import CATALOG, NEW, audio, driver, extension, gpus, torch, vision, world

GENERATIONS = sorted(CATALOG.generations)
DRIVERS = (None, "450.80.02", "525.60.13", "550.54.14", "570.86.16", "575.64.03", "580.65.06", "580.142", "610.43.02")
WHEELS = (
    *product(("cp38", "cp39", "cp311", "cp313t", "cp314", "cp315"), ("linux_x86_64",)),
    ("cp311", "linux_aarch64"),
    ("cp311", "win_amd64"),
)
OLD_WORLD = world(torch(), vision(), audio(), extension())
NEW_WORLD = world(torch("2.13.0", NEW), vision("0.28.0", "torch==2.13.0", NEW), cuda="13.0")

Case = tuple[ComputeCapability, str | None, tuple[str, str], Plan]


@cache
def every_plan() -> tuple[Case, ...]:
    """Two environments, on every generation, with every driver; Python and platform vary on three of the drivers."""
    cases = []
    for env, capability, release in product((OLD_WORLD, NEW_WORLD), GENERATIONS, DRIVERS):
        there = world(
            *env.distributions,
            on=capability.sm,
            release=release,
            cuda=str(env.torch_cuda.value) if isinstance(env.torch_cuda, Known) else None,
        )
        diagnosis = diagnose(there, CATALOG)
        wheels = WHEELS if release in (None, "570.86.16", "580.65.06") else (("cp311", "linux_x86_64"),)
        for tag, platform in wheels:
            cases.append(
                (capability, release, (tag, platform), plan(diagnosis, CATALOG, PlanWish("nearest", tag, platform)))
            )
    return tuple(cases)


def told(case: Case) -> str:
    capability, release, wheel, _ = case
    return f"{capability} on {release} with {wheel}"


def build_of(option: Option, platform: str) -> Build | None:
    """The row of the catalog that an upgrade option installs; None for options that leave torch alone."""
    if option.kind != "upgrade" or not any(s.package == "torch" for s in option.steps) or option.torch is None:
        return None
    wanted = (option.torch.version, option.torch.cuda, option.torch.index, platform)
    return next(b for b in CATALOG.builds if (b.torch, str(b.cuda), b.index, b.platform) == wanted)


def offered() -> list[tuple[Case, Option, Build]]:
    return [
        (case, option, build)
        for case in every_plan()
        for option in case[3].options
        if (build := build_of(option, case[2][1]))
    ]


def test_there_is_something_to_judge() -> None:
    assert len(every_plan()) == 2 * len(GENERATIONS) * (3 * len(WHEELS) + len(DRIVERS) - 3)
    assert len(offered()) > 500


def test_every_build_serves_every_gpu_with_machine_code() -> None:
    verdicts = {(told(c), b.torch, b.variant): b.verdict(c[0]) for c, _, b in offered()}
    assert {k: v for k, v in verdicts.items() if v not in (Verdict.NATIVE, Verdict.COMPATIBLE)} == {}


def test_every_build_can_be_installed() -> None:
    assert [(told(c), b.torch) for c, _, b in offered() if c[2][0] not in b.python_tags or c[2][1] != b.platform] == []


def test_every_build_loads_on_the_driver_or_the_driver_comes_first() -> None:
    for case, option, build in offered():
        _, release, _, found = case
        if release is None or found.options[0].kind == "driver":
            continue
        floor = CATALOG.min_driver_for_cuda(build.cuda, build.platform) if build.cuda else None
        assert floor is not None
        assert floor <= DriverRelease.parse(release), (told(case), build.torch, build.variant)
        assert option.requires.driver is not None
        assert option.requires.driver <= DriverRelease.parse(release), (told(case), build.torch)


def test_every_option_says_which_driver_it_needs() -> None:
    short = [
        (told(case), build.torch, str(option.requires.driver))
        for case, option, build in offered()
        if (floor := CATALOG.min_driver_for_cuda(build.cuda, build.platform) if build.cuda else None)
        and (option.requires.driver is None or option.requires.driver < floor)
    ]
    assert short == []


def test_every_option_has_commands_unless_there_is_nothing_to_do() -> None:
    bare = [(told(c), o.kind) for c in every_plan() for o in c[3].options if not (o.pip and o.uv) and o.kind != "none"]
    assert bare == []


def test_every_command_can_be_pasted_into_a_shell() -> None:
    commands = {c for case in every_plan() for o in case[3].options for c in (*o.pip, *o.uv)}
    assert {c for c in commands if not shlex.split(c, comments=True)} == set()


def test_every_option_is_told_once() -> None:
    doubled = []
    for case in every_plan():
        summaries = [(o.kind, o.summary.key, *sorted(o.summary.values.items())) for o in case[3].options]
        doubled += [told(case)] if len(set(summaries)) != len(summaries) else []
    assert doubled == []


def test_no_option_is_also_rejected() -> None:
    """A variant whose compiler cannot make code for the GPU is never offered, and nothing the driver blocks either."""
    contradictions = []
    for case, option, build in offered():
        for rejected in case[3].rejected:
            option = Messages("en").text(rejected.option)
            variants = re.findall(r"(?<![\w/+])cu\d{3}", option.split(" (stable")[0])
            named = f"torch {build.torch}+{build.variant}" in option.split(", ")
            if named or (rejected.why.key.startswith("toolkit") and build.variant in variants):
                contradictions.append((told(case), option.summary.values["torch"], build.variant))
    assert contradictions == []


def test_a_plan_ends_with_the_cpu_or_has_nothing_to_do() -> None:
    assert {case[3].options[-1].kind for case in every_plan()} == {"cpu", "none"}


def kinds(case: Case) -> list[str]:
    return [o.kind for o in case[3].options]


def test_what_no_build_solves_is_said() -> None:
    """Torch must move, and neither a build nor a driver that loads one solves it: then the plan says so."""
    silent = [
        told(case)
        for case in every_plan()
        if "source-build" in kinds(case)
        and not {"upgrade", "driver"} & set(kinds(case))
        and [u for u in case[3].unsolved if u.text.key == "no-build"] == []
    ]
    assert silent == []


def test_the_same_question_has_the_same_answer() -> None:
    for env in (OLD_WORLD, NEW_WORLD):
        first, second = (plan(diagnose(env, CATALOG), CATALOG, PlanWish()) for _ in range(2))
        assert first == second


def test_every_product_has_a_plan() -> None:
    """As the driver names them; the plan is that of the generation."""
    ends = {}
    for row in CATALOG.products:
        env = world(gpus=Known((Gpu(row.name, row.capability, "nvml", row.first_driver),), "nvml"))
        ends[row.name] = plan(diagnose(env, CATALOG), CATALOG, PlanWish()).options[-1].kind
    assert {name: kind for name, kind in ends.items() if kind not in ("cpu", "none")} == {}


@pytest.mark.parametrize("name", ["RTX 5090", "RTX 5070", "RTX 5050", "B200", "B300", "GB10"])
def test_the_first_driver_of_the_product_is_the_floor(name: str) -> None:
    (gpu,) = gpus(name).value
    found = plan(diagnose(world(on=name, driver=driver("550.54.14")), CATALOG), CATALOG, PlanWish())
    assert found.options[0].kind == "driver"
    assert found.options[0].requires.driver == CATALOG.first_driver_for(gpu)
