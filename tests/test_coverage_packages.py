"""From libraries to a package, and from packages to what was scanned: only what would be loaded on a GPU counts."""

from __future__ import annotations

import re
from itertools import permutations

import pytest

from archfit.arch import ComputeCapability, CudaVersion, Target, Verdict
from archfit.catalog import load_catalog
from archfit.coverage import Loading, judge_library, judge_package, judge_subject
from archfit.model import CodeObject, Container, Coverage, Distribution, Library, Subject

NATIVE, COMPATIBLE, JIT, PARTIAL = Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT, Verdict.PARTIAL
NONE, NO_GPU_CODE = Verdict.NONE, Verdict.NO_GPU_CODE
SM_75, SM_80, SM_90, SM_100, SM_120 = (ComputeCapability.parse(t) for t in ("7.5", "8.0", "9.0", "10.0", "12.0"))
LOADING_OF = load_catalog().loading_of


def lib(path: str, *containers: str) -> Library:
    """A library at `path` with containers such as ``sm_80 compute_90``."""
    return Library(path, 1, (), tuple(Container(_objects(text), True, 1) for text in containers))


def _objects(text: str) -> tuple[CodeObject, ...]:
    targets = [Target.parse(word) for word in text.split()]
    return tuple(CodeObject(t.kind, t, "8.0" if t.kind == "ptx" else None, None, True) for t in targets)


def judged(
    package: str, device: ComputeCapability, *libraries: Library, cuda: str | None = None
) -> tuple[Verdict, list[str]]:
    release = CudaVersion.parse(cuda) if cuda else None
    answer = judge_package(libraries, device, LOADING_OF(package), cuda=release)
    return answer.verdict, list(answer.decided_by)


# --- one package -----------------------------------------------------------------------------------------------------


def test_every_library_is_needed_where_nothing_is_known_of_the_package() -> None:
    assert judged("mine", SM_90, lib("mine/a.so", "sm_90"), lib("mine/b.so", "sm_80")) == (PARTIAL, ["mine/b.so"])


def test_nothing_runs_if_no_library_does() -> None:
    assert judged("mine", SM_120, lib("mine/a.so", "sm_90"), lib("mine/b.so", "sm_80"))[0] is NONE


def test_the_weakest_says_what_it_takes() -> None:
    assert judged("mine", SM_90, lib("mine/a.so", "sm_90"), lib("mine/b.so", "compute_80")) == (JIT, ["mine/b.so"])


def test_libraries_without_code_say_nothing() -> None:
    assert judged("mine", SM_90, lib("mine/a.so", "sm_90"), lib("mine/b.so")) == (NATIVE, ["mine/a.so"])
    assert judged("mine", SM_90, lib("mine/b.so")) == (NO_GPU_CODE, [])
    assert judged("mine", SM_90) == (NO_GPU_CODE, [])


def test_the_main_library_of_torch_speaks_for_it() -> None:
    libraries = (lib("torch/lib/libtorch_cuda.so", "sm_80 sm_120"), lib("torch/lib/libtorch_cuda_linalg.so", "sm_80"))
    assert judged("torch", SM_120, *libraries) == (NATIVE, ["torch/lib/libtorch_cuda.so"])
    assert judged("mine", SM_120, *libraries)[0] is PARTIAL


def test_tools_carry_code_for_themselves() -> None:
    libraries = (lib("mine/a.so", "sm_120"), lib("mine/libcupti.so.12", "sm_80"))
    assert judged("mine", SM_120, *libraries) == (NATIVE, ["mine/a.so"])


# --- picked by CUDA --------------------------------------------------------------------------------------------------

BITSANDBYTES = (
    lib("bitsandbytes/libbitsandbytes_cuda118.so", "sm_75 sm_80 sm_90"),
    lib("bitsandbytes/libbitsandbytes_cuda128.so", "sm_75 sm_80 sm_90 sm_120"),
)


def test_the_one_for_torchs_cuda_is_loaded() -> None:
    old, new = (library.path for library in BITSANDBYTES)
    assert judged("bitsandbytes", SM_120, *BITSANDBYTES, cuda="12.8") == (NATIVE, [new])
    assert judged("bitsandbytes", SM_120, *BITSANDBYTES, cuda="11.8") == (NONE, [old])


def test_without_a_torch_the_best_is_taken() -> None:
    assert judged("bitsandbytes", SM_120, *BITSANDBYTES)[0] is NATIVE


