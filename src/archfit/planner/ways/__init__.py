"""What becomes of packages with GPU code or torch's ABI: keep, another wheel, compile again, a successor, or better not."""

from archfit.planner.ways.decide import TORCH_FAMILY, way_of, ways_of
from archfit.planner.ways.goal import Goal, Offer

__all__ = ["TORCH_FAMILY", "Goal", "Offer", "way_of", "ways_of"]
