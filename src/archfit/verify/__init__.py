"""Measured proof that an environment can compute, in levels, each a superset of the one before.

static (bytes), import (each package in its own process), kernels (operations with right results at the right speed), train
(the training workload).
"""

from archfit.verify.levels import LEVELS, default_level, verify

__all__ = ["LEVELS", "default_level", "verify"]
