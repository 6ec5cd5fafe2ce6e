"""What a word on the command line may mean, and what is in it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from index import make_wheel

from archfit import api
from archfit.arch import CudaVersion
from archfit.errors import FormatError, UsageError
from archfit.model import Compiler, Distribution, Library, Subject, Text
from worlds import DATA, TORCH_2_4_1, build_environment, install, library, site_packages

MEMBERS = {"kernels/_C.so": "libserver.so", "kernels/lib/code.dll": "code.dll", "kernels/scale.cubin": "scale_90.cubin"}
WHEEL = "kernels-1.0-cp311-cp311-linux_x86_64.whl"


def scanned(name: object, **wish: object) -> Subject:
    return api.scan(api.ScanWish(str(name), **wish))  # type: ignore[arg-type]


def test_a_library() -> None:
    path = DATA / "libserver.so"
    code = Distribution("libserver.so", "", libraries=(library("libserver.so", "libserver.so"),))
    assert scanned(path) == Subject(str(path), "library", (code,), file=path.name, size_bytes=path.stat().st_size)


@pytest.mark.parametrize("name", ["scale_75.ptx", "scale_90.cubin", "several.fatbin", "libstatic.a", "code.dll"])
def test_every_kind_of_file(name: str) -> None:
    assert scanned(DATA / name).libraries == (library(name, name),)


def test_a_wheel_holds_what_its_files_hold(tmp_path: Path) -> None:
    found = scanned(make_wheel(tmp_path, WHEEL, MEMBERS))
    wanted = tuple(library(path, fixture) for path, fixture in sorted(MEMBERS.items()))
    assert found.distributions == (Distribution("kernels", "1.0", libraries=wanted),)
    assert (found.kind, found.file, found.unreadable, found.cached) == ("wheel", WHEEL, (), False)


def test_a_damaged_member_does_not_hide_the_others(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, WHEEL, {**MEMBERS, "kernels/cut.so": (DATA / "libserver.so").read_bytes()[:5000]})
    found = scanned(path)
    assert [name for name, _ in found.unreadable] == ["kernels/cut.so"]
    assert len(found.libraries) == len(MEMBERS)


def test_the_cuda_of_torch_is_read_from_its_own_page(tmp_path: Path) -> None:
    page = b"__version__ = '2.8.0+cu128'\ncuda: Optional[str] = '12.8'\n"
    path = make_wheel(tmp_path, "torch-2.8.0-cp311-cp311-linux_x86_64.whl", {"torch/version.py": page})
    assert scanned(path).cuda == CudaVersion(12, 8)


def test_a_wheel_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / WHEEL
    path.write_bytes(b"PK" + bytes(100))
    with pytest.raises(FormatError, match="not-zip"):
        scanned(path)


def test_an_environment(old_env: Path) -> None:
    found = scanned(old_env)
    assert found.kind == "environment"
    assert [d.name for d in found.distributions if d.libraries] == ["nvidia-cublas-cu12", "torch", "torchvision"]
    assert found.cuda == CudaVersion(12, 1)


def test_a_folder_of_packages_is_read_like_an_environment(old_env: Path) -> None:
    names = [(d.name, d.version) for d in scanned(site_packages(old_env)).distributions]
    assert names == [(d.name, d.version) for d in scanned(old_env).distributions]


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "code" / "deep").mkdir(parents=True)
    shutil.copyfile(DATA / "libserver.so", tmp_path / "code" / "a.so")
    shutil.copyfile(DATA / "scale_75.ptx", tmp_path / "code" / "deep" / "b.ptx")
    (tmp_path / "code" / "c.so").symlink_to("a.so")
    (tmp_path / "code" / "notes.txt").write_text("nothing to see\n")
    found = scanned(tmp_path / "code")
    wanted = (library("a.so", "libserver.so"), library("deep/b.ptx", "scale_75.ptx"))
    assert found == Subject(
        str(tmp_path / "code"), "folder", (Distribution("code", "", libraries=wanted),), file="code"
    )


def test_what_cannot_be_read_in_a_folder_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    shutil.copyfile(DATA / "libserver.so", tmp_path / "good.so")
    (tmp_path / "empty.so").write_bytes(b"")
    (tmp_path / "lost.so").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.so")
    found = scanned(tmp_path)
    assert [lib.path for lib in found.libraries] == ["good.so"]
    assert [name for name, _ in found.unreadable] == ["empty.so", "lost.so", "pipe.so"]
    assert dict(found.unreadable)["lost.so"] == Text("plain", {"text": "No such file or directory"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_no_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "outer" / "closed").mkdir(parents=True)
    (tmp_path / "outer" / "closed").chmod(0)
    try:
        assert scanned(tmp_path / "outer").unreadable == (("closed", Text("plain", {"text": "Permission denied"})),)
        with pytest.raises(PermissionError):
            scanned(tmp_path / "outer" / "closed")
    finally:
        (tmp_path / "outer" / "closed").chmod(0o700)


def test_a_folder_that_closes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for root, who may enter every folder: the system refuses this one."""
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert scanned(tmp_path).unreadable == (("closed", Text("plain", {"text": "Permission denied"})),)
    with pytest.raises(PermissionError):
        scanned(tmp_path / "closed")


