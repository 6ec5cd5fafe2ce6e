"""The training workload on a real GPU. Run there: python -m pytest -m gpu tests/gpu/test_lss_swin.py -rs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from bev_ops import backend
from bev_ops.splat import splat, splat_reference
from bev_ops.window import window_attention
from bev_ops.window_reference import window_attention_reference

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
SIZES = [(0, 3, 4, 5), (1, 1, 1, 1), (7, 13, 5, 3), (4224, 59, 64, 40_000), (1000, 118, 80, 300)]
# Relative to the largest value; seen on an H100, 2026-11-25: float32 5.7e-7, bfloat16 its rounding.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 5e-6, torch.bfloat16: 2**-8, torch.float16: 2**-10}


@pytest.fixture(scope="module", autouse=True)
def triton_backend() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no GPU here")
    assert backend.choose(torch.device("cuda"), "triton").error_vs_reference < 1e-5


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_splat_against_float64(size: tuple[int, ...], dtype: torch.dtype) -> None:
    pixels, bins, channels, cells = size
    random = torch.Generator("cuda").manual_seed(0)
    depth = torch.rand(pixels, bins, generator=random, device="cuda").to(dtype).requires_grad_()
    feature = torch.randn(pixels, channels, generator=random, device="cuda").to(dtype).requires_grad_()
    where = torch.randint(-1, cells, (pixels, bins), generator=random, device="cuda", dtype=torch.int32)
    wide = depth.detach().double().requires_grad_(), feature.detach().double().requires_grad_()
    out, expected = splat(depth, feature, where, cells), splat_reference(*wide, where, cells)
    grad = torch.randn(out.shape, generator=random, device="cuda").to(dtype)
    found = (out, *torch.autograd.grad(out, (depth, feature), grad))
    for one, other in zip(found, (expected, *torch.autograd.grad(expected, wide, grad.double())), strict=True):
        scale = max(1.0, other.abs().max().item()) if other.numel() else 1.0
        torch.testing.assert_close(one.double(), other, rtol=0, atol=TOLERANCE[dtype] * scale)
    assert torch.equal(out, splat(depth, feature, where, cells))


@pytest.mark.parametrize(("window", "size"), [(7, (64, 176)), (7, (8, 22)), (8, (16, 44))], ids=str)
def test_window_attention_against_float64(window: int, size: tuple[int, int]) -> None:
    random = torch.Generator("cuda").manual_seed(0)
    qkv = torch.randn(2, *size, 3 * 96, generator=random, device="cuda").bfloat16().requires_grad_()
    bias = torch.randn(3, window**2, window**2, generator=random, device="cuda").requires_grad_()
    wide = qkv.detach().double().requires_grad_(), bias.detach().double().requires_grad_()
    out, expected = (
        window_attention(qkv, bias, window, window // 2),
        window_attention_reference(*wide, window, window // 2),
    )
    grad = torch.randn(out.shape, generator=random, device="cuda").bfloat16()
    found = (out, *torch.autograd.grad(out, (qkv, bias), grad))
    for one, other in zip(found, (expected, *torch.autograd.grad(expected, wide, grad.double())), strict=True):
        assert (one.double() - other).norm() <= 4e-3 * other.norm()  # bfloat16; seen 2.4e-3 on an H100, 2026-11-25


@pytest.mark.parametrize("graph", [False, True])
def test_the_documented_command(tmp_path: Path, graph: bool) -> None:
    command = [
        sys.executable,
        str(ROOT / "tools" / "train.py"),
        "configs/baseline/lss_swin_nuscenes.py",
        "--gpu-ids",
        "0",
    ]
    command += ["--work-dir", str(tmp_path), "--cfg-options", "total_iters=10", f"graph={graph}", "data.batch_size=2"]
    run = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    found = json.loads((tmp_path / "summary.json").read_text())
    major, minor = torch.cuda.get_device_capability()
    assert (found["device"]["type"], found["device"]["compute_capability"]) == ("cuda", f"{major}.{minor}")
    assert found["splat"]["backend"] == "triton"
    assert (found["iterations"], len(found["losses"])) == (10, 10)
