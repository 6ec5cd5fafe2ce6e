"""observe(target) -> Environment: look at the machine and at the target, and judge nothing."""

from archfit.probe.observe import Wish, observe

__all__ = ["Wish", "observe"]
