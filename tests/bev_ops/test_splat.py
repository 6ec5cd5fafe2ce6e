"""The splat against its formula in float64: the CPU path, and the Triton kernels in Triton's interpreter."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from bev_ops import backend, splat_triton
from bev_ops.splat import _splat, _splat_backward, splat, splat_reference

pytestmark = pytest.mark.torch

# pixels, bins, channels, cells: none, one, primes, longer than a block, rows beyond LONG, all points in one cell
SIZES = [
    (0, 3, 4, 5),
    (3, 0, 4, 5),
    (1, 1, 1, 1),
    (7, 13, 5, 3),
    (61, 37, 20, 97),
    (12, 59, 64, 20),
    (41, 11, 80, 1),
    (20, 5, 130, 9),
]
# Relative to the largest value, 2026-11-25: the type's own rounding and float32 sums (worst seen 4.5e-6 absolute); bfloat16
# twice that, because Triton's interpreter cuts it off where a GPU rounds.
TOLERANCE = {torch.float64: 1e-14, torch.float32: 3e-6, torch.bfloat16: 2**-7, torch.float16: 2**-10}


def make(pixels: int, bins: int, channels: int, cells: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(pixels * 31 + bins)
    depth = torch.rand(pixels, bins, generator=random).to(dtype)
    feature = torch.randn(pixels, channels, generator=random).to(dtype)
    where = torch.randint(-1, cells, (pixels, bins), generator=random, dtype=torch.int32)
    grad = torch.randn(cells, channels, generator=random).to(dtype)
    return depth, feature, where, grad


def exact(
    depth: torch.Tensor, feature: torch.Tensor, where: torch.Tensor, grad: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    leaves = depth.double().requires_grad_(), feature.double().requires_grad_()
    out = splat_reference(*leaves, where, len(grad))
    return out.detach(), *torch.autograd.grad(out, leaves, grad.double())


def assert_near(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    scale = expected.abs().max().item() if expected.numel() else 1.0
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=TOLERANCE[dtype] * max(scale, 1.0))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
class TestAgainstFloat64:
    def test_operator(self, size: tuple[int, ...], dtype: torch.dtype) -> None:
        depth, feature, where, grad = make(*size, dtype)
        leaves = depth.requires_grad_(), feature.requires_grad_()
        out = splat(*leaves, where, len(grad))
        found = (out, *torch.autograd.grad(out, leaves, grad))

        assert out.dtype == dtype
        for one, other in zip(found, exact(depth.detach(), feature.detach(), where, grad), strict=True):
            assert_near(one, other, dtype)

    def test_kernels(self, size: tuple[int, ...], dtype: torch.dtype) -> None:
        depth, feature, where, grad = make(*size, dtype)
        planned = splat_triton.plan(where.reshape(-1), len(grad))
        out = splat_triton.splat_forward(depth, feature, planned, len(grad))
        found = (out, *splat_triton.splat_backward(grad, depth, feature, where))

        for one, other in zip(found, exact(depth, feature, where, grad), strict=True):
            assert_near(one, other, dtype)


@pytest.mark.parametrize(
    "shape",
    [
        {"CELLS": 2, "POINTS": 4, "LONG_POINTS": 8, "CHANNELS": 16, "LONG": splat_triton.LONG, "num_warps": 1},
        {"CELLS": 1, "POINTS": 32, "LONG_POINTS": 32, "CHANNELS": 32, "LONG": 2**31 - 1, "num_warps": 2},
        {"CELLS": 8, "POINTS": 1, "LONG_POINTS": 4, "CHANNELS": 8, "LONG": splat_triton.LONG, "num_warps": 1},
    ],
    ids=str,
)
def test_every_tile_gives_the_sum(shape: dict[str, int]) -> None:
    depth, feature, where, grad = make(61, 37, 20, 40, torch.float32)
    planned = splat_triton.plan(where.reshape(-1), len(grad))

    out = splat_triton.splat_forward(depth, feature, planned, len(grad), shape)

    assert_near(out, exact(depth, feature, where, grad)[0], torch.float32)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("counting", [True, False])
def test_the_plan_is_a_stable_sort(size: tuple[int, ...], counting: bool) -> None:
    where, cells = make(*size, torch.float32)[2].reshape(-1), size[3]
    rows, order, long = splat_triton.plan(where, cells, counting)

    lengths = torch.bincount(where[where >= 0].long(), minlength=cells)
    assert torch.equal(rows, torch.cat([torch.zeros(1), lengths.cumsum(0)]).int())
    inside = torch.nonzero(where >= 0)[:, 0]
    assert torch.equal(order[: rows[-1]].long(), inside[torch.sort(where[inside], stable=True).indices])
    assert sorted(long[1 : 1 + long[0]].tolist()) == torch.nonzero(lengths > splat_triton.LONG)[:, 0].tolist()


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # numpy's, in Triton's interpreter
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize("into", ["depth", "feature"])
def test_not_a_number_comes_out_where_it_went_in_and_nowhere_else(poison: float, into: str) -> None:
    depth, feature, where, _ = make(23, 7, 5, 11, torch.float32)
    where[4] = torch.tensor([-1, 3, 3, 5, -1, 8, 9])
    {"depth": depth, "feature": feature}[into][4] = poison
    touched = torch.tensor([3, 5, 8, 9])

    for out in (
        splat(depth, feature, where, 11),
        splat_triton.splat_forward(depth, feature, splat_triton.plan(where.reshape(-1), 11), 11),
    ):
        bad = ~out.isfinite().all(1)
        assert torch.nonzero(bad)[:, 0].tolist() == touched.tolist()


def test_what_is_outside_has_no_gradient_even_of_nan() -> None:
    depth, feature, where, grad = make(9, 4, 3, 6, torch.float32)
    where[2] = -1
    depth[2], feature[2] = float("nan"), float("nan")

    for d_depth, d_feature in (
        _splat_backward(grad, depth, feature, where, len(grad)),
        splat_triton.splat_backward(grad, depth, feature, where),
    ):
        assert torch.equal(d_depth[2], torch.zeros(4))
        assert torch.equal(d_feature[2], torch.zeros(3))


def test_the_same_bits_every_time() -> None:
    depth, feature, where, _ = make(12, 59, 64, 20, torch.bfloat16)
    first = splat_triton.splat_forward(depth, feature, splat_triton.plan(where.reshape(-1), 20), 20)

    for counting in (True, False):
        planned = splat_triton.plan(where.reshape(-1), 20, counting)
        assert torch.equal(first, splat_triton.splat_forward(depth, feature, planned, 20))


def test_any_leading_shape() -> None:
    depth, feature, where, _ = make(24, 7, 5, 11, torch.float32)
    shaped = splat(depth.reshape(2, 3, 4, 7), feature.reshape(2, 3, 4, 5), where.reshape(2, 3, 4, 7), 11)

    assert torch.equal(shaped, splat(depth, feature, where, 11))


def test_the_operator_keeps_the_rules_of_torch_library() -> None:
    depth, feature, where, grad = make(7, 13, 5, 3, torch.float32)
    torch.library.opcheck(_splat, (depth.requires_grad_(), feature.requires_grad_(), where, 3))
    torch.library.opcheck(_splat_backward, (grad, depth.detach(), feature.detach(), where, 3))


def test_a_size_beyond_32_bits_is_refused() -> None:
    depth, feature = torch.zeros(1, 1), torch.zeros(1, 64)
    with pytest.raises(ValueError, match="smaller batch"):
        splat_triton.splat_forward(depth, feature, (torch.zeros(1), torch.zeros(1), torch.zeros(1)), 2**26)


class TestTheChoice:
    def test_on_the_cpu_it_is_torch_and_compared(self) -> None:
        chosen = backend.choose(torch.device("cpu"))

        assert (chosen.name, chosen.why) == ("torch", "the device is cpu")
        assert 0 <= chosen.error_vs_reference < backend.TOLERANCE

    def test_triton_that_fails_is_named_and_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            backend, "_try_triton", lambda device: "Triton failed: RuntimeError: Failed to find C compiler"
        )
        monkeypatch.setattr(backend, "largest_error", lambda device: 0.0)

        assert backend.choose(torch.device("cuda")) == backend.Backend(
            "torch", "Triton failed: RuntimeError: Failed to find C compiler", 0.0
        )
        with pytest.raises(backend.TritonError, match=r"asked for, but .* C compiler"):
            backend.choose(torch.device("cuda"), "triton")

    def test_wrong_numbers_are_not_accepted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(backend, "largest_error", lambda device: 0.3)
        assert "wrong by 0.3" in str(backend._try_triton(torch.device("cuda")))
        monkeypatch.setattr(backend, "largest_error", lambda device: float("nan"))
        assert "wrong by nan" in str(backend._try_triton(torch.device("cuda")))
