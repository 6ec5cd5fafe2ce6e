"""Change an environment so that it is always the old one or the verified new one, and back again.

A clone made of hard links is changed and verified next door; one atomic exchange puts it in place. The journal line is on
the disk before each step, so a cut at any moment can be finished or undone.
"""

from archfit.transaction.apply import Change, apply
from archfit.transaction.fitness import refuse_linked, refuse_unfit
from archfit.transaction.journal import Journal, read_history
from archfit.transaction.kept import freed_bytes, kept_bytes
from archfit.transaction.rollback import remove_states, roll_back
from archfit.transaction.states import recover, unfinished

__all__ = [
    "Change",
    "Journal",
    "apply",
    "freed_bytes",
    "kept_bytes",
    "read_history",
    "recover",
    "refuse_linked",
    "refuse_unfit",
    "remove_states",
    "roll_back",
    "unfinished",
]
