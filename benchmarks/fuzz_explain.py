#!/usr/bin/env python3
"""Search for logs that break `archfit explain`: rubbish, pieces of real texts, cut and mixed.

usage: python benchmarks/fuzz_explain.py [--minutes 10] [--seed N]

Prints and keeps what raised, or took more than two seconds of the processor for a megabyte.
"""

from __future__ import annotations

import argparse
import io
import random
import string
import sys
import time
import traceback
from pathlib import Path

from archfit.catalog.signatures import load_signatures
from archfit.logs import explain_stream

ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "gb18030", "latin-1")
ALPHABETS = (string.printable, "()[]{}|^$.*+?\\", "\x1b[0;31m\r\n", "训练失败显存不足\n", " \n", "[rank0]: E   > ")


def make(chance: random.Random, pieces: list[str]) -> bytes:
    """One log of up to a megabyte."""
    size = int(10 ** chance.uniform(1, 6))
    parts: list[str] = []
    length = 0
    while length < size:
        kind = chance.random()
        if kind < 0.5:
            part = chance.choice(pieces)
            begin = chance.randrange(len(part))
            part = part[begin : begin + chance.randrange(1, 400)] if chance.random() < 0.4 else part
        else:
            part = "".join(chance.choices(chance.choice(ALPHABETS), k=chance.randrange(1, 200)))
        part *= chance.choice((1, 1, 1, 1, 50))
        parts.append(part)
        length += len(part)
    data = chance.choice(("\n", "", " ", "\r\n")).join(parts).encode(chance.choice(ENCODINGS), "replace")[:1_000_000]
    for _ in range(chance.choice((0, 0, 3))):
        at = chance.randrange(len(data) + 1)
        data = data[:at] + chance.randbytes(chance.randrange(50)) + data[at:]
    return data


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = load_signatures().rows
    pieces = [text for row in rows for text in (row.yes, row.no)]
    end, seed, slowest, broken = time.monotonic() + 60 * options.minutes, options.seed, 0.0, 0
    while time.monotonic() < end:
        data = make(random.Random(seed), pieces)
        began = time.process_time()
        try:
            explain_stream(io.BytesIO(data))
        except Exception:
            traceback.print_exc()
            broken += 1
            Path(f"fuzz-{seed}.log").write_bytes(data)
        took = time.process_time() - began
        if took > 2:
            print(f"seed {seed}: {took:.1f} s for {len(data)} bytes")
            broken += 1
            Path(f"fuzz-{seed}.log").write_bytes(data)
        slowest, seed = max(slowest, took), seed + 1
    print(f"{seed - options.seed} logs, {broken} broken, slowest {slowest:.2f} s")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