def test_for_a_cuda_that_has_none_the_best_is_taken() -> None:
    assert judged("bitsandbytes", SM_120, *BITSANDBYTES, cuda="12.4")[0] is NATIVE


def test_major_releases_have_libraries_of_their_own_too() -> None:
    libraries = (lib("cupy/_core_cuda12.so", "sm_90"), lib("cupy/_core_cuda13.so", "sm_120"))
    assert judged("cupy", SM_120, *libraries, cuda="13.0") == (NATIVE, ["cupy/_core_cuda13.so"])
    assert judged("cupy", SM_120, *libraries, cuda="12.6") == (NONE, ["cupy/_core_cuda12.so"])


# --- picked by GPU ---------------------------------------------------------------------------------------------------


def test_the_one_for_the_gpu_is_loaded() -> None:
    libraries = (
        lib("sgl_kernel/sm90/common_ops.so", "sm_90a"),
        lib("sgl_kernel/sm100/common_ops.so", "sm_100a sm_120a"),
    )
    assert judged("sgl-kernel", SM_90, *libraries) == (NATIVE, ["sgl_kernel/sm90/common_ops.so"])
    assert judged("sgl-kernel", SM_120, *libraries) == (NATIVE, ["sgl_kernel/sm100/common_ops.so"])
    assert judged("sgl-kernel", SM_80, *libraries)[0] is NONE


def test_variants_of_one_library_do_not_excuse_another() -> None:
    libraries = (lib("k/sm90/ops.so", "sm_90"), lib("k/sm100/ops.so", "sm_100"), lib("k/other.so", "sm_90"))
    assert judged("k", SM_100, *libraries) == (PARTIAL, ["k/other.so"])


def test_flash_attention_of_vllm_is_chosen_by_gpu() -> None:
    libraries = (
        lib("vllm/_C.abi3.so", "sm_80 sm_90"),
        lib("vllm/vllm_flash_attn/_vllm_fa2_C.abi3.so", "sm_80"),
        lib("vllm/vllm_flash_attn/_vllm_fa3_C.abi3.so", "sm_90a"),
    )
    assert judged("vllm", SM_90, *libraries)[0] is NATIVE
    assert judged("vllm", SM_80, *libraries)[0] is NATIVE
    assert judged("mine", SM_80, *libraries)[0] is NATIVE  # code for one generation only is asked on that one only


# --- special, dispatched, optional -----------------------------------------------------------------------------------


def test_special_libraries_are_called_on_their_gpus_only() -> None:
    libraries = (lib("vllm/_C.abi3.so", "sm_80 sm_90"), lib("vllm/_flashmla_C.abi3.so", "sm_90"))
    assert judged("vllm", SM_80, *libraries) == (NATIVE, ["vllm/_C.abi3.so"])
    assert judged("mine", SM_80, *libraries)[0] is PARTIAL


def test_a_package_of_nothing_but_special_libraries_is_judged_by_them() -> None:
    assert judged("vllm", SM_80, lib("vllm/_flashmla_C.abi3.so", "sm_90")) == (NONE, ["vllm/_flashmla_C.abi3.so"])


def test_a_library_for_one_generation_is_not_missed_on_another() -> None:
    libraries = (lib("fa/_C.so", "sm_80 sm_90"), lib("fa/_hopper.so", "sm_90a"))
    assert judged("fa", SM_80, *libraries) == (NATIVE, ["fa/_C.so"])


def test_a_dispatched_library_may_lack_a_gpu() -> None:
    libraries = (lib("mine/a.so", "sm_120"), lib("mine/libcusparseLt.so.0", "sm_80"))
    assert judged("mine", SM_120, *libraries) == (NATIVE, ["mine/a.so"])


@pytest.mark.parametrize("suffix", ["a", "f"])
def test_kernels_for_one_generation_beside_general_ones_are_optional(suffix: str) -> None:
    mixed = lib("m.so", "sm_80 sm_90", "sm_80 sm_90", f"sm_100{suffix}")
    assert judge_library(mixed, SM_80) == Coverage(NATIVE, {NATIVE: 2, NONE: 1})


def test_kernels_for_what_only_newer_gpus_have_are_not_missed_on_older_ones() -> None:
    mixed = lib("m.so", "sm_80 sm_90", "sm_80 sm_90", "sm_80 sm_90", "sm_90")
    assert judge_library(mixed, SM_80).verdict is NATIVE
    assert judge_library(mixed, SM_90).verdict is NATIVE


