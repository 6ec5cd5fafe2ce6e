"""What is installed: owners, import names, every shared object once, and files that cannot be read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from archfit.binary.library import read_library
from archfit.model import Distribution, Library, Text
from archfit.probe.packages import Installed, observe_packages
from worlds import CUBLAS_12_1, DATA, TORCH_2_4_1, TORCH_WANTS, VISION_0_19_1, VISION_WANTS, Package, install

OLD, NO_GPU = "libtorch_2_4_1.so", "libno_gpu.so"


def read(path: str, fixture: str) -> Library:
    return read_library(DATA / fixture, path)


def owners(installed: Installed) -> dict[str, list[str]]:
    return {d.name: [lib.path for lib in d.libraries] for d in installed.distributions if d.libraries}


def test_everything_about_a_small_environment(tmp_path: Path) -> None:
    for package in (VISION_0_19_1, TORCH_2_4_1, CUBLAS_12_1):
        install(tmp_path, package)
    assert observe_packages([tmp_path]) == Installed(
        (
            Distribution("nvidia-cublas-cu12", "12.1.3.1", (), (), (read("nvidia/cublas/lib/libcublas.so.12", OLD),)),
            Distribution(
                "torch",
                "2.4.1",
                TORCH_WANTS,
                ("torch", "torchgen"),
                (read("torch/lib/libtorch_cpu.so", NO_GPU), read("torch/lib/libtorch_cuda.so", OLD)),
            ),
            Distribution("torchvision", "0.19.1", VISION_WANTS, ("torchvision",), (read("torchvision/_C.so", OLD),)),
        ),
        (),
    )


def test_nothing_is_installed(tmp_path: Path) -> None:
    assert observe_packages([tmp_path, tmp_path / "gone"]) == Installed((), ())


def test_names_are_normalised(tmp_path: Path) -> None:
    for name in ("Flash_Attn", "ruamel.yaml", "PyYAML"):
        install(tmp_path, Package(name, "1.0"))
    assert [d.name for d in observe_packages([tmp_path]).distributions] == ["flash-attn", "pyyaml", "ruamel-yaml"]


# --- import names ----------------------------------------------------------------------------------------------------

IMPORTS = [
    ("top_level.txt", Package("PyYAML", "6.0", top_level="_yaml\nyaml\n"), ("_yaml", "yaml")),
    ("top_level.txt with a dotted name", Package("a", "1", top_level="a.b\na\n__pycache__\n"), ("a",)),
    ("a package", Package("mmcv", "2", texts={"mmcv/__init__.py": "", "mmcv/utils/__init__.py": ""}), ("mmcv",)),
    ("a module", Package("six", "1", texts={"six.py": ""}), ("six",)),
    ("an extension module", Package("x", "1", libraries={"x.cpython-311-x86_64-linux-gnu.so": NO_GPU}), ("x",)),
    ("an abi3 module", Package("x", "1", libraries={"_x.abi3.so": NO_GPU}), ("_x",)),
    ("two packages", Package("ops", "1", texts={"b/__init__.py": "", "a/__init__.py": ""}), ("b", "a")),
    ("a namespace", Package("nvidia-x", "1", texts={"nvidia/x/__init__.py": ""}), ()),
    ("scripts", Package("tool", "1", texts={"../../../bin/tool": "", "tool/__init__.py": ""}), ("tool",)),
    ("a bundle of libraries", Package("n", "1", libraries={"n.libs/libgomp.so.1": NO_GPU}), ()),
]


@pytest.mark.parametrize(("package", "names"), [row[1:] for row in IMPORTS], ids=[row[0] for row in IMPORTS])
def test_what_to_import(tmp_path: Path, package: Package, names: tuple[str, ...]) -> None:
    site = tmp_path / "lib" / "python3" / "site-packages"
    install(site, package)
    assert [d.import_names for d in observe_packages([site]).distributions] == [names]


# --- owners ----------------------------------------------------------------------------------------------------------


def test_a_quoted_path_in_the_record_has_its_owner(tmp_path: Path) -> None:
    install(tmp_path, Package("odd", "1.0", libraries={"shared/plain.so": NO_GPU}))
    shutil.copyfile(DATA / NO_GPU, tmp_path / "shared" / "with, comma.so")
    with (tmp_path / "odd-1.0.dist-info" / "RECORD").open("a") as record:
        record.write('"shared/with, comma.so",sha256=x,1\n')
    assert owners(observe_packages([tmp_path])) == {"odd": ["shared/plain.so", "shared/with, comma.so"]}


def test_a_library_that_nobody_lists_has_no_package(tmp_path: Path) -> None:
    shutil.copyfile(DATA / NO_GPU, tmp_path / "mine.so")
    assert owners(observe_packages([tmp_path])) == {"(no package)": ["mine.so"]}


def test_a_package_without_record_owns_its_folder(tmp_path: Path) -> None:
    """conda's packages and old installers list no files; the libraries that a repaired wheel bundles belong to it too."""
    install(tmp_path, VISION_0_19_1)
    (tmp_path / "torchvision-0.19.1.dist-info" / "RECORD").unlink()
    (tmp_path / "torchvision.libs").mkdir()
    shutil.copyfile(DATA / NO_GPU, tmp_path / "torchvision.libs" / "libjpeg.so.8")
    owned = ["torchvision/_C.so", "torchvision.libs/libjpeg.so.8"]
    assert {name: sorted(paths) for name, paths in owners(observe_packages([tmp_path])).items()} == {
        "torchvision": sorted(owned)
    }


