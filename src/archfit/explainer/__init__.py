"""Explain a log: from its text to the cause, the culprit and the evidence."""

from archfit.explainer.explain import explain_lines, explain_text

__all__ = ["explain_lines", "explain_text"]
