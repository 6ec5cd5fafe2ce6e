"""Looking around an environment: caches, libraries in the way, the driver's library; small real files in a scratch home."""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from archfit.arch import ComputeCapability
from archfit.model import Distribution, Environment, Library
from archfit.probe.surroundings import (
    cubin_capabilities,
    find_libcuda,
    find_shadows,
    observe_surroundings,
    read_compute_cache,
    read_torch_extensions,
    read_triton_cache,
    torch_extensions_folder,
    triton_folder,
)
from worlds import DATA, world


def extension(folder: Path, name: str, fixture: str = "libsm_80.so", include: Path | None = None) -> Path:
    """A folder as torch leaves it after compiling an extension."""
    place = folder / name
    place.mkdir(parents=True)
    shutil.copy(DATA / fixture, place / f"{name}.so")
    site = include or folder / "site"
    (place / "build.ninja").write_text(f"cflags = -isystem {site}/torch/include -isystem {site}/torch/include/torch\n")
    return place


def test_where_torch_keeps_its_extensions() -> None:
    home = Path("/home/you")
    env = world(tag="cp311", cuda="12.8")
    assert torch_extensions_folder(env, {}, home) == home / ".cache/torch_extensions/py311_cu128"
    assert torch_extensions_folder(env, {"TORCH_EXTENSIONS_DIR": "/x"}, home) == Path("/x")
    assert torch_extensions_folder(env, {"XDG_CACHE_HOME": "/c"}, home) == Path("/c/torch_extensions/py311_cu128")
    assert (
        torch_extensions_folder(world(tag="cp313t", cuda=None), {}, home) == home / ".cache/torch_extensions/py313t_cpu"
    )
    assert triton_folder({}, home) == home / ".triton/cache"
    assert triton_folder({"TRITON_CACHE_DIR": "/t"}, home) == Path("/t")


def test_an_extension_is_read_by_its_bytes(tmp_path: Path) -> None:
    site = tmp_path / "site"
    extension(tmp_path / "cache", "fused", include=site)
    (entry,) = read_torch_extensions(tmp_path / "cache", [site])
    assert (entry.kind, entry.path.name, entry.trouble) == ("torch-extension", "fused", "")
    assert entry.library is not None
    assert entry.library.containers


def test_an_extension_for_another_torch_or_older_than_torch_or_locked(tmp_path: Path) -> None:
    site, cache = tmp_path / "site", tmp_path / "cache"
    (site / "torch-2.8.0.dist-info").mkdir(parents=True)
    extension(cache, "elsewhere", include=tmp_path / "other")
    extension(cache, "fresh", include=site)
    os.utime(extension(cache, "old", include=site) / "old.so", (1, 1))
    long_ago = time.time() - 7200
    lock = extension(cache, "stuck", include=site) / "lock"
    lock.touch()
    os.utime(lock, (long_ago, long_ago))
    (extension(cache, "working", include=site) / "lock").touch()
    found = {entry.path.name: (entry.trouble, entry.detail) for entry in read_torch_extensions(cache, [site])}
    assert found == {
        "elsewhere": ("other-torch", str(tmp_path / "other")),
        "fresh": ("", ""),
        "old": ("older", "old.so"),
        "stuck": ("locked", str(lock)),
        "working": ("", ""),
    }


def test_what_is_no_extension_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    broken = extension(tmp_path, "cut", include=tmp_path) / "cut.so"
    broken.write_bytes(b"\x7fELF")
    assert [(e.path.name, e.library) for e in read_torch_extensions(tmp_path, [tmp_path])] == [("cut", None)]
    assert read_torch_extensions(tmp_path / "not-there", []) == []
    assert read_torch_extensions(None, []) == []