def test_compilers_are_told_apart_from_libraries(tmp_path: Path) -> None:
    (tmp_path / "libdevice.10.bc").write_bytes(b"BC\xc0\xde")
    path = make_wheel(tmp_path, WHEEL, {"triton/lib/libdevice.10.bc": b"BC\xc0\xde"})
    assert scanned(tmp_path / "libdevice.10.bc").compilers == (Compiler("libdevice.10.bc", "libdevice", None, ()),)
    assert scanned(tmp_path).compilers == (Compiler("libdevice.10.bc", "libdevice", None, ()),)
    assert scanned(path).libraries == ()


# --- words that mean nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("libmine.so", "scan-missing"),
        ("dist/none.whl", "scan-missing"),
        ("none.whl", "scan-missing"),
        ("./torch", "scan-missing"),
        ("~nobody-at-all/code", "scan-missing"),
        ("torch 2.8", "scan-unknown"),
        ("", "scan-unknown"),
        ("torch==", "scan-unknown"),
    ],
)
def test_a_word_that_means_nothing(word: str, key: str) -> None:
    with pytest.raises(UsageError, match=key):
        scanned(word)


# --- a folder of wheels ----------------------------------------------------------------------------------------------


def test_a_folder_of_wheels_stands_for_each_of_them(wheelhouse: Path) -> None:
    assert api.spread(str(wheelhouse)) == tuple(map(str, sorted(wheelhouse.glob("*.whl"))))


def test_other_code_beside_wheels_is_not_forgotten(wheelhouse: Path) -> None:
    shutil.copyfile(DATA / "libserver.so", wheelhouse / "more.so")
    assert api.spread(str(wheelhouse))[-1] == str(wheelhouse)


def test_everything_else_stands_for_itself(old_env: Path, tmp_path: Path) -> None:
    install(tmp_path / "target", TORCH_2_4_1)
    words = [str(old_env), str(tmp_path / "target"), str(tmp_path / "cache"), "torch==2.8.0", "nothing.so"]
    assert [api.spread(word) for word in words] == [(word,) for word in words]


# --- progress --------------------------------------------------------------------------------------------------------


def test_progress_adds_up(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, WHEEL, MEMBERS)
    totals: list[int] = []
    counts: list[int] = []
    api.scan(api.ScanWish(str(path)), counts.append, totals.append)
    assert totals == [sum(counts)]
    assert totals[0] > 0


def test_all_of_a_wheel_is_searched_and_of_a_well_known_library_what_the_catalog_says(tmp_path: Path) -> None:
    """`libcublas.so` keeps no code but in .nv_fatbin, says the catalog; this one hides some elsewhere."""
    shutil.copyfile(DATA / "libhidden.so", tmp_path / "libcublas.so")
    quick, deep = scanned(tmp_path).libraries[0], scanned(tmp_path, deep=True).libraries[0]
    assert quick.containers == ()
    assert deep == replace(library("libcublas.so", "libhidden.so"), path="libcublas.so")
    assert isinstance(quick, Library)


def test_an_environment_that_is_broken_can_be_scanned(tmp_path: Path) -> None:
    root = build_environment(tmp_path / "env", TORCH_2_4_1)
    (root / "bin" / "python").unlink()
    (root / "bin" / "python").symlink_to(tmp_path / "gone")
    assert [d.name for d in scanned(root).distributions] == ["torch"]