def test_kernels_that_lack_a_newer_gpu_are_missed() -> None:
    mixed = lib("m.so", "sm_80 sm_90", "sm_80 sm_90", "sm_80 sm_90", "sm_80")
    assert judge_library(mixed, SM_90).verdict is PARTIAL


def test_a_library_that_serves_a_gpu_in_few_places_does_not_serve_it() -> None:
    mixed = lib("m.so", "sm_90", "sm_90", "sm_90", "sm_80 sm_90")
    assert judge_library(mixed, SM_80).verdict is PARTIAL


# --- laws ------------------------------------------------------------------------------------------------------------

SOME = (
    lib("a.so", "sm_80"),
    lib("b.so", "compute_75"),
    lib("sm90/c.so", "sm_90"),
    lib("sm100/c.so", "sm_100"),
    lib("d.so"),
)


@pytest.mark.parametrize("device", [SM_75, SM_80, SM_90, SM_100, SM_120])
def test_the_order_of_libraries_does_not_matter(device: ComputeCapability) -> None:
    answers = {
        (verdict, frozenset(by)) for some in permutations(SOME) for verdict, by in [judged("mine", device, *some)]
    }
    assert len(answers) == 1


@pytest.mark.parametrize("device", [SM_75, SM_80, SM_90, SM_100, SM_120])
def test_who_decides_has_code_and_a_verdict_no_better(device: ComputeCapability) -> None:
    answer = judge_package(SOME, device, Loading(picked=((re.compile(r"(?P<key>sm\d+)/"), "gpu"),)))
    rank = list(Verdict).index
    assert answer.decided_by
    assert all(
        rank(answer.libraries[path].verdict) >= rank(answer.verdict) or answer.verdict is PARTIAL
        for path in answer.decided_by
    )


# --- several packages ------------------------------------------------------------------------------------------------


def scanned(*packages: tuple[str, Library], cuda: str | None = None) -> Subject:
    rows = tuple(Distribution(name, "1", libraries=(library,)) for name, library in packages)
    return Subject("env", "environment", rows, cuda=CudaVersion.parse(cuda) if cuda else None)


def test_packages_with_code_of_their_own_decide_not_nvidias() -> None:
    subject = scanned(
        ("torch", lib("torch/lib/libtorch_cuda.so", "sm_90")), ("nvidia-nccl-cu12", lib("n/libnccl.so.2", "sm_80"))
    )
    answer = judge_subject(subject, SM_90, LOADING_OF)
    assert (answer.verdict, answer.decided_by) == (NATIVE, ("torch/lib/libtorch_cuda.so",))
    assert answer.libraries["n/libnccl.so.2"].verdict is NONE


def test_nvidias_decide_where_there_is_nothing_else() -> None:
    answer = judge_subject(scanned(("nvidia-nccl-cu12", lib("n/libnccl.so.2", "sm_80"))), SM_80, LOADING_OF)
    assert (answer.verdict, answer.decided_by) == (NATIVE, ("n/libnccl.so.2",))


def test_one_package_that_runs_does_not_speak_for_another() -> None:
    subject = scanned(("torch", lib("torch/lib/libtorch_cuda.so", "sm_120")), ("mmcv", lib("mmcv/_ext.so", "sm_80")))
    answer = judge_subject(subject, SM_120, LOADING_OF)
    assert (answer.verdict, answer.decided_by) == (PARTIAL, ("mmcv/_ext.so",))


def test_torchs_cuda_picks_in_the_whole_environment() -> None:
    rows = (
        Distribution("torch", "1", libraries=(lib("torch/lib/libtorch_cuda.so", "sm_80 sm_120"),)),
        Distribution("bitsandbytes", "1", libraries=BITSANDBYTES),
    )
    old = judge_subject(Subject("env", "environment", rows, cuda=CudaVersion(11, 8)), SM_120, LOADING_OF)
    assert (old.verdict, old.decided_by) == (PARTIAL, (BITSANDBYTES[0].path,))
    new = judge_subject(Subject("env", "environment", rows, cuda=CudaVersion(12, 8)), SM_120, LOADING_OF)
    assert new.verdict is NATIVE


def test_nothing_at_all() -> None:
    answer = judge_subject(Subject("env", "environment", ()), SM_120, LOADING_OF)
    assert (answer.verdict, answer.decided_by, dict(answer.libraries)) == (NO_GPU_CODE, (), {})
