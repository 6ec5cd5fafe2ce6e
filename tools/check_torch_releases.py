#!/usr/bin/env python3
"""Never cry wolf: scan every torch release on PyPI and judge it for each GPU that it was built for.

usage: python tools/check_torch_releases.py [--only 2.8.0,2.15.0] [--platform linux-x86_64]

Each wheel is read from the index as a stream (0.5 to 0.9 GB); nothing is stored but the answer. What a release was built
for is what its own ``torch.cuda.get_arch_list()`` says: a text in ``libtorch_python.so``, which is read here, too. Exit
code 4 if a GPU of that list is judged anything but native or compatible.
"""

from __future__ import annotations

import argparse
import re
import sys

from archfit.arch import ComputeCapability, Verdict
from archfit.binary.wheel import inflate, list_members
from archfit.catalog import load_catalog
from archfit.coverage import judge_subject
from archfit.errors import ArchfitError
from archfit.scan import ScanWish, scan
from archfit.scan.index import RemoteArchive, find_wheel

_FLAGS = re.compile(rb"(?:(?:sm|compute)_\d{2,3}[af]? ){2,}(?:sm|compute)_\d{2,3}[af]?")
_FINE = (Verdict.NATIVE, Verdict.COMPATIBLE)
_PYTHONS = ("3.11", "3.10", "3.9", "3.12")


def arch_list(requirement: str, platform: str, python: str) -> tuple[str, ...]:
    """What torch itself says that it was built for."""
    archive = RemoteArchive(find_wheel(requirement, platform, python))
    member = next(m for m in list_members(archive) if m.name.endswith("/libtorch_python.so"))
    texts = _FLAGS.findall(b"".join(inflate(archive, member)))
    return tuple(max(texts, key=len).decode().split()) if texts else ()


def check(release: str, platform: str) -> bool:
    python = next((p for p in _PYTHONS if _offered(release, platform, p)), _PYTHONS[0])
    requirement = f"torch=={release}"
    subject = scan(ScanWish(requirement, platform, python))
    claimed = arch_list(requirement, platform, python)
    devices = sorted({ComputeCapability.parse(t.rstrip("af").split("_")[1]) for t in claimed if t.startswith("sm_")})
    judged = {d: judge_subject(subject, d, load_catalog().loading_of) for d in devices}
    wrong = [d for d, package in judged.items() if package.verdict not in _FINE]
    parts = {
        path.rsplit("/", 1)[-1]: [
            str(d) for d in devices if judged[d].libraries[path].verdict in (Verdict.NONE, Verdict.PARTIAL)
        ]
        for path in (lib.path for lib in subject.libraries if lib.name.startswith(("libtorch", "torch_")))
    }
    short = "; ".join(f"{name} lacks {' '.join(found)}" for name, found in parts.items() if found)
    unread = f"; {len(subject.unreadable)} unreadable" if subject.unreadable else ""
    verdicts = " ".join(f"{d}:{p.verdict.value[0]}" for d, p in judged.items())
    print(
        f"| {release} | {python} | {' '.join(claimed)} | {verdicts} | {'FALSE ALARM' if wrong else short or '-'}{unread} |",
        flush=True,
    )
    return not wrong and bool(devices) and not subject.unreadable


def _offered(release: str, platform: str, python: str) -> bool:
    try:
        find_wheel(f"torch=={release}", platform, python)
    except ArchfitError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="releases, with commas between")
    parser.add_argument("--platform", default="linux-x86_64")
    options = parser.parse_args()
    rows = {b.torch: b.order for b in load_catalog().builds if b.on_pypi and b.targets}
    releases = options.only.split(",") if options.only else sorted(rows, key=rows.__getitem__)
    print(
        "| torch | Python | its own list | verdict (n native, c compatible) | parts that lack one of them |\n"
        "|---|---|---|---|---|"
    )
    fine = [check(release, options.platform) for release in releases]
    return 0 if all(fine) else 4


if __name__ == "__main__":
    sys.exit(main())
