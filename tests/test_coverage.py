"""Verdicts of the fixtures for many GPUs, and laws of weighing containers."""

from __future__ import annotations

from functools import cache
from itertools import permutations
from pathlib import Path

import pytest

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict
from archfit.binary.library import read_library
from archfit.coverage import base_targets_of, judge_library, targets_of
from archfit.model import CodeObject, Container, Coverage, Library

DATA = Path(__file__).parent / "data"
NATIVE, COMPATIBLE, JIT, PARTIAL = Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT, Verdict.PARTIAL
NONE, NO_GPU_CODE = Verdict.NONE, Verdict.NO_GPU_CODE

GPUS = ["6.1", "7.0", "7.5", "8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1"]

# One letter per GPU of the list above: n native, c compatible, j jit, p partial, - none, . no GPU code
#                               6.1 7.0 7.5 8.0 8.6 8.7 8.9 9.0 10.0 10.3 11.0 12.0 12.1
VERDICTS = {
    "libsm_75.so": "             -   -   n   -   -   -   -   -   -    -    -    -    -",
    "libsm_80.so": "             -   -   -   n   c   -   c   -   -    -    -    -    -",
    "libsm_86.so": "             -   -   -   -   n   -   c   -   -    -    -    -    -",
    "libsm_90.so": "             -   -   -   -   -   -   -   n   -    -    -    -    -",
    "libsm_90a.so": "            -   -   -   -   -   -   -   n   -    -    -    -    -",
    "libsm_100f.so": "           -   -   -   -   -   -   -   -   n    c    -    -    -",
    "libsm_120.so": "            -   -   -   -   -   -   -   -   -    -    -    n    c",
    "libsm_120a.so": "           -   -   -   -   -   -   -   -   -    -    -    n    -",
    "libsm_121.so": "            -   -   -   -   -   -   -   -   -    -    -    -    n",
    "libcompute_75.so": "        -   -   j   j   j   j   j   j   j    j    j    j    j",
    "libcompute_90.so": "        -   -   -   -   -   -   -   j   j    j    j    j    j",
    "libcompute_120.so": "       -   -   -   -   -   -   -   -   -    -    -    j    j",
    "libsm_90_compute_90.so": "  -   -   -   -   -   -   -   n   j    j    j    j    j",
    "libserver.so": "            -   -   -   n   c   -   c   n   n    c    -    n    c",
    "libpartial.so": "           -   -   -   n   c   -   c   n   -    -    -    p    p",
    "liboptional.so": "          -   -   -   n   c   -   c   n   -    -    -    -    -",
    "libempty_unit.so": "        -   -   -   -   -   -   -   -   -    -    -    n    c",
    "liblinked.so": "            -   -   -   n   c   -   c   -   -    -    -    n    c",
    "libtorch_2_4_1.so": "       c   n   n   n   n   -   c   n   -    -    -    -    -",
    "liblz4.so": "               -   n   c   n   c   j   c   j   j    j    j    j    j",
    "libzstd.so": "              -   -   -   n   c   j   c   j   j    j    j    n    c",
    "libconcatenated.so": "      -   -   -   n   c   j   c   n   n    c    j    n    c",
    "libconcatenated_named.so": "-   -   -   n   c   j   c   n   n    c    j    n    c",
    "libtiny.so": "              -   -   n   n   n   -   n   n   n    n    n    n    n",
    "libtiny_12_4.so": "         c   n   n   n   n   -   n   n   -    -    -    -    -",
    "libembedded.so": "          -   -   -   -   -   -   -   n   -    -    -    n    c",
    "libhidden.so": "            -   -   -   -   -   -   -   n   -    -    -    n    c",
    "libstripped.so": "          -   -   -   -   -   -   -   n   -    -    -    n    c",
    "libdebug.so": "             -   -   -   -   -   -   -   n   -    -    -    -    -",
    "libunreferenced.so": "      -   -   -   -   -   -   -   n   -    -    -    -    -",
    "libaarch64.so": "           -   -   -   -   -   -   -   n   -    -    -    -    -",
    "librelocatable_ptx.so": "   -   -   -   n   c   j   c   j   j    j    j    j    j",
    "libempty.so": "             .   .   .   .   .   .   .   .   .    .    .    .    .",
    "libempty_12_4.so": "        .   .   .   .   .   .   .   .   .    .    .    .    .",
    "libonly_empty.so": "        .   .   .   .   .   .   .   .   .    .    .    .    .",
    "libno_gpu.so": "            .   .   .   .   .   .   .   .   .    .    .    .    .",
    "libextension.so": "            .   .   .   .   .   .   .   .   .    .    .    .    .",
    "libsecond.so": "            .   .   .   .   .   .   .   .   .    .    .    .    .",
    "libtorch_new.so": "            .   .   .   .   .   .   .   .   .    .    .    .    .",
    "libtorch_old.so": "            .   .   .   .   .   .   .   .   .    .    .    .    .",
}
LETTERS = {NATIVE: "n", COMPATIBLE: "c", JIT: "j", PARTIAL: "p", NONE: "-", NO_GPU_CODE: "."}


@cache
def fixture(name: str) -> Library:
    return read_library(DATA / name, name)


def judge(name: str, gpu: str, *, dispatched: bool = False, toolkit: str | None = None) -> Coverage:
    cuda = CudaVersion.parse(toolkit) if toolkit else None
    return judge_library(fixture(name), ComputeCapability.parse(gpu), dispatched=dispatched, toolkit=cuda)


def made(*containers: str, registered: bool = True) -> Library:
    """A library of containers such as ``sm_80 compute_90``; PTX has ISA 8.0."""
    return Library("libmade.so", 1, (), tuple(Container(_objects(text), registered, 1) for text in containers))


