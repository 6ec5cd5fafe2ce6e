"""From answers to evidence: laws over all answers, and speeds held against documents."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archfit.catalog.probes import FLOORS, HealthRow, ProbeRow, find_health, load_health, load_probes
from archfit.model import Proof, Text
from archfit.verify.judge import judge, judge_health, show_figure

ROW = ProbeRow("kernel", "some", "module:function")
SPEED = ProbeRow("health", "speed", "module:function")
NUMBERS = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.none(), st.booleans(), st.text(max_size=2))


def answer(*pairs: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    rows = [{"what": "x", "error": e, "tolerance": t, "against": "float64", "basis": "u"} for e, t in pairs]
    return {"comparisons": rows, "figures": {}, "facts": {}, "skip": None, "error": None, "seconds": 0.1, **more}


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=4))
def test_a_pass_means_that_all_comparisons_held(pairs: list[tuple[Any, Any]]) -> None:
    def holds(error: Any, tolerance: Any) -> bool:
        numbers = all(isinstance(n, float) and math.isfinite(n) and n >= 0 for n in (error, tolerance))
        return numbers and error <= tolerance

    passed = judge(ROW, answer(*pairs), "GPU").status is Proof.PASSED
    assert passed == (bool(pairs) and all(holds(*pair) for pair in pairs))


@given(st.dictionaries(st.sampled_from(["comparisons", "figures", "skip", "ended", "seconds"]), st.none()))
def test_an_answer_that_lacks_everything_proves_nothing(told: dict[str, None]) -> None:
    assert judge(ROW, told, "GPU").reason == Text("probe-proved-nothing")
    assert judge_health(SPEED, told, "GPU", None, None).reason == Text("probe-proved-nothing")


def test_an_error_beats_comparisons_that_held() -> None:
    assert judge(ROW, answer((0.0, 1.0), error="boom"), "GPU").status is Proof.FAILED


# --- speed -----------------------------------------------------------------------------------------------------------

H100 = "NVIDIA H100 80GB HBM3"


def speed(gpu: str, busy: Text | None = None, **figures: float) -> tuple[Proof, str]:
    found = judge_health(SPEED, answer((0.0, 1.0), figures=figures), gpu, find_health(gpu), busy)
    return found.status, found.reason.key if found.reason else ""


@pytest.mark.parametrize(
    ("gpu", "figures", "ending"),
    [
        (H100, {"copy_bytes_per_s": 3.0e12}, (Proof.PASSED, "")),
        (H100, {"copy_bytes_per_s": 0.8e12}, (Proof.FAILED, "probe-slow")),
        (H100, {"half_flop_per_s": 798e12}, (Proof.PASSED, "")),
        (H100, {"half_flop_per_s": 240e12}, (Proof.FAILED, "probe-slow")),
        (H100, {"half_flop_per_s": math.nan}, (Proof.FAILED, "probe-not-finite")),
        (H100, {"half_flop_per_s": 0.0}, (Proof.FAILED, "probe-not-finite")),
        (H100, {"to_device_bytes_per_s": 55e9, "from_device_bytes_per_s": 1e9}, (Proof.FAILED, "probe-slow")),
        (H100, {"launch_s": 5e-6, "first_kernel_s": 0.4}, (Proof.PASSED, "")),
        (H100, {"launch_s": 5e-3, "first_kernel_s": 0.4}, (Proof.FAILED, "probe-slow")),
        (H100, {}, (Proof.FAILED, "probe-proved-nothing")),
        ("NVIDIA Something New", {"copy_bytes_per_s": 1e9}, (Proof.SKIPPED, "skip-no-row")),
        ("Tesla P40", {"half_flop_per_s": 1e9}, (Proof.SKIPPED, "skip-no-row")),
        ("nvidia geforce rtx 5090", {"copy_bytes_per_s": 1.5e12}, (Proof.PASSED, "")),
    ],
)
def test_a_speed_is_held_against_the_documents(gpu: str, figures: dict[str, float], ending: tuple[Proof, str]) -> None:
    assert speed(gpu, **figures) == ending


def test_slow_on_a_busy_gpu_says_nothing_and_fast_still_passes() -> None:
    busy = Text("skip-busy", {"gpu": H100, "percent": "97"})
    assert speed(H100, busy, copy_bytes_per_s=1e11) == (Proof.SKIPPED, "skip-busy")
    assert speed(H100, busy, copy_bytes_per_s=3e12) == (Proof.PASSED, "")


def test_wrong_numbers_are_no_speed() -> None:
    told = answer((2.0, 1.0), figures={"copy_bytes_per_s": 3e12})
    assert judge_health(SPEED, told, H100, find_health(H100), None).status is Proof.FAILED


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("copy_bytes_per_s", 2.99e12, "copy 2.99e+03 GB/s"),
        ("half_flop_per_s", 7.98e14, "half 798 TFLOP/s"),
        ("launch_s", 2.5e-6, "launch 2.5 us"),
        ("ptx_jit_s", 0.0123, "ptx jit 12.3 ms"),
        ("first_kernel_s", 1.5, "first kernel 1.5 s"),
    ],
)
def test_figures_are_shown_with_their_unit(name: str, value: float, shown: str) -> None:
    assert show_figure(name, value) == shown


# --- the rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", load_health(), ids=lambda row: row.names[0])
class TestEachGpu:
    def test_its_documented_speed_is_in_order_and_a_quarter_of_it_is_not(self, row: HealthRow) -> None:
        for figure in ("copy_bytes_per_s", "half_flop_per_s", "single_flop_per_s"):
            if should := row.expected(figure):
                assert speed(row.names[0], **{figure: 0.7 * should}) == (Proof.PASSED, "")
                assert speed(row.names[0], **{figure: 0.25 * should}) == (Proof.FAILED, "probe-slow")

    def test_its_figures_are_plausible(self, row: HealthRow) -> None:
        assert 1e11 < row.copy_bytes_per_s < 1e13
        assert 4e12 < row.single_flop_per_s < 2e14
        assert row.half_flop_per_s == 0 or 1 < row.half_flop_per_s / row.single_flop_per_s < 40

    def test_it_says_where_from(self, row: HealthRow) -> None:
        assert row.source
        assert row.confidence in ("documented", "recalled")


def test_no_gpu_has_two_rows() -> None:
    names = [name.casefold() for row in load_health() for name in row.names]
    assert sorted(names) == sorted(set(names))


def test_floors_are_for_figures_that_a_row_has() -> None:
    row = load_health()[0]
    assert all(row.expected(figure) > 0 for figure in FLOORS)


def test_probes_have_distinct_names() -> None:
    names = [row.name for row in load_probes()]
    assert sorted(names) == sorted(set(names))
