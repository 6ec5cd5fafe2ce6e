"""Which code runs on which GPU: NVIDIA's rules row by row, then laws over every target and every device."""

from __future__ import annotations

from itertools import product

import pytest

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict, judge_code

NATIVE, COMPATIBLE, JIT, NONE = Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT, Verdict.NONE

GUIDE = "Blackwell compatibility guide"
BINARY = "CUDA programming guide, Binary Compatibility"
FEATURES = "CUDA programming guide, 5.1, architecture- and family-specific features"
NVLINK = "nvlink 13.5, measured"
PTXAS = "ptxas 12.4 to 13.5, measured"
RENAMED = "CUDA 13.0: sm_101 renamed sm_110; ptxas 13.x takes both"
TEGRA = "CUDA programming guide: binary compatibility is not for Tegra; torch DEVICE_REQUIREMENT"

RULES = [
    # SASS X.y runs on X.z with z >= y
    ("sm_75", "7.5", NATIVE, GUIDE),
    ("sm_80", "8.0", NATIVE, GUIDE),
    ("sm_80", "8.6", COMPATIBLE, GUIDE),
    ("sm_80", "8.9", COMPATIBLE, GUIDE),
    ("sm_86", "8.9", COMPATIBLE, GUIDE),
    ("sm_60", "6.1", COMPATIBLE, BINARY),
    ("sm_50", "5.2", COMPATIBLE, BINARY),
    ("sm_70", "7.5", COMPATIBLE, BINARY),
    ("sm_86", "8.0", NONE, BINARY),
    ("sm_89", "8.6", NONE, BINARY),
    ("sm_75", "7.0", NONE, BINARY),
    # ... never on another major
    ("sm_75", "8.0", NONE, GUIDE),
    ("sm_89", "9.0", NONE, GUIDE),
    ("sm_90", "10.0", NONE, GUIDE),
    ("sm_90", "12.0", NONE, GUIDE),
    ("sm_100", "12.0", NONE, GUIDE),
    ("sm_120", "10.0", NONE, GUIDE),
    # architecture-specific SASS: that capability only
    ("sm_90a", "9.0", NATIVE, FEATURES),
    ("sm_90a", "10.0", NONE, FEATURES),
    ("sm_100a", "10.0", NATIVE, FEATURES),
    ("sm_100a", "10.3", NONE, NVLINK),
    ("sm_120a", "12.0", NATIVE, FEATURES),
    ("sm_120a", "12.1", NONE, NVLINK),
    ("sm_121a", "12.0", NONE, NVLINK),
    # family-specific SASS: the family from its own minor on
    ("sm_100f", "10.0", NATIVE, NVLINK),
    ("sm_100f", "10.3", COMPATIBLE, NVLINK),
    ("sm_100f", "10.7", COMPATIBLE, NVLINK),
    ("sm_103f", "10.0", NONE, NVLINK),
    ("sm_103f", "10.7", COMPATIBLE, NVLINK),
    ("sm_100f", "11.0", NONE, NVLINK),
    ("sm_100f", "12.0", NONE, NVLINK),
    ("sm_120f", "12.0", NATIVE, NVLINK),
    ("sm_120f", "12.1", COMPATIBLE, NVLINK),
    ("sm_121f", "12.0", NONE, NVLINK),
    # plain Blackwell SASS
    ("sm_100", "10.3", COMPATIBLE, NVLINK),
    ("sm_103", "10.0", NONE, NVLINK),
    ("sm_120", "12.1", COMPATIBLE, NVLINK),
    ("sm_121", "12.0", NONE, NVLINK),
    # PTX compiles for its own capability and everything newer
    ("compute_75", "7.5", JIT, GUIDE),
    ("compute_52", "12.0", JIT, PTXAS),
    ("compute_90", "12.0", JIT, GUIDE),
    ("compute_90", "8.9", NONE, GUIDE),
    ("compute_100", "12.0", JIT, GUIDE),
    ("compute_120", "12.1", JIT, GUIDE),
    ("compute_120", "10.3", NONE, GUIDE),
    # ... with suffix it does not leave its capability or family
    ("compute_90a", "9.0", JIT, PTXAS),
    ("compute_90a", "10.0", NONE, PTXAS),
    ("compute_120a", "12.1", NONE, PTXAS),
    ("compute_100f", "10.0", JIT, PTXAS),
    ("compute_100f", "10.3", JIT, PTXAS),
    ("compute_100f", "11.0", NONE, PTXAS),
    ("compute_100f", "12.0", NONE, PTXAS),
    ("compute_120f", "12.1", JIT, PTXAS),
    ("compute_121f", "12.0", NONE, PTXAS),
    # Thor under both of its numbers
    ("sm_101", "11.0", NATIVE, RENAMED),
    ("sm_110", "10.1", NATIVE, RENAMED),
    ("sm_101a", "11.0", NATIVE, RENAMED),
    ("sm_100", "10.1", NONE, RENAMED),
    ("sm_101", "10.3", NONE, RENAMED),
    ("compute_101", "11.0", JIT, RENAMED),
    ("compute_110", "10.1", JIT, RENAMED),
    # Tegra
    ("sm_87", "8.7", NATIVE, TEGRA),
    ("sm_80", "8.7", NONE, TEGRA),
    ("sm_86", "8.7", NONE, TEGRA),
    ("sm_87", "8.9", NONE, TEGRA),
    ("sm_70", "7.2", NONE, TEGRA),
    ("sm_60", "6.2", NONE, TEGRA),
    ("sm_52", "5.3", NONE, TEGRA),
    ("compute_80", "8.7", JIT, TEGRA),
]


