"""Names of kernels: the one place where code is unpacked, for sentences only."""

from __future__ import annotations

from pathlib import Path

import pytest

from archfit import api
from archfit.arch import ComputeCapability
from archfit.binary.kernels import kernels_of, readable
from archfit.binary.library import read_library
from archfit.model import Library
from forge import altered
from worlds import DATA, library

ALL = frozenset


def kernels(path: Path, read: Library | None = None) -> set[str]:
    """The readable names of all kernels in a file."""
    found = read or read_library(path)
    return {readable(name) for _, name in kernels_of(path, ALL(c.objects for c in found.containers))}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("libserver.so", {"scale_kernel"}),
        ("libpartial.so", {"scale_kernel", "shift_kernel"}),
        ("liboptional.so", {"scale_kernel", "shift_kernel"}),
        ("libtorch_2_4_1.so", {"scale_kernel", "shift_kernel"}),
        ("liblz4.so", {"scale_kernel"}),
        ("libzstd.so", {"scale_kernel"}),
        ("libcompute_75.so", {"scale_kernel"}),
        ("code.dll", {"scale_kernel", "shift_kernel"}),
        ("libno_gpu.so", set()),
        ("libonly_empty.so", set()),
    ],
)
def test_kernels_of_the_fixtures(name: str, wanted: set[str]) -> None:
    assert kernels(DATA / name) == wanted


def test_only_containers_that_are_wanted_are_unpacked() -> None:
    found = library("libpartial.so", "libpartial.so")
    lacking = next(
        c for c in found.containers if not any(o.target and o.target.capability.major == 12 for o in c.objects)
    )
    names = [readable(name) for _, name in kernels_of(DATA / "libpartial.so", ALL({lacking.objects}))]
    assert names == ["shift_kernel"]


def test_kernels_that_lack_a_gpu() -> None:
    found = library("libpartial.so", "libpartial.so")

    def lacking(*gpus: tuple[int, int]) -> list[str]:
        return api.kernels_lacking(DATA / "libpartial.so", found, [ComputeCapability(*g) for g in gpus], None)

    assert lacking((12, 0)) == ["shift_kernel"]
    assert lacking((9, 0)) == []
    assert sorted(lacking((7, 5))) == ["scale_kernel", "shift_kernel"]


def test_damaged_code_has_no_names(tmp_path: Path) -> None:
    """A name is a help, not a verdict: no error, just no name."""
    data = (DATA / "libzstd.so").read_bytes()
    magic = b"\x28\xb5\x2f\xfd"
    while (place := data.find(magic)) >= 0:
        data = altered(data, place, b"\0\0\0\0")
    (tmp_path / "libzstd.so").write_bytes(data)
    assert kernels(tmp_path / "libzstd.so", library("libzstd.so", "libzstd.so")) == set()


def test_a_file_that_is_gone_has_no_names(tmp_path: Path) -> None:
    found = library("libpartial.so", "libpartial.so")
    assert api.kernels_lacking(tmp_path / "gone.so", found, [ComputeCapability(12, 0)], None) == []


@pytest.mark.parametrize(
    ("mangled", "name"),
    [
        ("scale", "scale"),
        ("_Z5scalePff", "scale"),
        ("_ZN2at6native29vectorized_elementwise_kernelILi4EEEvi", "at::native::vectorized_elementwise_kernel"),
        ("_ZN12_GLOBAL__N_15scaleEPf", "(anonymous namespace)::scale"),
        ("_ZN55_GLOBAL__N__6b1e9c0d_13_whatever_cu_2e0f35f8_123456789a5scaleEv", "(anonymous namespace)::scale"),
        ("_ZNK3c106SymInt6sym_neERKS0_", "c10::SymInt::sym_ne"),
        ("_ZSt4moveIiEvv", "move"),
        ("_Z", "_Z"),
        ("_ZN", "_ZN"),
        ("_Z99short", "short"),
        ("", ""),
    ],
)
def test_readable(mangled: str, name: str) -> None:
    assert readable(mangled) == name
