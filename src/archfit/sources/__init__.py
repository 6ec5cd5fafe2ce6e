"""The user's own source: what of it a newer release breaks, with file and line. Read as syntax trees, never run."""

from archfit.sources.search import search_source

__all__ = ["search_source"]