def test_conda_keeps_the_libraries_of_torch_in_the_prefix(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    install(site, Package("torch", "2.4.1"))
    (tmp_path / "conda-meta").mkdir()
    for name in ("libtorch_cuda.so", "libc10.so", "libz.so"):
        shutil.copyfile(DATA / NO_GPU, tmp_path / "lib" / name)
    assert owners(observe_packages([site])) == {"torch": ["lib/libtorch_cuda.so", "lib/libc10.so"]}


def test_broken_metadata_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken-1.0.dist-info").mkdir()
    (tmp_path / "broken-1.0.dist-info" / "METADATA").write_text("")
    assert observe_packages([tmp_path]) == Installed((), ())


def test_the_first_folder_wins(tmp_path: Path) -> None:
    first, second = tmp_path / "venv", tmp_path / "system"
    install(first, Package("torch", "2.8.0"))
    install(second, Package("torch", "1.13.1"))
    assert [(d.name, d.version) for d in observe_packages([first, second]).distributions] == [("torch", "2.8.0")]


# --- files -----------------------------------------------------------------------------------------------------------


def test_which_files_are_shared_objects(tmp_path: Path) -> None:
    names = ["a.so", "b.so.12", "c.so.1.2.3", "d.so.txt", "e.sox", "f.dll", "g.so.", "so", "h.py"]
    for name in names:
        shutil.copyfile(DATA / NO_GPU, tmp_path / name)
    assert owners(observe_packages([tmp_path])) == {"(no package)": ["a.so", "b.so.12", "c.so.1.2.3"]}


def test_the_same_file_under_two_names_is_read_once(tmp_path: Path) -> None:
    shutil.copyfile(DATA / NO_GPU, tmp_path / "a.so.1.0")
    os.link(tmp_path / "a.so.1.0", tmp_path / "b.so")
    (tmp_path / "c.so").symlink_to("a.so.1.0")
    assert owners(observe_packages([tmp_path])) == {"(no package)": ["a.so.1.0"]}


def test_two_files_with_the_same_bytes_are_both_read(tmp_path: Path) -> None:
    for name in ("a.so", "b.so"):
        shutil.copyfile(DATA / NO_GPU, tmp_path / name)
    assert owners(observe_packages([tmp_path])) == {"(no package)": ["a.so", "b.so"]}


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "elsewhere").mkdir()
    shutil.copyfile(DATA / NO_GPU, tmp_path / "elsewhere" / "a.so")
    (tmp_path / "site" / "loop").symlink_to(tmp_path / "site")
    (tmp_path / "site" / "link").symlink_to(tmp_path / "elsewhere")
    assert observe_packages([tmp_path / "site"]) == Installed((), ())


def test_what_cannot_be_read_is_kept_with_the_reason(tmp_path: Path) -> None:
    whole = (DATA / OLD).read_bytes()
    (tmp_path / "cut.so").write_bytes(whole[:100])
    (tmp_path / "dangling.so").symlink_to(tmp_path / "gone.so")
    (tmp_path / "empty.so").touch()
    (tmp_path / "zeros.so").write_bytes(bytes(200))
    shutil.copyfile(DATA / NO_GPU, tmp_path / "whole.so")
    installed = observe_packages([tmp_path])
    assert owners(installed) == {"(no package)": ["whole.so"]}
    assert dict(installed.unreadable) == {
        "cut.so": Text("file-cut", {"offset": "45296", "what": "section headers", "found": "0", "expected": "1408"}),
        "dangling.so": Text("plain", {"text": "No such file or directory"}),
        "empty.so": Text("file-cut", {"offset": "0", "what": "ELF header", "found": "0", "expected": "64"}),
        "zeros.so": Text("not-elf", {"offset": "0", "found": bytes(6).hex(" ")}),
    }


