"""What a probe works with: the device, and the ways to say what was found.

A probe is a function of one argument, a `Kit`. It must compare something, or measure something, or raise `Skip` with the
reason; a probe that does none of these has proven nothing and is told so. Projects may write their own, see docs/verify.md.
"""

import importlib
import math


class Skip(Exception):
    """The question does not arise here. `key` names the sentence of archfit's texts, `values` fill it."""

    def __init__(self, key, **values):
        Exception.__init__(self, key, values)
        self.key = key
        self.values_ = {name: str(value) for name, value in values.items()}


class Kit:
    """One run of one probe on one device: ``cuda:0``, or ``cpu`` to check the probe itself."""

    def __init__(self, device="cpu"):
        self.device = device
        self.comparisons = []
        self.figures = {}
        self.facts = {}
        self._seeded = False

    # --- the ways to say what was found ------------------------------------------------------------------------------

    def compare(self, what, got, want, tolerance, basis, scale=None):
        """Is `got` within `tolerance` of `want`, which is float64 from the CPU?

        The error is the worst absolute difference, divided by `scale`: a number or an array of the same shape, default the
        largest magnitude in `want`. `basis` says where the tolerance comes from, such as ``k*u, k=512, u=2^-24``.
        """
        self._note(what, _worst(got, want, scale), tolerance, "float64", basis)

    def exact(self, what, got, want):
        """Are the two equal, element by element?"""
        self._note(what, _differing(got, want), 0, "exact", "equal")

    def bound(self, what, value, limit, basis):
        """Is this measure of wrongness at most `limit`?"""
        self._note(what, float(value), limit, "theory", basis)

    def figure(self, name, value):
        """A measured quantity; its unit is the end of its name: ``copy_bytes_per_s``."""
        self.figures[name] = float(value)

    def _note(self, what, error, tolerance, against, basis):
        self.comparisons.append(
            {
                "what": what,
                "error": float(error),
                "tolerance": float(tolerance),
                "against": against,
                "basis": basis,
            }
        )

    # --- what a probe needs ------------------------------------------------------------------------------------------

    @property
    def on_gpu(self):
        """False on the CPU, where a run checks the probe and not the GPU."""
        return str(self.device).startswith("cuda")

    @property
    def torch(self):
        """torch, with this probe's GPU as the current one; random numbers repeat."""
        import torch

        if self.on_gpu:
            torch.cuda.set_device(self.device)
        if not self._seeded:
            self._seeded = True
            torch.manual_seed(20260911)
        return torch

    @property
    def index(self):
        """Which GPU, as torch counts them."""
        return int(str(self.device).partition(":")[2] or 0)

    @property
    def capability(self):
        """Compute capability as a pair, such as (9, 0)."""
        return tuple(self.torch.cuda.get_device_capability(self.index))

    def load(self, name, missing=None):
        """Import a module by name; `missing` is what to call it where it is not there (default: that is a failure)."""
        try:
            return importlib.import_module(name)
        except ImportError:
            if missing is None:
                raise
            raise Skip("skip-not-here", what=missing) from None

    def needs_gpu(self):
        """Skip on the CPU: there is no such operation there."""
        if not self.on_gpu:
            raise Skip("skip-cuda-only")

    def needs_capability(self, major, minor=0):
        """Skip on a GPU that is older than this."""
        self.needs_gpu()
        if self.capability < (major, minor):
            raise Skip("skip-capability", needs="%d.%d" % (major, minor), has="%d.%d" % self.capability)

    def needs(self, owner, name):
        """The attribute of this name; skip where this release has none."""
        found = owner
        for part in name.split("."):
            found = getattr(found, part, None)
            if found is None:
                raise Skip("skip-no-api", what=name)
        return found

    def synchronize(self):
        """Wait for the GPU; an error of a kernel shows here at the latest."""
        if self.on_gpu:
            self.torch.cuda.synchronize(self.index)


def _worst(got, want, scale):
    """The worst difference in units of `scale`; NaN where a number is missing on one side."""
    left, right, torch = _alike(got, want, exact=False)
    if scale is None:
        scale = max(_largest(right), 1e-300)
    elif not isinstance(scale, (int, float)):
        scale = _alike(scale, want, exact=False)[0]
    if isinstance(left, list):
        errors = [0.0 if x == y else abs(x - y) / scale for x, y in zip(left, right)]
        return float("nan") if any(math.isnan(e) for e in errors) else max(errors)
    if torch is None:
        return float((abs(left - right) / scale).max())  # NaN is the largest of all to numpy
    difference = (left - right).abs() / scale
    difference = torch.where(left == right, torch.zeros_like(difference), difference)  # infinite on both sides
    return float("nan") if bool(torch.isnan(difference).any()) else float(difference.max())


def _differing(got, want):
    """How many elements differ."""
    left, right, _ = _alike(got, want, exact=True)
    if isinstance(left, list):
        return sum(x != y for x, y in zip(left, right))
    return int((left != right).sum())


def _alike(got, want, exact):
    """Both as tensors, or arrays, or flat lists of numbers, of one shape; and torch, if it is tensors."""
    sides = [_plain(got, exact), _plain(want, exact)]
    torch = importlib.import_module("torch") if any(hasattr(side, "detach") for side in sides) else None
    if torch is not None:
        sides = [side if hasattr(side, "detach") else torch.as_tensor(side) for side in sides]
        sides = sides if exact else [side.to(torch.float64) for side in sides]
    elif any(hasattr(side, "shape") for side in sides):
        numpy = importlib.import_module("numpy")
        sides = [numpy.asarray(side) if exact else numpy.asarray(side, "float64") for side in sides]
    shapes = [tuple(side.shape) if hasattr(side, "shape") else (len(side),) for side in sides]
    if shapes[0] != shapes[1]:
        raise ValueError("shape %s, expected %s" % (shapes[0], shapes[1]))
    if 0 in shapes[0]:
        raise ValueError("nothing to compare: no elements")
    return sides[0], sides[1], torch


def _plain(value, exact):
    """On the CPU, and float64 unless it must be exact."""
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu()
        return value if exact else value.double()
    if hasattr(value, "__array__") or hasattr(value, "get"):  # numpy, jax, tensorflow; cupy wants to be asked
        numpy = importlib.import_module("numpy")
        value = numpy.asarray(value.get() if hasattr(value, "get") else value)
        return value if exact else value.astype("float64")
    return _flat(value)


def _largest(value):
    return max(abs(x) for x in value) if isinstance(value, list) else float(abs(value).max())


def _flat(value):
    if isinstance(value, (list, tuple)):
        return [x for item in value for x in _flat(item)]
    return [value if isinstance(value, int) else float(value)]