def test_triton_kernels_are_counted_by_gpu(tmp_path: Path) -> None:
    for number, arch in enumerate((90, 90, 120)):
        place = tmp_path / f"hash{number}"
        place.mkdir()
        (place / "kernel.json").write_text(json.dumps({"target": {"backend": "cuda", "arch": arch, "warp_size": 32}}))
        (place / "kernel.cubin").write_bytes(b"x" * 100)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/kernel.json").write_text("{")
    (tmp_path / "bad/list.json").write_text("[]")
    (entry,) = read_triton_cache(tmp_path)
    assert (entry.count, entry.targets) == (3, (ComputeCapability(9, 0), ComputeCapability(12, 0)))
    assert entry.size_bytes > 300
    assert read_triton_cache(tmp_path / "not-there") == []


def cubin(osabi: int, flags: int, machine: int = 190) -> bytes:
    head = b"\x7fELF\x02\x01\x01" + bytes([osabi]) + bytes(8)
    return (head + struct.pack("<HHIQQQI", 2, machine, 1, 0, 0, 0, flags)).ljust(64, b"\0")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (cubin(0x33, 0x5A055A), [(9, 0)]),
        (cubin(0x41, 0x6005A04), [(9, 0)]),
        (b"index" + cubin(0x41, 0x6007802) + cubin(0x33, 0x500550), [(12, 0), (8, 0)]),
        (cubin(0x33, 0x500550, machine=62), []),
        (cubin(0x33, 0x500550)[:40], []),
        (b"", []),
    ],
)
def test_cubins_in_the_drivers_cache_are_told_by_their_flags(data: bytes, found: list[tuple[int, int]]) -> None:
    assert list(cubin_capabilities(data)) == [ComputeCapability(*pair) for pair in found]


def test_the_drivers_cache(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "index").write_bytes(b"index")
    (tmp_path / "a/b/1234").write_bytes(b"head" + cubin(0x33, 0x500550))
    (entry,) = read_compute_cache(tmp_path)
    assert (entry.kind, entry.count, entry.targets) == ("compute", 1, (ComputeCapability(8, 0),))


# --- libraries -------------------------------------------------------------------------------------------------------


def with_own(root: Path, name: str = "libnvJitLink.so.12") -> Environment:
    own = Library(f"nvidia/nvjitlink/lib/{name}", 1, (), ())
    return replace(world(Distribution("nvidia-nvjitlink-cu12", "12.8.93", libraries=(own,))), root=root)


def test_a_library_of_another_toolkit_comes_first(tmp_path: Path) -> None:
    first, second = tmp_path / "cuda-12.1", tmp_path / "cuda-12.2"
    for folder, version in ((first, "12.1.105"), (second, "12.2.140")):
        folder.mkdir()
        (folder / f"libnvJitLink.so.{version}").touch()
        (folder / "libnvJitLink.so.12").symlink_to(f"libnvJitLink.so.{version}")
    environ = {"LD_LIBRARY_PATH": f"{tmp_path}/none:{first}:{second}:"}
    (shadow,) = find_shadows(with_own(tmp_path / "env"), environ)
    assert (shadow.path, shadow.version, shadow.own_version) == (first / "libnvJitLink.so.12", "12.1.105", "12.8.93")


def test_a_folder_of_the_environment_itself_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "libnvJitLink.so.12").touch()
    assert list(find_shadows(with_own(tmp_path), {"LD_LIBRARY_PATH": str(tmp_path)})) == []
    assert list(find_shadows(with_own(tmp_path / "env"), {})) == []


def test_the_drivers_library_is_followed_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.570.86.10").touch()
    (tmp_path / "libcuda.so.1").symlink_to("libcuda.so.570.86.10")
    assert find_libcuda({"LD_LIBRARY_PATH": str(tmp_path)}) == (tmp_path / "libcuda.so.570.86.10").resolve()


def test_all_of_it_together_and_from_nothing(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "CUDA_CACHE_DISABLE": "1", "CUDA_VISIBLE_DEVICES": "", "PATH": "/bin"}
    around = observe_surroundings(world(), environ, ())
    assert around.variables == {"CUDA_CACHE_DISABLE": "1", "CUDA_VISIBLE_DEVICES": ""}
    assert (around.caches, around.shadows, around.gpu_states) == ((), (), ())
    assert around.compute_cache == "CUDA_CACHE_DISABLE=1"
    assert observe_surroundings(world(), {"HOME": str(tmp_path)}, ()).compute_cache == ""
