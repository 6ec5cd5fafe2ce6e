"""Encodings, prefixes, sizes, and rubbish: never a traceback, never slow, the right line."""

from __future__ import annotations

import io
import random
import string
import time
from pathlib import Path

import pytest
from compose import AFTER, NOISE, PREFIXES
from hypothesis import given, settings
from hypothesis import strategies as st

from archfit import explain
from archfit.catalog.signatures import load_signatures
from archfit.explainer.lines import clean, decode, encoding_of
from archfit.explainer.scan import BLOCK_BYTES, WHOLE_BYTES, read_log
from archfit.logs import explain_stream

NEEDLE = "nvcc fatal   : Unsupported gpu architecture 'compute_120'"
PIECES = [*NOISE, *AFTER, *(row.yes for row in load_signatures().rows), *(row.no for row in load_signatures().rows)]
FILLER = (
    b"[1/9] nvcc -I/opt/venv/lib/python3.11/site-packages/torch/include -c /src/a.cu -o a.o --expt-relaxed-constexpr\n"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"])
def test_encodings_are_told_apart(encoding: str) -> None:
    text = "训练失败：显存不足\n╭───╮\nRuntimeError: CUDA error: out of memory\n" * 3
    assert decode(text.encode(encoding)) == text


def test_a_character_cut_at_the_end_of_the_beginning_does_not_matter() -> None:
    assert encoding_of(("a" + "显" * 40000).encode("gb18030")) == "gb18030"


@pytest.mark.parametrize("prefix", range(len(PREFIXES)))
def test_prefixes_are_taken_off(prefix: int) -> None:
    printed = PREFIXES[prefix](random.Random(1)) + NEEDLE
    assert next(iter(clean(printed))).text == NEEDLE


@pytest.mark.parametrize(
    ("line", "source"),
    [
        ("[rank3]: x", "rank3"),
        ("rank3: x", "rank3"),
        ("(EngineCore_DP0 pid=73) x", "EngineCore_DP0 pid=73"),
        ("trainer-1  | x", "trainer-1"),
        ("Jun 20 09:11:02 host python[1]: x", "python"),
        ("2025-06-20T09:11:02Z x", ""),
        ("no prefix: x", ""),
    ],
)
def test_who_printed_a_line_is_known(line: str, source: str) -> None:
    assert next(iter(clean(line))).source == source


@pytest.mark.parametrize(
    "line", ['  File "a.py", line 3, in f', "RuntimeError: x", "torch 2.4.1", "E: Unable to locate package"]
)
def test_what_looks_like_no_prefix_stays(line: str) -> None:
    assert next(iter(clean(line))).text == line


def test_colours_progress_bars_and_json_are_undone() -> None:
    assert [ln.text for ln in clean("\x1b[31mRed\x1b[0m\n50%|#####|\r100%|##########|")] == [
        "Red",
        "50%|#####|",
        "100%|##########|",
    ]
    assert [ln.text for ln in clean('{"log":"boom\\n","stream":"stderr"}')] == ["boom"]


@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_needle_is_found_anywhere_with_its_line(place: float, encoding: str) -> None:
    lines = (5 * WHOLE_BYTES) // len(FILLER)
    at = round(place * lines)
    data = FILLER * at + NEEDLE.encode() + b"\n" + FILLER * (lines - at)
    if encoding != "utf-8":
        data = data.decode().encode(encoding)
    found = explain_stream(io.BytesIO(data))
    assert (found.first.id, found.first.evidence[0].line, found.lines_total) == ("nvcc-arch", at + 1, lines + 1)


def test_a_needle_across_blocks_is_found() -> None:
    for shift in range(-80, 20, 7):
        data = (
            b"x" * (WHOLE_BYTES + BLOCK_BYTES // 2)
            + b"y" * (BLOCK_BYTES // 2 + shift)
            + NEEDLE.encode()
            + b"z" * BLOCK_BYTES * 3
        )
        assert explain_stream(io.BytesIO(data)).first.id == "nvcc-arch"


def test_what_is_kept_of_a_long_log_is_bounded() -> None:
    """A text that stands in every line does not keep every block."""
    data = (NEEDLE.encode() + b"\n") * (60 * BLOCK_BYTES // len(NEEDLE))
    lines, total = read_log(io.BytesIO(data))
    assert total == data.count(b"\n")
    assert len(lines) < total / 4


def test_the_first_and_the_last_of_several_errors_are_kept() -> None:
    data = (
        b"ImportError: libcudart.so.11.0: cannot open shared object file: No such file or directory\n" + FILLER * 9000
    )
    data += b"ninja: build stopped\n" + NEEDLE.encode() + b"\n" + FILLER * 9000
    assert {c.id for c in explain_stream(io.BytesIO(data)).causes} >= {"missing-cuda-lib", "nvcc-arch"}


def test_an_empty_log_is_not_known() -> None:
    assert (explain("").first.id, explain("").first.evidence) == ("other", ())


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000))
def test_rubbish_is_survived(data: bytes) -> None:
    found = explain_stream(io.BytesIO(data))
    assert all(0 <= cause.confidence <= 1 for cause in found.causes)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=40)), max_size=20), st.randoms(use_true_random=False)
)
def test_pieces_of_logs_are_survived(pieces: list[str], chance: random.Random) -> None:
    text = "\n".join(
        piece[chance.randrange(len(piece) + 1) :] if piece and chance.random() < 0.3 else piece for piece in pieces
    )
    found = explain(text)
    assert found.causes
    assert len({cause.id for cause in found.causes}) == len(found.causes)


@pytest.mark.parametrize("kind", ["bytes", "letters", "pieces", "one line", "json", "brackets"])
def test_a_megabyte_of_anything_takes_no_more_than_two_seconds(kind: str) -> None:
    """Of processor time, with room for a slow machine."""
    chance = random.Random(7)
    data = {
        "bytes": lambda: chance.randbytes(1_000_000),
        "letters": lambda: "".join(chance.choices(string.printable, k=1_000_000)).encode(),
        "pieces": lambda: "\n".join(chance.choices(PIECES, k=9000)).encode()[:1_000_000],
        "one line": lambda: b"CUDA error: " * 83_333,
        "json": lambda: b'{"log": "' + b'{"log": ' * 100_000 + b"\n" + b"[" * 100_000,
        "brackets": lambda: b"[rank0]: " * 111_111,
    }[kind]()
    began = time.process_time()
    explain_stream(io.BytesIO(data))
    assert time.process_time() - began < 2


def test_a_file_that_is_read_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(FILLER * 4000)
    with path.open("rb") as stream:
        assert read_log(stream)[1] == 4000
