"""Bare cubins and PTX: target, suffix, kernels, release, of real files of CUDA 12.4 and 13.0."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfit.binary.cubin import parse_cubin, parse_ptx, ptx_kernels
from archfit.binary.source import reader_of
from archfit.errors import FormatError
from forge import altered

DATA = Path(__file__).parents[1] / "data"
KERNEL = "_Z12scale_kernelPffi"
PTX = (DATA / "scale_90a.ptx").read_bytes()


@pytest.mark.parametrize(
    ("name", "target", "release"),
    [
        ("scale_90.cubin", "sm_90", (13, 0)),
        ("scale_90a.cubin", "sm_90a", (13, 0)),
        ("scale_100f.cubin", "sm_100f", (13, 0)),
        ("scale_120a.cubin", "sm_120a", (13, 0)),
        ("scale_80_12_4.cubin", "sm_80", None),
        ("scale_90a_12_4.cubin", "sm_90a", None),
    ],
)
def test_a_cubin_says_what_it_is(name: str, target: str, release: tuple[int, int] | None) -> None:
    cubin = parse_cubin(reader_of((DATA / name).read_bytes()))
    assert (str(cubin.code.target), cubin.kernels, cubin.release) == (target, (KERNEL,), release)
    assert (cubin.code.kind, cubin.code.number, cubin.code.debug, cubin.code.has_kernels) == ("sass", 2, False, True)


@pytest.mark.parametrize(("flag", "suffix"), [(0x600640A, "a"), (0x6006402, "")])
def test_the_flag_of_cuda_12_8_counts_where_no_command_line_does(flag: int, suffix: str) -> None:
    data = (
        (DATA / "scale_100f.cubin")
        .read_bytes()
        .replace(b"sm_100f", b"sm_99\0\0")
        .replace(b".note.nv.tkinfo", b".note.nv.xxxxxx")
    )
    cubin = parse_cubin(reader_of(altered(data, 48, flag.to_bytes(4, "little"))))
    assert str(cubin.code.target) == f"sm_100{suffix}"


@pytest.mark.parametrize(
    ("text", "target", "isa"),
    [
        (PTX, "compute_90a", "9.0"),
        (b"//\n.version 8.8\n.target sm_120f, debug\n.address_size 64\n", "compute_120f", "8.8"),
        (b".version\t7.0\n\t.target\tsm_80,texmode_independent\n", "compute_80", "7.0"),
        (b".version 6.4\r\n.target sm_75\r\n", "compute_75", "6.4"),
    ],
)
def test_ptx_says_what_it_is_for(text: bytes, target: str, isa: str) -> None:
    code = parse_ptx(text)
    assert (str(code.target), code.isa, code.number) == (target, isa, 1)
    assert code.has_kernels == (b".entry" in text)


@pytest.mark.parametrize("text", [b"", b".version 8.0\n", b".target sm_90\n", b"x .version 8.0\n.target sm_90\n"])
def test_text_without_both_is_no_ptx(text: bytes) -> None:
    with pytest.raises(FormatError) as error:
        parse_ptx(text)
    assert error.value.key == "not-ptx"


def test_kernels_of_ptx() -> None:
    assert ptx_kernels(PTX) == (KERNEL,)
    assert ptx_kernels(b".visible .entry a(\n.weak .entry\n b$1(\n.func c(") == ("a", "b$1")
