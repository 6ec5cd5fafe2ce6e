"""Measured proof that an environment can compute, in levels: static (bytes), then import (each package in its own child)."""

from archfit.verify.levels import LEVELS, verify

__all__ = ["LEVELS", "verify"]
