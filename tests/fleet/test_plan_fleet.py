"""Which builds serve which fleets, against the real rows of the catalog."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfit.arch import Verdict
from archfit.fleet.cover import smallest_covers
from archfit.fleet.plan import plan_fleet
from archfit.model import FleetPlan
from fleet_worlds import Report, nodes_of, report
from worlds import CATALOG


def plan_of(*reports: Report) -> FleetPlan:
    return plan_fleet(nodes_of(*reports), CATALOG)


def builds_of(plan: FleetPlan, number: int = 0) -> dict[str, str]:
    """The nodes of each build of a choice, by name."""
    return {
        f"{a.build.torch}+{a.build.variant} {a.build.platform}": " ".join(a.nodes)
        for a in plan.choices[number].assignments
    }


def moves_of(plan: FleetPlan, number: int = 0) -> dict[str, tuple[str, str]]:
    moves = (move for a in plan.choices[number].assignments for move in a.moves)
    return {name: (move.current, str(move.needed)) for move in moves for name in move.nodes}


@dataclass(frozen=True)
class Scenario:
    """A fleet and what must be said of it."""

    reports: list[Report]
    builds: dict[str, str]
    kinds: tuple[str, ...] = ("smallest",)
    moves: dict[str, tuple[str, str]] = field(default_factory=dict)
    unserved: dict[str, str] = field(default_factory=dict)
    window: tuple[str | None, int | None, bool] = (None, None, True)


X86, ARM, WIN = "linux_x86_64", "linux_aarch64", "win_amd64"

SCENARIOS: dict[str, Scenario] = {
    "equal nodes that work keep what they have": Scenario(
        [report("a", "H100"), report("b", "H100")],
        {f"2.4.1+cu121 {X86}": "a b"},
        kinds=("smallest", "newest"),
        window=("525.60.13", None, True),
    ),
    "V100 and RTX 5090: one build, one driver branch": Scenario(
        [report("a", "V100", "535.104.05"), report("b", "RTX 5090", "570.86.16")],
        {f"2.8.0+cu128 {X86}": "a b"},
        kinds=("smallest", "newest"),
        window=("570.86.16", 580, True),
    ),
    "V100 and RTX 5090 on a driver that dropped V100": Scenario(
        [report("a", "V100", "590.44.01"), report("b", "RTX 5090", "590.44.01")],
        {f"2.8.0+cu128 {X86}": "a b"},
        kinds=("smallest", "newest"),
        moves={"a": ("590.44.01", "525.60.13")},
        window=("570.86.16", 580, True),
    ),
    "GB10 and H200: two platforms, one release": Scenario(
        [report("a", "GB10", "580.95.05", platform=ARM), report("b", "H200", "580.65.06")],
        {f"2.11.0+cu130 {ARM}": "a", f"2.11.0+cu130 {X86}": "b"},
        kinds=("smallest", "newest"),
        window=("580.94.13", None, True),
    ),
    "driver 535 everywhere, nothing newer than Hopper": Scenario(
        [report("a", "V100", "535.104.05"), report("b", "A100", "535.104.05"), report("c", "H100", "535.104.05")],
        {f"2.4.1+cu121 {X86}": "a b c"},
        kinds=("smallest", "newest"),
        window=("525.60.13", 580, True),
    ),
    "driver 535 everywhere and one RTX 5090: only its driver moves": Scenario(
        [report("a", "A100", "535.104.05"), report("b", "RTX 5090", "535.104.05")],
        {f"2.8.0+cu128 {X86}": "a b"},
        kinds=("smallest", "newest"),
        moves={"b": ("535.104.05", "570.86.16")},
        window=("570.86.16", None, True),
    ),
    "one Windows node": Scenario(
        [
            report("a", "RTX 4090", platform=WIN, libc=None, torch="2.8.0", cuda="12.8"),
            report("b", "H100", torch="2.8.0", cuda="12.8"),
        ],
        {f"2.8.0+cu128 {X86}": "b", f"2.8.0+cu128 {WIN}": "a"},
        kinds=("smallest", "newest"),
        window=("525.60.13", None, True),
    ),
    "Pascal and Blackwell: no single build": Scenario(
        [report("a", "GTX 1080 Ti", "535.104.05"), report("b", "RTX 5090", "580.65.06")],
        {f"2.7.1+cu128 {X86}": "b", f"2.7.1+cu126 {X86}": "a"},
        kinds=("smallest", "newest", "one-build"),
        window=("570.86.16", 580, True),
    ),
    "an old driver that must stay: two builds, or one if it moves": Scenario(
        [report("a", "A100", "470.82.01"), report("b", "RTX 5090", "570.86.16")],
        {f"2.7.1+cu128 {X86}": "b", f"2.7.1+cu118 {X86}": "a"},
        kinds=("smallest", "fewer-builds", "one-build"),
        window=("570.86.16", None, True),
    ),
    "two GPUs in one node that no driver drives together": Scenario(
        [report("a", ["GTX 1080 Ti", "RTX 5090"]), report("b", "H100")],
        {f"2.4.1+cu121 {X86}": "b"},
        kinds=("smallest", "newest"),
        unserved={"a": "modules-clash"},
        window=("525.60.13", None, True),
    ),
    "a Python that no wheel is for": Scenario(
        [report("a", "RTX 5090", tag="cp38"), report("b", "RTX 5090")],
        {f"2.8.0+cu128 {X86}": "b"},
        kinds=("smallest", "newest"),
        unserved={"a": "fleet-no-wheel"},
        window=("570.86.16", None, True),
    ),
    "different Pythons are no reason for two builds": Scenario(
        [report("a", "RTX 5090", tag="cp39"), report("b", "RTX 5090", tag="cp313"), report("c", "H100", tag="cp310")],
        {f"2.8.0+cu128 {X86}": "a b c"},
        window=("570.86.16", None, True),
    ),
    "Pythons that no single build is for": Scenario(
        [report("a", "A100", tag="cp38"), report("b", "A100", tag="cp314")],
        {f"2.9.1+cu128 {X86}": "b", f"2.4.1+cu121 {X86}": "a"},
        kinds=("smallest", "newest", "one-build"),
        window=("525.60.13", None, True),
    ),
    "an old glibc": Scenario(
        [report("a", "RTX 5090", libc="glibc 2.17"), report("b", "A100", libc="glibc 2.17"), report("c", "RTX 5090")],
        {f"2.8.0+cu128 {X86}": "c", f"2.4.1+cu121 {X86}": "b"},
        kinds=("smallest", "newest", "one-build"),
        unserved={"a": "fleet-old-glibc"},
        window=("570.86.16", None, True),
    ),
    "a C library that is not glibc says nothing about glibc": Scenario(
        [report("a", "RTX 5090", libc=None)],
        {f"2.8.0+cu128 {X86}": "a"},
        kinds=("smallest", "newest"),
        window=("570.86.16", None, True),
    ),
    "a Jetson Orin beside servers": Scenario(
        [report("a", "sm_87", platform=ARM), report("b", "H100")],
        {f"2.15.0+cu132 {ARM}": "a", f"2.15.0+cu132 {X86}": "b"},
        window=("580.65.06", None, True),
    ),
    "a GPU that no build knows": Scenario(
        [report("a", "Tegra X1=5.3", platform=ARM), report("b", "H100")],
        {f"2.4.1+cu121 {X86}": "b"},
        kinds=("smallest", "newest"),
        unserved={"a": "fleet-no-code"},
        window=("525.60.13", None, True),
    ),
    "a platform without CUDA builds": Scenario(
        [report("a", "H100", platform="linux_ppc64le"), report("b", "H100")],
        {f"2.4.1+cu121 {X86}": "b"},
        kinds=("smallest", "newest"),
        unserved={"a": "fleet-no-platform"},
        window=("525.60.13", None, True),
    ),
    "nodes whose Python is broken": Scenario(
        [report("a", "H100", tag=None, platform=None), report("b", "H100")],
        {f"2.4.1+cu121 {X86}": "b"},
        kinds=("smallest", "newest"),
        unserved={"a": "fleet-no-python"},
        window=("525.60.13", None, True),
    ),
    "drivers that are not known block nothing": Scenario(
        [report("a", "RTX 5090", None), report("b", "V100", None)],
        {f"2.8.0+cu128 {X86}": "a b"},
        kinds=("smallest", "newest"),
        window=("570.86.16", 580, True),
    ),
    "login nodes without a GPU need nothing": Scenario([report("a", "", None), report("b", "", None)], {}, kinds=()),
    "no torch anywhere: the newest": Scenario(
        [report("a", "RTX 5090", torch=None, cuda=None), report("b", "H100", torch=None, cuda=None)],
        {f"2.15.0+cu132 {X86}": "a b"},
        window=("580.65.06", None, True),
    ),
    "newer torch is not taken away": Scenario(
        [report("a", "RTX 5090", torch="2.9.1", cuda="12.8"), report("b", "H100", torch="2.4.1", cuda="12.1")],
        {f"2.9.1+cu128 {X86}": "a b"},
        kinds=("smallest", "newest"),
        window=("570.86.16", None, True),
    ),
    "everything from Maxwell to Blackwell": Scenario(
        [
            report("a", "GTX 980 Ti", "535.104.05"),
            report("b", "P100", "535.104.05"),
            report("c", "V100", "535.104.05"),
            report("d", "T4", "535.104.05"),
            report("e", "RTX 4090", "550.54.14"),
            report("f", "B200", "570.133.20"),
            report("g", "RTX 5090", "580.65.06"),
        ],
        {f"2.7.1+cu126 {X86}": "a b c d e", f"2.7.1+cu128 {X86}": "f g"},
        kinds=("smallest", "newest", "one-build"),
        window=("570.86.16", 580, True),
    ),
    "GH200 and GB200 and x86": Scenario(
        [report("a", "GH200", platform=ARM), report("b", "GB200", platform=ARM), report("c", "B200")],
        {f"2.11.0+cu130 {ARM}": "a b", f"2.11.0+cu130 {X86}": "c"},
        kinds=("smallest", "newest"),
        window=("580.65.06", None, True),
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios(name: str) -> None:
    scenario = SCENARIOS[name]
    plan = plan_of(*scenario.reports)
    window = plan.choices[0].window if plan.choices else None
    found = Scenario(
        scenario.reports,
        builds_of(plan) if plan.choices else {},
        tuple(choice.kind for choice in plan.choices),
        moves_of(plan) if plan.choices else {},
        {name: row.why.key for row in plan.unserved for name in row.nodes},
        (str(window.floor) if window and window.floor else None, window.last, window.fits)
        if window
        else (None, None, True),
    )
    assert found == scenario


def test_there_are_at_least_twenty_scenarios() -> None:
    assert len(SCENARIOS) >= 20


def test_a_second_choice_says_what_it_gives_up() -> None:
    plan = plan_of(report("a", "A100", "470.82.01"), report("b", "RTX 5090", "570.86.16"))
    given = {c.kind: {text.key: text.values.get("count") for text in c.gives_up} for c in plan.choices}
    assert given == {
        "smallest": {"fleet-changes-torch": "2", "fleet-not-on-pypi": None},
        "fewer-builds": {"fleet-moves-drivers": "1", "fleet-changes-torch": "2"},
        "one-build": {"fleet-leaves-out": "1", "fleet-changes-torch": "1"},
    }


def test_the_modules_that_nodes_need_are_told() -> None:
    window = plan_of(report("a", "GTX 1080 Ti"), report("b", "RTX 5090"), report("c", "H100")).choices[0].window
    assert (window.open_only, window.closed_only) == (("b",), ("a",))


# --- images ----------------------------------------------------------------------------------------------------------


def images(*reports: Report) -> FleetPlan:
    return plan_fleet(nodes_of(*reports), CATALOG, image=True)


def test_one_image_for_two_platforms_and_all_generations() -> None:
    plan = images(
        report("a", "H200", tag="cp37", libc="glibc 2.17"), report("b", "RTX 4090"), report("c", "GB10", platform=ARM)
    )
    (image,) = plan.images
    assert [(b.torch, b.variant, b.platform) for b in image.builds] == [
        ("2.11.0", "cu130", ARM),
        ("2.11.0", "cu130", X86),
    ]
    assert (image.arch_list, image.python, str(image.toolkit)) == ("8.9;9.0;12.1", "3.11", "13.0")
    assert (str(image.window.floor), image.window.last) == ("580.94.13", None)
    assert image.recipe.startswith("FROM python:3.11-slim\n")
    assert "RUN pip install --no-cache-dir torch==2.11.0 torchvision==0.26.0" in image.recipe
    assert [row.why.key for row in plan.unserved] == ["fleet-no-wheel"]  # without a container it has no way


def test_a_gpu_that_the_compiler_does_not_know_is_compiled_for_by_its_generation() -> None:
    """CUDA 12.8 has no sm_121; its code for sm_120 runs there."""
    plan = images(report("a", "RTX 5090", torch="2.8.0", cuda="12.8"), report("b", "sm_121", "580.95.05"))
    assert [(i.arch_list, str(i.toolkit)) for i in plan.images] == [("12.0", "12.8")]


def test_a_windows_node_has_no_linux_image() -> None:
    plan = images(report("a", "RTX 4090", platform=WIN), report("b", "RTX 4090"))
    assert [image.nodes for image in plan.images] == [("b",)]
    assert [(row.nodes, row.why.key) for row in plan.unserved] == [(("a",), "fleet-image-linux")]


def test_two_images_where_one_cannot_serve_all() -> None:
    plan = images(report("a", "GTX 1080 Ti", "535.104.05"), report("b", "RTX 5090"))
    assert [(image.nodes, image.arch_list) for image in plan.images] == [(("b",), "12.0"), (("a",), "6.1")]


def test_builds_of_several_platforms_that_are_installed_differently() -> None:
    """For x86_64 the build is on PyPI, that of the same release for aarch64 on the PyTorch index only."""
    (image,) = images(report("a", "V100"), report("b", "GB200", platform=ARM)).images
    assert [(b.variant, b.index == "PyPI") for b in image.builds] == [("cu128", False), ("cu126", True)]
    assert 'RUN case "$TARGETARCH" in' in image.recipe
    assert re.search(r"arm64\) pip install .* --index-url https://download.pytorch.org/whl/cu128 ;;", image.recipe)
    assert re.search(r"amd64\) pip install --no-cache-dir [^-]* ;;", image.recipe)


# --- laws ------------------------------------------------------------------------------------------------------------

NODES = st.lists(
    st.tuples(
        st.sampled_from(["GTX 980 Ti", "P100", "V100", "T4", "A100", "RTX 4090", "H100", "B200", "RTX 5090", "GB10"]),
        st.sampled_from([None, "470.82.01", "535.104.05", "550.54.14", "570.86.16", "580.65.06", "590.44.01"]),
        st.sampled_from(["cp38", "cp311", "cp314"]),
        st.sampled_from([X86, ARM, WIN]),
        st.sampled_from(["glibc 2.17", "glibc 2.39"]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(NODES)
def test_every_node_is_served_or_has_a_reason(rows: list[tuple[str, str | None, str, str, str]]) -> None:
    reports = [report(f"n{i}", g, d, tag=t, platform=p, libc=c) for i, (g, d, t, p, c) in enumerate(rows)]
    plan = plan_of(*reports)
    unserved = [name for row in plan.unserved for name in row.nodes]
    for choice in plan.choices:
        served = [name for a in choice.assignments for name in a.nodes]
        assert sorted([*served, *choice.left_out, *unserved]) == sorted(r["host"]["name"] for r in reports)
    assert plan.choices or len(unserved) == len(reports)
    if plan.choices:
        assert plan.choices[0].left_out == ()
        nodes = {node.name: node for node in nodes_of(*reports)}
        for a in plan.choices[0].assignments:
            build = next(
                b
                for b in CATALOG.builds
                if (b.torch, b.variant, b.platform) == (a.build.torch, a.build.variant, a.build.platform)
            )
            for name in a.nodes:
                node = nodes[name]
                assert node.python_tag in build.python_tags
                assert all(build.verdict(c) in (Verdict.NATIVE, Verdict.COMPATIBLE) for c in node.capabilities)


def brute(masks: list[int], wanted: int) -> int | None:
    """The size of the smallest cover, by trying them all."""
    best = None
    for chosen in range(1 << len(masks)):
        joined = 0
        for n in range(len(masks)):
            joined |= masks[n] if chosen >> n & 1 else 0
        if joined & wanted == wanted and (best is None or chosen.bit_count() < best):
            best = chosen.bit_count()
    return best


@given(st.lists(st.integers(0, 255), max_size=9), st.integers(0, 255))
def test_covers_are_covers_and_none_is_smaller(masks: list[int], wanted: int) -> None:
    covers = smallest_covers(masks, wanted)
    size = brute(masks, wanted)
    if not wanted or size is None:
        assert covers == []
        return
    assert covers
    for cover in covers:
        joined = 0
        for mask in cover:
            assert any(mask == m & wanted for m in masks)
            joined |= mask
        assert (joined, len(cover)) == (wanted, size)
