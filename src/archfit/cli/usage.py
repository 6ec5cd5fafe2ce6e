"""Errors of the command line in the reader's language, made of what cyclopts says happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import Enum
from typing import get_args

from cyclopts import CycloptsError
from cyclopts.exceptions import (
    CoercionError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from archfit.errors import UsageError


def usage_error(error: CycloptsError, words: Sequence[str], commands: Iterable[str]) -> UsageError:
    """The error that speaks; `words` are the command line, `commands` all there are."""
    known = tuple(commands)
    command = words[0] if words and words[0] in known else ""
    see = f"archfit {command} --help" if command else "archfit --help"
    match error:
        case UnknownOptionError():
            option = error.token.keyword or error.token.value
            names = [name for a in error.argument_collection if a.parse for name in a.names if name.startswith("-")]
            near = _near(option, names)
            return UsageError("usage-option-near" if near else "usage-option", option=option, near=near, see=see)
        case UnknownCommandError():
            name = (error.unused_tokens or [*words, ""])[0]
            if command:
                return UsageError("usage-too-much", words=" ".join(error.unused_tokens or words), see=see)
            near = _near(name, known)
            return UsageError("usage-command-near" if near else "usage-command", name=name, near=near, see=see)
        case UnusedCliTokensError():
            return UsageError("usage-too-much", words=" ".join(error.unused_tokens or words), see=see)
        case MissingArgumentError():
            return _missing(error, see)
        case CoercionError():
            return _unfit(error, see)
    return UsageError("usage-other", words=" ".join(words), see=see)


def _near(word: str, known: Iterable[str]) -> str:
    return next(iter(get_close_matches(word, list(known), 1)), "")


def _missing(error: MissingArgumentError, see: str) -> UsageError:
    name = error.keyword or (error.argument.name if error.argument else "")
    if name.startswith("-"):
        return UsageError("usage-no-value", option=name, see=see)
    return UsageError("usage-missing", name=name.strip("*").upper(), see=see)


def _unfit(error: CoercionError, see: str) -> UsageError:
    token, argument = error.token, error.argument
    option = (token.keyword if token else None) or (argument.name.lstrip("*") if argument else "")
    value = token.value if token else ""
    choices = tuple(argument.get_choices() or ()) if argument else _members(error.target_type)
    if choices:
        return UsageError("usage-choice", option=option, value=value, choices=", ".join(choices), see=see)
    return UsageError("usage-value", option=option, value=value, see=see)


def _members(kind: object) -> tuple[str, ...]:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(str(member.value) for member in kind)
    return tuple(str(choice) for choice in get_args(kind) if isinstance(choice, str))
