"""Compilers that work at run time: told by their name, their targets read from texts in their bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfit.arch import ComputeCapability, CudaVersion, Target
from archfit.binary.compilers import compiler_kind, parse_compiler, read_compiler
from archfit.errors import FormatError
from archfit.model import Compiler, CompilerKind
from forge import Part, elf

RELEASE = b"release %d.%d\0Cuda compilation tools, release %s\0Cuda compilation tools, release 12.9, V12.9.86\0"
OPTIONS = b"\0-arch=compute_75\0-arch=compute_90\0-arch=compute_90a\0-arch=compute_120f\0"
NOISE = b"__compute_10\0compute_\0-arch=compute_999999\0xcompute_80\0compute_50 is deprecated\0sm_35\0"


def compiler(
    name: str, kind: CompilerKind, *targets: str, release: CudaVersion | None = CudaVersion(12, 9)
) -> Compiler:
    return Compiler(name, kind, release, tuple(Target.parse(f"compute_{t}") for t in targets))


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("triton/backends/nvidia/bin/ptxas", "ptxas"),
        ("triton/backends/nvidia/bin/ptxas-blackwell", "ptxas"),
        ("triton\\backends\\nvidia\\bin\\ptxas.exe", "ptxas"),
        ("nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "nvrtc"),
        ("torch/lib/libnvrtc-672ee683.so.11.2", "nvrtc"),
        ("nvrtc64_120_0.dll", "nvrtc"),
        ("nvidia/nvjitlink/lib/libnvJitLink.so.12", "nvjitlink"),
        ("nvJitLink_120_0.dll", "nvjitlink"),
        ("libnvvm.so.4", "nvvm"),
        ("nvvm64_40_0.dll", "nvvm"),
        ("triton/backends/nvidia/lib/libdevice.10.bc", "libdevice"),
        ("nvrtc64_120_0.alt.dll", None),
        ("libnvrtc-builtins.so.12.8", None),
        ("nvrtc-builtins64_128.dll", None),
        ("ptxas.py", None),
        ("my_ptxas_notes.txt", None),
        ("libtorch_cuda.so", None),
        ("", None),
    ],
)
def test_kinds(path: str, kind: str | None) -> None:
    assert compiler_kind(path) == kind


def test_options_are_the_targets_where_there_are_options() -> None:
    data = NOISE + OPTIONS + b"\0compute_35\0" + RELEASE
    assert parse_compiler([data], "ptxas") == compiler("ptxas", "ptxas", "75", "90", "90a", "120f")


def test_plain_names_are_the_targets_where_there_are_none() -> None:
    data = NOISE + b"\0compute_75\0compute_100a\0" + RELEASE
    assert parse_compiler([data], "libnvvm.so.4") == compiler("libnvvm.so.4", "nvvm", "75", "100a")


def test_nothing_telling_is_nothing_known() -> None:
    assert parse_compiler([NOISE], "ptxas") == compiler("ptxas", "ptxas", release=None)
    assert parse_compiler([], "ptxas") == compiler("ptxas", "ptxas", release=None)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 63, 64, 65, 127, 128, 1000])
def test_pieces_of_any_size_tell_the_same(size: int) -> None:
    data = NOISE + bytes(50) + OPTIONS + bytes(64) + RELEASE + b"-arch=compute_121a\0"
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert parse_compiler(pieces, "ptxas") == parse_compiler([data], "ptxas")


@pytest.mark.parametrize("cut", range(60))
def test_a_text_across_two_pieces_is_found(cut: int) -> None:
    data = bytes(20) + b"-arch=compute_120\0" + b"Cuda compilation tools, release 13.0\0"
    found = parse_compiler([data[:cut], data[cut:]], "ptxas")
    assert found == compiler("ptxas", "ptxas", "120", release=CudaVersion(13, 0))


def test_a_program_on_disk_is_read_in_its_constants_only(tmp_path: Path) -> None:
    parts = (Part(".rodata", OPTIONS + RELEASE), Part(".text", b"\0-arch=compute_35\0"), Part(".data", bytes(8)))
    (tmp_path / "ptxas").write_bytes(elf(*parts))
    found = read_compiler(tmp_path / "ptxas", "bin/ptxas")
    assert found == compiler("bin/ptxas", "ptxas", "75", "90", "90a", "120f")


def test_two_sections_do_not_run_together(tmp_path: Path) -> None:
    (tmp_path / "ptxas").write_bytes(elf(Part(".rodata", b"\0-arch=compu"), Part(".data", b"te_90\0")))
    assert read_compiler(tmp_path / "ptxas").targets == ()


def test_libdevice_serves_every_gpu(tmp_path: Path) -> None:
    (tmp_path / "libdevice.10.bc").write_bytes(b"BC\xc0\xde")
    found = read_compiler(tmp_path / "libdevice.10.bc", "libdevice.10.bc")
    assert found == Compiler("libdevice.10.bc", "libdevice", None, ())
    assert found.knows(ComputeCapability(12, 0))


@pytest.mark.parametrize(
    "data", [b"", b"#!/bin/sh\nexec /usr/bin/ptxas\n", b"\x7fELF", elf(Part(".rodata", OPTIONS))[:200]]
)
def test_no_program_is_an_error_of_its_own(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "ptxas").write_bytes(data)
    with pytest.raises(FormatError):
        read_compiler(tmp_path / "ptxas")


def test_a_file_that_is_no_compiler_is_none() -> None:
    with pytest.raises(FormatError, match="not-a-compiler"):
        parse_compiler([OPTIONS], "libtorch.so")
