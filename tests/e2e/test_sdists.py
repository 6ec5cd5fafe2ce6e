"""Source packages on PyPI, read without installing or running them: who chooses their GPUs. What stands here was read by a
person in each setup.py on 2026-11-25."""

from __future__ import annotations

import pytest

from archfit.arch import ComputeCapability, CudaVersion, Verdict
from archfit.scan import ScanWish, scan

pytestmark = [pytest.mark.e2e, pytest.mark.network]


@pytest.mark.parametrize(
    ("requirement", "choice", "variable", "rtx_5090", "t4"),
    [
        ("mmcv==2.2.0", "torch", None, None, None),
        ("causal-conv1d==1.7.0", "hard-coded", None, Verdict.NATIVE, Verdict.NATIVE),
        ("mamba-ssm==2.3.2.post1", "hard-coded", None, Verdict.NATIVE, Verdict.NATIVE),
        ("flash-attn==2.8.3.post2", "variable", "FLASH_ATTN_CUDA_ARCHS", Verdict.NATIVE, Verdict.NONE),
        ("flash-mla==1.0.0.dev0", "hard-coded", None, Verdict.NONE, Verdict.NONE),
        ("pytorch-fast-transformers==0.4.0", "hard-coded", None, Verdict.JIT, Verdict.JIT),
        ("torch-scatter==2.1.2", "torch", None, None, None),
        ("natten==0.21.7", "variable", "NATTEN_CUDA_ARCH", None, None),
        ("grouped-gemm==0.3.0", "torch", None, None, None),
    ],
)
def test_who_chooses_the_gpus(
    requirement: str, choice: str, variable: str | None, rtx_5090: Verdict | None, t4: Verdict | None
) -> None:
    build = scan(ScanWish(requirement)).build
    assert build is not None
    assert (build.choice, build.own_variable) == (choice, variable)
    for device, verdict in ((ComputeCapability(12, 0), rtx_5090), (ComputeCapability(7, 5), t4)):
        if verdict is not None:
            assert build.verdict(device, CudaVersion(13, 0)) is verdict
