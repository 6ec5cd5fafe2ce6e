"""What the real resolver says about a change: whether it works out, what else would change, and what stands in the way."""

from archfit.resolver.ask import ask_all
from archfit.resolver.ground import Ground

__all__ = ["Ground", "ask_all"]
