"""Diagnosis, catalog and the resolver's answers in, every way out ranked: pure, nothing is asked of the world."""

from archfit.planner.load import plan_from_document
from archfit.planner.plan import PlanWish, plan, questions
from archfit.planner.upgrades import priced

__all__ = ["PlanWish", "plan", "plan_from_document", "priced", "questions"]