@pytest.mark.parametrize(("code", "device", "verdict", "source"), RULES)
def test_rule(code: str, device: str, verdict: Verdict, source: str) -> None:
    assert judge_code(Target.parse(code), ComputeCapability.parse(device)) is verdict, source


TEGRA_TOOLKITS = [
    ("sm_80", "8.7", "13.1", NONE),
    ("sm_80", "8.7", "13.2", COMPATIBLE),
    ("sm_86", "8.7", "13.4", COMPATIBLE),
    ("sm_70", "7.2", "13.2", COMPATIBLE),
    ("sm_87", "8.9", "13.2", NONE),
    ("sm_52", "5.3", "13.2", NONE),
    ("sm_60", "6.2", "13.2", NONE),
    ("sm_89", "8.7", "13.2", NONE),
    ("sm_80", "8.6", "12.4", COMPATIBLE),
]


@pytest.mark.parametrize(("code", "device", "toolkit", "verdict"), TEGRA_TOOLKITS)
def test_tegra_takes_server_code_from_toolkit_13_2_on(code: str, device: str, toolkit: str, verdict: Verdict) -> None:
    judged = judge_code(Target.parse(code), ComputeCapability.parse(device), CudaVersion.parse(toolkit))
    assert judged is verdict


# --- laws ------------------------------------------------------------------------------------------------------------

MINORS = {5: [0, 2, 3], 6: [0, 1, 2], 7: [0, 2, 5], 8: [0, 6, 7, 8, 9], 9: [0], 10: [0, 1, 3, 7], 11: [0], 12: [0, 1]}
DEVICES = [ComputeCapability(major, minor) for major, minors in MINORS.items() for minor in minors]
SASS = [Target(c, "sass", s) for c in DEVICES for s in ("", "a", "f")]
PTX = [Target(c, "ptx", s) for c in DEVICES for s in ("", "a", "f")]
TOOLKITS = [None, CudaVersion(12, 4), CudaVersion(13, 2)]


def _runs(targets: list[Target]) -> set[tuple[Target, ComputeCapability]]:
    return {
        (target, device)
        for target, device, toolkit in product(targets, DEVICES, TOOLKITS)
        if judge_code(target, device, toolkit).runs
    }