def _objects(text: str) -> tuple[CodeObject, ...]:
    targets = [Target.parse(word) for word in text.split()]
    return tuple(CodeObject(t.kind, t, "8.0" if t.kind == "ptx" else None, None, True) for t in targets)


@pytest.mark.parametrize("name", VERDICTS)
def test_verdicts_of(name: str) -> None:
    assert [LETTERS[judge(name, gpu).verdict] for gpu in GPUS] == VERDICTS[name].split()


def test_every_fixture_has_verdicts() -> None:
    assert {path.name for path in DATA.glob("*.so")} == set(VERDICTS)


# --- whole answers ---------------------------------------------------------------------------------------------------


def test_partial_counts_the_units_with_and_without_code() -> None:
    assert judge("libpartial.so", "12.0") == Coverage(PARTIAL, {NATIVE: 1, NONE: 1})


def test_torch_2_4_1_has_nothing_for_an_rtx_5090() -> None:
    assert judge("libtorch_2_4_1.so", "12.0") == Coverage(NONE, {NONE: 2})


def test_torch_2_4_1_runs_on_an_rtx_4090_though_sm_89_is_missing() -> None:
    assert judge("libtorch_2_4_1.so", "8.9") == Coverage(COMPATIBLE, {COMPATIBLE: 2})


def test_jit_names_the_ptx_isa_the_driver_must_compile() -> None:
    assert judge("liblz4.so", "12.0") == Coverage(JIT, {JIT: 1}, ptx_isa="8.4")


def test_a_unit_without_kernels_is_not_counted() -> None:
    assert judge("libempty_unit.so", "12.0") == Coverage(NATIVE, {NATIVE: 1})


def test_code_for_one_generation_only_is_counted_but_does_not_decide() -> None:
    assert judge("liboptional.so", "8.0") == Coverage(NATIVE, {NATIVE: 1, NONE: 1})


def test_no_gpu_code_counts_nothing() -> None:
    assert judge("libno_gpu.so", "12.0") == Coverage(NO_GPU_CODE, {})


def test_link_time_code_alone_is_no_gpu_code() -> None:
    lto = Library("liblto.so", 1, (), (Container((CodeObject("lto", None, None, "zstd", True),), True, 1),))
    assert judge_library(lto, ComputeCapability(9, 0)) == Coverage(NO_GPU_CODE, {})


def test_a_dispatched_library_needs_one_container_only() -> None:
    assert judge("libpartial.so", "12.0", dispatched=True) == Coverage(NATIVE, {NATIVE: 1, NONE: 1})


def test_what_a_library_picks_from_itself_does_not_make_it_partial() -> None:
    general = made("sm_80 sm_120")
    own = made("sm_90", registered=False)
    both = Library("libmixed.so", 1, (), general.containers + own.containers)
    assert judge_library(both, ComputeCapability(12, 0)) == Coverage(NATIVE, {NATIVE: 1, NONE: 1})


def test_server_code_of_toolkit_13_2_runs_on_orin() -> None:
    assert judge("libserver.so", "8.7", toolkit="13.1").verdict is NONE
    assert judge("libserver.so", "8.7", toolkit="13.2").verdict is COMPATIBLE


# --- laws ------------------------------------------------------------------------------------------------------------

UNITS = ("sm_80", "sm_86", "compute_75", "sm_90", "sm_90a", "sm_80 compute_90", "compute_80")


@pytest.mark.parametrize("gpu", GPUS)
def test_the_order_of_containers_does_not_matter(gpu: str) -> None:
    device = ComputeCapability.parse(gpu)
    pairs = {pair: judge_library(made(*pair), device).verdict for pair in permutations(UNITS, 2)}
    assert {pair for pair, verdict in pairs.items() if verdict is not pairs[pair[::-1]]} == set()


@pytest.mark.parametrize("name", VERDICTS)
def test_dispatching_never_makes_a_verdict_worse(name: str) -> None:
    rank = [NATIVE, COMPATIBLE, JIT, PARTIAL, NONE, NO_GPU_CODE].index
    worse = [g for g in GPUS if rank(judge(name, g, dispatched=True).verdict) > rank(judge(name, g).verdict)]
    assert worse == []


@pytest.mark.parametrize("name", VERDICTS)
def test_the_ptx_isa_is_told_exactly_where_ptx_is_needed(name: str) -> None:
    answers = {gpu: judge(name, gpu) for gpu in GPUS}
    needs_ptx = {gpu for gpu, answer in answers.items() if JIT in answer.counts and answer.verdict.runs}
    assert {gpu for gpu, answer in answers.items() if answer.ptx_isa} == needs_ptx


# --- sentences -------------------------------------------------------------------------------------------------------


def test_targets_are_sorted_sass_first() -> None:
    assert targets_of(fixture("libserver.so")) == ("sm_80", "sm_90", "sm_100", "sm_120", "compute_120")
    assert targets_of(fixture("libpartial.so")) == ("sm_80", "sm_90", "sm_120")


def test_targets_of_units_without_kernels_are_left_out() -> None:
    assert targets_of(fixture("libempty_unit.so")) == ("sm_120",)
    assert targets_of(fixture("libno_gpu.so")) == ()


def test_base_targets_are_those_that_most_units_share() -> None:
    assert base_targets_of(made("sm_80 sm_90", "sm_90a", "sm_90 sm_80")) == ("sm_80", "sm_90")


def test_base_targets_of_a_library_that_loads_its_own_code_are_all_targets() -> None:
    assert base_targets_of(fixture("libembedded.so")) == ("sm_90", "sm_120")
