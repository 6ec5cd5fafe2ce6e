"""Which code runs the operators: Triton where it works and gives right numbers, PyTorch everywhere else."""

from __future__ import annotations

import torch
from torch import Tensor

from bev_ops.dispatch import Backend, activate, active
from bev_ops.splat import splat, splat_reference
from bev_ops.window import window_attention
from bev_ops.window_reference import window_attention_reference

TOLERANCE = 1e-4  # float32 sums of a few hundred terms below 1; seen 4.8e-7 on an H200 (docs/measurements.md)
CHOICES = ("auto", "triton", "torch")


class TritonError(RuntimeError):
    """Triton was demanded and does not work here; says why."""


def choose(device: torch.device, wanted: str = "auto") -> Backend:
    """Choose for `device`, compare with the plain formula on a small case, and remember.

    Raises:
        TritonError: Triton was demanded and does not work here.
    """
    if wanted == "torch":
        return _use_torch("asked for", device)
    if device.type != "cuda":
        return _use_torch(f"the device is {device.type}", device)
    reason = _try_triton(device)
    if reason and wanted == "triton":
        raise TritonError(f"Triton was asked for, but {reason}")
    return _use_torch(reason, device) if reason else active()


def _use_torch(reason: str, device: torch.device) -> Backend:
    """Switch to PyTorch, which is compared with the formulas, too."""
    activate(Backend("torch", reason))
    return activate(Backend("torch", reason, largest_error(device)))


def _try_triton(device: torch.device) -> str | None:
    """Switch to Triton if it compiles, runs and is right; otherwise say why not."""
    try:
        activate(Backend("triton", "compiled for this GPU"))
        error = largest_error(device)
    except Exception as exc:  # whatever a young GPU, an old compiler or a missing header brings
        return f"Triton failed: {type(exc).__name__}: {_last_line(exc)}"
    if not error <= TOLERANCE:
        return f"Triton is wrong by {error:.2g} (tolerance {TOLERANCE:g})"
    activate(Backend("triton", "compiled for this GPU and right on a test case", error))
    return None


def _last_line(exc: Exception) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no message"


def largest_error(device: torch.device) -> float:
    """Largest absolute difference between the operators and their plain formulas, values and gradients, on a small case."""
    generator = torch.Generator().manual_seed(0)
    depth, feature = torch.rand(61, 37, generator=generator), torch.randn(61, 20, generator=generator)
    cells = torch.randint(-1, 97, (61, 37), generator=generator, dtype=torch.int32)
    qkv, bias = torch.randn(2, 9, 5, 96, generator=generator), torch.randn(2, 9, 9, generator=generator)
    cases = [
        (splat, splat_reference, (depth, feature), (cells, 97)),
        (window_attention, window_attention_reference, (qkv, bias), (3, 1)),
    ]
    worst = 0.0
    for operator, reference, floats, others in cases:
        rest = tuple(r.to(device) if isinstance(r, Tensor) else r for r in others)
        found = _value_and_gradients(operator, [f.to(device) for f in floats], rest)
        expected = _value_and_gradients(reference, [f.to(device).double() for f in floats], rest)
        worst = max([worst, *(float((a.double() - b).abs().max()) for a, b in zip(found, expected))])
    return worst


def _value_and_gradients(operator: object, floats: list[Tensor], rest: tuple[object, ...]) -> list[Tensor]:
    with torch.enable_grad(), torch.autocast(floats[0].device.type, enabled=False):
        leaves = [f.detach().requires_grad_() for f in floats]
        out = operator(*leaves, *rest)  # type: ignore[operator]
        slopes = torch.linspace(-1, 1, out.numel(), device=out.device, dtype=out.dtype).reshape(out.shape)
        return [out.detach(), *torch.autograd.grad(out, leaves, slopes)]
