"""What tools/fuzz.py does a million times, a few hundred times in every run of the tests: seeds of each kind, altered."""

from __future__ import annotations

import importlib.util
import struct
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archfit.errors import FormatError

KINDS = ["archive", "compiler", "cubin", "elf", "fatbin", "follow", "kernels", "pe", "stream", "wheel"]
NUMBERS = [0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**62, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1]


@cache
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", Path(__file__).parents[2] / "tools" / "fuzz.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def seeds(kind: str) -> tuple[bytes, ...]:
    """The small ones: a few hundred bytes, so that most alterations hit a header."""
    return tuple(sorted(fuzz().SEEDS[kind](), key=len)[:4])


def test_every_kind_is_tried_here() -> None:
    assert sorted(fuzz().SEEDS) == sorted(fuzz().targets()) == KINDS


PATCH = st.one_of(
    st.binary(min_size=1, max_size=8), st.sampled_from(NUMBERS).map(lambda number: struct.pack("<Q", number))
)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=1000, max_examples=150, derandomize=True, database=None)
@given(
    which=st.integers(0, 3),
    patches=st.lists(st.tuples(st.integers(0, 1 << 16), PATCH), max_size=5),
    cut=st.one_of(st.none(), st.integers(0, 1 << 16)),
)
def test_any_alteration_is_read_or_refused(
    kind: str, which: int, patches: list[tuple[int, bytes]], cut: int | None
) -> None:
    seed = seeds(kind)[which % len(seeds(kind))]
    data = bytearray(seed)
    for position, new in patches:
        at = position % len(seed)
        data[at : at + len(new)] = new
    try:
        fuzz().targets()[kind](bytes(data if cut is None else data[: cut % len(seed)]))
    except FormatError as error:
        refused = error.values["offset"]
        assert isinstance(refused, int)


@pytest.mark.parametrize("kind", KINDS)
def test_every_seed_is_whole(kind: str) -> None:
    """A seed that is refused at once would teach a fuzzer nothing."""
    for seed in fuzz().SEEDS[kind]():
        if len(seed) != 0x600:  # the headers of a DLL alone
            fuzz().targets()[kind](seed)
