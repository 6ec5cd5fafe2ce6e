"""Matrices to test with: a few builds by hand, and thousands that are made up."""

from __future__ import annotations

from archfit.arch import ComputeCapability, CudaVersion, Verdict
from archfit.matrix import Column, Matrix, Row, arrange, matrix_of
from archfit.model import DriverRelease
from worlds import CATALOG

LETTERS = {"n": Verdict.NATIVE, "c": Verdict.COMPATIBLE, "j": Verdict.JIT, "p": Verdict.PARTIAL, "x": Verdict.NONE}
V100 = Column("V100", ComputeCapability(7, 0), DriverRelease.parse("384.81"), last_branch=580)
RTX_4090 = Column("RTX 4090", ComputeCapability(8, 9), DriverRelease.parse("520.61.05"))
RTX_5090 = Column("RTX 5090", ComputeCapability(12, 0), DriverRelease.parse("570.86.16"), open_module=True)


def driver(text: str | None) -> DriverRelease | None:
    return DriverRelease.parse(text) if text else None


def row(
    version: str = "2.8.0",
    letters: str = "nnn",
    *,
    package: str = "torch",
    cuda: str | None = "12.8",
    platform: str = "linux_x86_64",
    tags: tuple[str, ...] = ("cp311",),
    index: str = "PyPI",
    floor: str | None = "525.60.13",
    drivers: tuple[str | None, ...] | None = None,
    source: str = "read",
    confidence: str = "measured",
) -> Row:
    """A build; `letters` are its verdicts: native, compatible, jit, partial, x none, - no GPU code."""
    verdicts = tuple(LETTERS.get(letter, Verdict.NO_GPU_CODE) for letter in letters)
    needs = drivers or tuple(floor if v.runs else None for v in verdicts)
    return Row(
        package,
        version,
        f"cu{cuda.replace('.', '')}" if cuda else "cpu",
        CudaVersion.parse(cuda) if cuda else None,
        platform,
        tags,
        index,
        confidence,
        source,
        driver(floor),
        verdicts,
        tuple(map(driver, needs)),
    )


def many(count: int) -> Matrix:
    """A matrix of `count` builds of some fifty packages on every generation, with all that real ones differ in."""
    columns = matrix_of(CATALOG).columns
    platforms = ("linux_x86_64", "linux_aarch64", "win_amd64")
    cudas, floors = ("11.8", "12.4", "12.8", "13.0"), ("450.80.02", "525.60.13", "525.60.13", "580.65.06")
    rows = []
    for n in range(count):
        release, kind = divmod(n // 50, 12)
        start = (n * 7 + release) % len(columns)
        letters = "".join("x" if c < start else "ncjp"[(n + c) % 4] for c in range(len(columns)))
        floor = floors[kind % 4]
        needs = tuple(
            str(max(DriverRelease.parse(floor), c.driver)) if letter != "x" and c.driver else None
            for letter, c in zip(letters, columns, strict=True)
        )
        rows.append(
            row(
                f"{release}.{kind}.{n % 3}",
                letters,
                package=f"package-{n % 50:02}",
                cuda=cudas[kind % 4],
                platform=platforms[n % 3],
                tags=(("cp310", "cp311", "cp312"), ("cp39-abi3",), ("py3",))[n % 3],
                floor=floor,
                drivers=needs,
                source=f"wheel {n} read on 2026-11-25",
                confidence=("measured", "documented", "inferred")[n % 3],
            )
        )
    return arrange(columns, rows)
