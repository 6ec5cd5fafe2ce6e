"""Change an environment so that it is always the old one or the verified new one, and back again.

A clone made of hard links is changed and verified next door; one atomic exchange puts it in place. The journal line is on
the disk before each step, so a cut at any moment can be finished or undone.
"""

from archfit.transaction.apply import Change, apply, recover, refuse_unfit, roll_back, unfinished
from archfit.transaction.journal import Journal, read_history

__all__ = [
    "Change",
    "Journal",
    "apply",
    "read_history",
    "recover",
    "refuse_unfit",
    "roll_back",
    "unfinished",
]
