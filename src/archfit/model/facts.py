"""What is known, what is not, and sentences to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from archfit.errors import FormatError

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Known(Generic[T_co]):
    """A fact and where it was read."""

    value: T_co
    source: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A fact that could not be had, why, and which ways were tried."""

    reason: str
    tried: tuple[str, ...] = ()


Values = Mapping[str, "str | Text"]


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence to be: a key of the texts and what fills it, which may be another sentence."""

    key: str
    values: Values = field(default_factory=dict)

    @classmethod
    def why(cls, error: FormatError | OSError) -> Text:
        """Why a file could not be read."""
        if isinstance(error, FormatError):
            return cls(error.key, {name: str(value) for name, value in error.values.items()})
        return cls("plain", {"text": error.strerror or str(error)})