def test_every_code_runs_on_its_own_capability() -> None:
    assert {judge_code(t, t.capability) for t in SASS} == {NATIVE}
    assert {judge_code(t, t.capability) for t in PTX} == {JIT}


def test_sass_never_crosses_a_major_version() -> None:
    assert [(t, d) for t, d in _runs(SASS) if t.capability.canonical.major != d.canonical.major] == []


def test_architecture_specific_code_runs_on_one_capability_only() -> None:
    specific = [t for t in SASS + PTX if t.suffix == "a"]
    assert [(t, d) for t, d in _runs(specific) if t.capability.canonical != d.canonical] == []


def test_family_specific_code_stays_in_its_family() -> None:
    family = [t for t in SASS + PTX if t.suffix == "f"]
    assert [(t, d) for t, d in _runs(family) if t.capability.canonical.major != d.canonical.major] == []


def test_nothing_runs_on_an_older_capability() -> None:
    assert [(t, d) for t, d in _runs(SASS + PTX) if t.capability.canonical > d.canonical] == []


def test_plain_ptx_reaches_every_newer_capability() -> None:
    newer = {(t, d) for t in PTX for d in DEVICES if t.suffix == "" and t.capability.canonical <= d.canonical}
    assert _runs([t for t in PTX if t.suffix == ""]) == newer


def test_native_means_the_same_silicon() -> None:
    native = {(t, d) for t, d in product(SASS, DEVICES) if judge_code(t, d) is NATIVE}
    assert native == {(t, d) for t, d in product(SASS, DEVICES) if t.capability.canonical == d.canonical}


def test_10_1_and_11_0_are_one_capability() -> None:
    old, new = ComputeCapability(10, 1), ComputeCapability(11, 0)
    assert [judge_code(t, old) for t in SASS + PTX] == [judge_code(t, new) for t in SASS + PTX]


def test_the_toolkit_matters_only_on_tegra() -> None:
    changed = {
        device for t, device in product(SASS + PTX, DEVICES) if len({judge_code(t, device, k) for k in TOOLKITS}) > 1
    }
    assert changed == {ComputeCapability(7, 2), ComputeCapability(8, 7)}


# --- reading and printing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["sm_75", "sm_90a", "sm_100f", "sm_121", "compute_52", "compute_90a", "compute_120f"])
def test_a_target_prints_as_it_was_read(text: str) -> None:
    assert str(Target.parse(text)) == text


@pytest.mark.parametrize("text", ["", "sm_", "sm_9", "sm_90b", "sm_1200", "90a", "compute_90 a", "SM_90"])
def test_text_that_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        Target.parse(text)


@pytest.mark.parametrize("text", ["12.0", "120", "sm_120", "SM_120", "compute_120", " 12.0 "])
def test_a_capability_has_many_spellings(text: str) -> None:
    assert ComputeCapability.parse(text) == ComputeCapability(12, 0)


@pytest.mark.parametrize("text", ["", "1", "12.", "12.10", "1200", "sm_120a", "RTX 5090"])
def test_text_that_is_no_capability_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        ComputeCapability.parse(text)


@pytest.mark.parametrize(
    ("text", "version"),
    [("12.8", (12, 8)), ("12.8.1", (12, 8)), ("cu128", (12, 8)), ("cu130", (13, 0)), (" 13.0 ", (13, 0))],
)
def test_a_cuda_version_has_many_spellings(text: str, version: tuple[int, int]) -> None:
    assert CudaVersion.parse(text) == CudaVersion(*version)


@pytest.mark.parametrize("text", ["", "12", "cu1", "cu12345", "v12.8", "12.x"])
def test_text_that_is_no_cuda_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        CudaVersion.parse(text)


def test_versions_sort_as_numbers() -> None:
    assert CudaVersion(12, 10) > CudaVersion(12, 9)
    assert ComputeCapability(10, 0) > ComputeCapability(9, 0)


def test_which_verdicts_run() -> None:
    assert [v.value for v in Verdict if v.runs] == ["native", "compatible", "jit", "partial"]
