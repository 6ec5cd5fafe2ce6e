"""Operators of `torch.library`: opaque to the compiler, with a fake for shapes, differentiable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def differentiable(
    name: str,
    arguments: str,
    forward: Callable[..., Tensor],
    backward: Callable[..., tuple[Tensor, Tensor]],
    fake: Callable[..., Tensor],
) -> tuple[Any, Any]:
    """Register an operator that is differentiable in its first two arguments, and its backward as another.

    Args:
        arguments: the schema of them; tensors before numbers. The backward takes the output's gradient before them.
        fake: an empty tensor of the output's shape and type.

    Returns:
        Both operators, to be called like functions. Their functions get contiguous tensors.
    """
    schema = f"({arguments}) -> Tensor", f"(Tensor grad, {arguments}) -> (Tensor, Tensor)"
    define = torch.library.custom_op
    operator = define(f"bev_ops::{name}", _contiguous(forward), mutates_args=(), schema=schema[0])
    gradients = define(f"bev_ops::{name}_backward", _contiguous(backward), mutates_args=(), schema=schema[1])
    operator.register_fake(fake)
    gradients.register_fake(lambda grad, a, b, *_: (a.new_empty(a.shape), b.new_empty(b.shape)))

    def remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*(value for value in inputs if isinstance(value, Tensor)))
        ctx.numbers = [value for value in inputs if not isinstance(value, Tensor)]

    def differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        others = len(ctx.saved_tensors) + len(ctx.numbers) - 2
        return (*gradients(grad, *ctx.saved_tensors, *ctx.numbers), *[None] * others)

    operator.register_autograd(differentiate, setup_context=remember)
    return operator, gradients


def _contiguous(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: function(*(value.contiguous() if isinstance(value, Tensor) else value for value in given))
