#!/usr/bin/env python3
"""Make targets.zip beside this script: one kernel as fatbins for every target that nvcc 13.0 knows, in every way of packing.

usage: tests/gpu/build_targets.py [NVCC]

Names tell what is inside: ``sass_90a``, ``ptx_90``, ``sass_80_90+ptx_120``; a suffix ``.zstd`` or ``.lz4`` means compressed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parent / "data" / "scale.cu"
BASES = ("75", "80", "86", "87", "88", "89", "90", "100", "103", "110", "120", "121")
SPECIFIC = tuple(f"{base}a" for base in ("90", "100", "103", "110", "120", "121"))
FAMILY = tuple(f"{base}f" for base in ("100", "103", "110", "120", "121"))
SETS = (
    (("75", "80", "86", "90", "100", "120"), ()),
    (("75", "80"), ("80",)),
    (("80",), ("75",)),
    (("86", "120"), ("86",)),
    (("120",), ("80", "120")),
    (("90a", "100a"), ()),
    (("90a",), ("75",)),
    (("75", "90a"), ()),
    (("75", "80"), ("90a",)),
    (("100f", "120f"), ("100f",)),
    ((), ("75", "90", "120")),
)
PACKINGS = {
    "": ["-no-compress"],
    ".zstd": ["--compress-mode=size"],
    ".lz4": ["-Xfatbin", "-compress-all", "--compress-mode=speed"],
}


def name_of(sass: tuple[str, ...], ptx: tuple[str, ...], packing: str) -> str:
    parts = [f"{kind}_{'_'.join(targets)}" for kind, targets in (("sass", sass), ("ptx", ptx)) if targets]
    return "+".join(parts) + packing + ".fatbin"


def make(nvcc: str, sass: tuple[str, ...], ptx: tuple[str, ...], options: list[str], output: Path) -> None:
    codes = [f"-gencode=arch=compute_{t},code=sm_{t}" for t in sass]
    codes += [f"-gencode=arch=compute_{t},code=compute_{t}" for t in ptx]
    subprocess.run([nvcc, "-fatbin", *codes, *options, str(SOURCE), "-o", str(output)], check=True)


def main() -> None:
    nvcc = sys.argv[1] if len(sys.argv) > 1 else "nvcc"
    every = (*BASES, *SPECIFIC, *FAMILY)
    wanted = [((t,), (), "") for t in every] + [((), (t,), "") for t in every]
    wanted += [((t,), (), packing) for t in ("80", "90", "90a", "120") for packing in (".zstd", ".lz4")]
    wanted += [((), (t,), packing) for t in ("75", "90", "120") for packing in (".zstd", ".lz4")]
    wanted += [(sass, ptx, packing) for sass, ptx in SETS for packing in ("", ".zstd")]
    with tempfile.TemporaryDirectory() as scratch, zipfile.ZipFile(HERE / "targets.zip", "w", zipfile.ZIP_LZMA) as made:
        for sass, ptx, packing in wanted:
            output = Path(scratch, name_of(sass, ptx, packing))
            make(nvcc, sass, ptx, PACKINGS[packing], output)
            made.writestr(zipfile.ZipInfo(output.name), output.read_bytes(), zipfile.ZIP_LZMA)


if __name__ == "__main__":
    main()
