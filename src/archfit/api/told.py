"""How whoever waits is told what is done."""

from collections.abc import Callable

OnRead = Callable[[int, int], None]
"""Told how much is done, and how much there is."""
OnCount = Callable[[int], None]
"""Told how much was done since the last time, or how much there is."""
