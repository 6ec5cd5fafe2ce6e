"""Environments to change."""

from environments import index, live, no_exchange, offline, plain, uv_cache, wheels

__all__ = ["index", "live", "no_exchange", "offline", "plain", "uv_cache", "wheels"]
