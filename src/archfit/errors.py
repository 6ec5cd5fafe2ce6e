"""The one error root and the one table of exit codes.

An error carries a key and values, never a sentence: the sentence is looked up in ``report/texts/``
when it is printed, so that every error speaks the reader's language.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a process of archfit ends with; README and ``--help`` print this table."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    UNDECIDED = 3
    PROBLEMS = 4
    APPLY_REVERTED = 5
    APPLY_INCOMPLETE = 6
    VERIFY_FAILED = 7
    INTERRUPTED = 130


class ArchfitError(Exception):
    """Root of everything archfit raises on purpose.

    ``key`` names the sentence in the section ``[error]`` of the texts, ``values`` fills its placeholders.
    """

    exit_code = ExitCode.INTERNAL

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key, values)
        self.key = key
        self.values = values

    def __str__(self) -> str:
        told = ", ".join(f"{name}={value}" for name, value in self.values.items())
        return f"{self.key} ({told})" if told else self.key


class UsageError(ArchfitError):
    """The request itself cannot be meant: unknown GPU name, missing target, bad option."""

    exit_code = ExitCode.USAGE


class ObserveError(ArchfitError):
    """The world could not be seen well enough to say anything."""

    exit_code = ExitCode.UNDECIDED


class FormatError(ArchfitError):
    """A file is not what it claims to be; carries the offset at which reading stopped to make sense."""

    exit_code = ExitCode.UNDECIDED


class ProblemError(ArchfitError):
    """There is a problem that the request cannot solve, such as a driver that must come first."""

    exit_code = ExitCode.PROBLEMS


class ApplyError(ArchfitError):
    """A change was refused or failed, and the environment is as it was."""

    exit_code = ExitCode.APPLY_REVERTED


class RestoreError(ArchfitError):
    """A change failed and putting back was incomplete; every copy was kept."""

    exit_code = ExitCode.APPLY_INCOMPLETE


class Interrupted(ArchfitError):
    """The person pressed Ctrl-C; what was begun has been put back."""

    exit_code = ExitCode.INTERRUPTED