def test_a_file_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As another user would see it; root may open everything."""
    install(tmp_path, TORCH_2_4_1)
    opened = os.open

    def guarded(path: object, *arguments: int) -> int:
        if str(path).endswith("libtorch_cuda.so"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", guarded)
    installed = observe_packages([tmp_path])
    assert installed.unreadable == (("torch/lib/libtorch_cuda.so", Text("plain", {"text": "Permission denied"})),)


def test_progress_counts_bytes(tmp_path: Path) -> None:
    for name in ("a.so", "b.so"):
        shutil.copyfile(DATA / NO_GPU, tmp_path / name)
    told: list[tuple[int, int]] = []
    observe_packages([tmp_path], lambda done, total: told.append((done, total)))
    sizes = sorted((path.stat().st_size for path in tmp_path.rglob("*.so")), reverse=True)
    assert told == [(sizes[0], sum(sizes)), (sum(sizes), sum(sizes))]


# --- what pip, setuptools and the path leave behind --------------------------------------------------------------------


def test_what_pip_moved_aside_is_not_installed(tmp_path: Path) -> None:
    install(tmp_path, Package("torch", "2.8.0", libraries={"torch/lib/libtorch_cuda.so": NO_GPU}))
    install(tmp_path, Package("aside", "2.4.1", libraries={"~orch/lib/libtorch_cuda.so": OLD}))
    (tmp_path / "aside-2.4.1.dist-info").rename(tmp_path / "~orch-2.4.1.dist-info")
    metadata = tmp_path / "~orch-2.4.1.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("aside", "torch"))
    installed = observe_packages([tmp_path])
    assert [str(d) for d in installed.distributions] == ["torch 2.8.0"]
    assert owners(installed) == {"torch": ["torch/lib/libtorch_cuda.so"]}


def test_libraries_of_a_shadowed_package_are_not_its_own(tmp_path: Path) -> None:
    first, second = tmp_path / "venv", tmp_path / "system"
    install(first, Package("torch", "2.8.0", libraries={"torch/lib/libtorch_cuda.so": NO_GPU}))
    install(second, Package("torch", "2.4.1", libraries={"torch/lib/libtorch_cuda_old.so": OLD}))
    assert owners(observe_packages([first, second])) == {"torch": ["torch/lib/libtorch_cuda.so"]}


def test_folders_without_a_package_do_not_speak_for_each_other(tmp_path: Path) -> None:
    for egg in ("good-1.0-py3.11.egg", "bad-1.0-py3.11.egg"):
        (tmp_path / egg).mkdir()
        shutil.copyfile(DATA / NO_GPU, tmp_path / egg / "_ext.so")
    assert owners(observe_packages([tmp_path])) == {
        "bad-1.0-py3.11.egg (no package)": ["bad-1.0-py3.11.egg/_ext.so"],
        "good-1.0-py3.11.egg (no package)": ["good-1.0-py3.11.egg/_ext.so"],
    }


@pytest.mark.parametrize("way", ["editable", "egg-link"])
def test_a_package_installed_in_place_is_read_where_it_lies(tmp_path: Path, way: str) -> None:
    """``pip install -e`` and ``setup.py develop``: how extensions with kernels of their own are mostly installed."""
    site, source = tmp_path / "site", tmp_path / "my source"
    for folder in (source / "mmdet3d" / "ops", source / "build" / "lib" / "mmdet3d"):
        folder.mkdir(parents=True)
        shutil.copyfile(DATA / OLD, folder / "_ext.so")
    if way == "editable":
        install(site, Package("mmdet3d", "1.0"))
        told = {"url": source.as_uri(), "dir_info": {"editable": True}}
        (site / "mmdet3d-1.0.dist-info" / "direct_url.json").write_text(json.dumps(told))
    else:
        site.mkdir()
        (site / "mmdet3d.egg-link").write_text(f"{source}\n.")
        (source / "mmdet3d.egg-info").mkdir()
        (source / "mmdet3d.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: mmdet3d\nVersion: 1.0\n")
    installed = observe_packages([site])
    assert [str(d) for d in installed.distributions] == ["mmdet3d 1.0"]
    assert owners(installed) == {"mmdet3d": [str(source / "mmdet3d" / "ops" / "_ext.so")]}


# --- what is listed and cannot be looked at --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["deleted", "folder", "pipe"])
def test_a_listed_library_that_is_no_file_is_told(tmp_path: Path, kind: str) -> None:
    """Never fine by absence: a torch without its libtorch_cuda.so is not a healthy torch."""
    site = tmp_path / "site-packages"
    install(site, TORCH_2_4_1)
    library = site / "torch/lib/libtorch_cuda.so"
    library.unlink()
    if kind == "folder":
        library.mkdir()
    elif kind == "pipe":
        os.mkfifo(library)
    assert observe_packages([site]).unreadable == (("torch/lib/libtorch_cuda.so", Text("missing")),)
