"""Diagnosis and catalog in, every way out ranked: pure, nothing is asked of the world."""

from archfit.planner.plan import PlanWish, plan

__all__ = ["PlanWish", "plan"]
