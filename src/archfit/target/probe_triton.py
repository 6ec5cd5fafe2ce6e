"""A Triton kernel. Triton reads the source of its functions, so they stand in a file; imported only where triton is there."""

import importlib

triton = importlib.import_module("triton")
tl = importlib.import_module("triton.language")


@triton.jit
def _kernel(x, out, count, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    tl.store(out + at, tl.load(x + at, mask=inside) * 2 + 1, mask=inside)


def scale_and_shift(x, out):
    """out = 2 x + 1."""
    _kernel[(triton.cdiv(x.numel(), 256),)](x, out, x.numel(), BLOCK=256)
