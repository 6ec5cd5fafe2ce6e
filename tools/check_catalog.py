#!/usr/bin/env python3
"""Are the rows of the catalog what a fresh scan says? Reads wheels chosen at random again, and compares.

usage: python tools/check_catalog.py [--random 20] [--seed 1] [--only torch]

Each wheel is found and read anew from PyPI, without any answer that was kept. Its verdict for every generation of GPUs, the
libraries that decide it, the PTX it needs, its hash, its size and its requirements must be those of the row. Exit code 4 if
one is not.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator

from refresh_catalog import SOURCE, lock, read_metadata

from archfit.catalog import Wheel, load_catalog
from archfit.catalog.digest import Texts
from archfit.catalog.rows import Published, row_of
from archfit.catalog.wheels import wheel_of
from archfit.coverage import judge_subject
from archfit.model import Subject
from archfit.scan.index import RemoteWheel, open_remote
from archfit.scan.wheels import read_wheel


def check(wheel: Wheel) -> list[str]:
    """What differs between a row and its file as it is read now."""
    locked = lock(f"{wheel.package}=={wheel.version}")
    found = [row for row in (locked[1] if locked else ()) if row["url"].endswith("/" + wheel.file.replace("+", "%2B"))]
    if not found:
        return ["no longer on the index"]
    digest, size = found[0]["hashes"]["sha256"], found[0]["size"]
    with open_remote(RemoteWheel(wheel.file, found[0]["url"], size, digest)) as archive:
        metadata = read_metadata(archive)
        distribution, unreadable, cuda = read_wheel(archive, wheel.file)
    if unreadable:
        return [f"unreadable: {name}" for name, _ in unreadable]
    fresh = Subject("", "wheel", (distribution,), (), wheel.file, digest, size, cuda)
    published = Published(wheel.file, wheel.platform, wheel.python_tags, digest, size, wheel.uploaded)
    texts = Texts()
    row = row_of(fresh, published, metadata, SOURCE, wheel.read, texts)
    again = wheel_of({**row, "source": 0}, {"targets": texts.all, "sources": [SOURCE]})
    return [*([] if again == wheel else [f"the row: {again} instead of {wheel}"]), *_verdicts(wheel, fresh)]


def _verdicts(wheel: Wheel, fresh: Subject) -> Iterator[str]:
    catalog = load_catalog()
    for device in catalog.generations:
        scanned, kept = judge_subject(fresh, device, catalog.loading_of), wheel.coverage(device)
        if (scanned.verdict, scanned.decided_by) != (kept.verdict, kept.decided_by):
            yield f"{device}: scan: {scanned.verdict} by {scanned.decided_by}, row: {kept.verdict} by {kept.decided_by}"
        for path in scanned.decided_by:
            needed, said = scanned.libraries[path].ptx_isa, kept.libraries[path].ptx_isa
            if needed != said:
                yield f"{device}: {path} needs PTX {needed}, the row says {said}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=20, help="how many wheels")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="packages, with commas between")
    options = parser.parse_args()
    only = set(filter(None, options.only.split(",")))
    rows = [w for w in load_catalog().wheels if w.confidence == "measured" and (not only or w.package in only)]
    chosen = random.Random(options.seed).sample(rows, min(options.random, len(rows)))
    wrong = 0
    for number, wheel in enumerate(chosen, start=1):
        differences = check(wheel)
        wrong += bool(differences)
        size = f"{(wheel.size_bytes or 0) / 1e6:.1f} MB"
        print(f"{number}/{len(chosen)} {wheel.file} {size}: {'; '.join(differences) or 'identical'}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} rows are identical to a fresh scan", flush=True)
    return 4 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
