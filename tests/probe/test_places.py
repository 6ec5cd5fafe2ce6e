"""Which machine this is, and where its folders really lie."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from archfit.arch import ComputeCapability
from archfit.model import CacheEntry
from archfit.probe.places import find_storage, fingerprint, is_remote, observe_host, observe_places, parse_mounts
from worlds import library, world

MOUNTS = r"""22 1 252:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
36 22 0:52 / /home rw,noatime shared:2 - nfs4 server:/export/home rw,vers=4.2
37 22 0:53 /a /mnt/two\040words rw - lustre 10.0.0.1@tcp:/scratch rw
38 22 0:54 / /mnt/two\040words rw - tmpfs tmpfs rw
cut off
"""


def test_mounts_are_read_and_the_last_on_a_point_counts() -> None:
    assert parse_mounts(MOUNTS) == {
        "/": ("ext4", "/dev/vda"),
        "/home": ("nfs4", "server:/export/home"),
        "/mnt/two words": ("tmpfs", "tmpfs"),
    }


@pytest.mark.parametrize(
    ("filesystem", "source", "remote"),
    [
        ("nfs4", "server:/export", True),
        ("lustre", "10.0.0.1@tcp:/scratch", True),
        ("ceph", "10.0.0.1:6789:/", True),
        ("fuse.sshfs", "me@there:/data", True),
        ("cifs", "//server/share", True),
        ("gpfs", "scratch", True),
        ("beegfs", "beegfs_nodev", True),
        ("ext4", "/dev/vda", False),
        ("overlay", "overlay", False),
        ("tmpfs", "tmpfs", False),
        ("ext4", "//odd", False),
    ],
)
def test_what_other_machines_mount(filesystem: str, source: str, remote: bool) -> None:
    assert is_remote(filesystem, source) is remote


def test_a_folder_lies_on_the_nearest_mount_behind_its_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    mounts = {"/": ("ext4", "/dev/vda"), str(tmp_path.resolve() / "real"): ("nfs", "server:/x")}
    storage = find_storage(tmp_path / "link", mounts)
    assert storage
    assert (storage.filesystem, storage.source, storage.remote) == ("nfs", "server:/x", True)
    assert storage.inode == (tmp_path / "real").stat().st_ino
    assert find_storage(tmp_path / "none", mounts) is None


def test_a_fingerprint_is_that_of_names_sizes_and_times(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    assert fingerprint(first) == fingerprint(tmp_path / "none") == ""
    (first / "a.so").write_text("x")
    shutil.copytree(first, second)  # keeps the times
    assert fingerprint(first) == fingerprint(second) != ""
    os.utime(second / "a.so", ns=(1, 1))
    assert fingerprint(first) != fingerprint(second)


def test_a_host_may_be_named() -> None:
    assert observe_host({"ARCHFIT_HOST": "node-7"}).name == "node-7"
    own = observe_host({})
    assert own.name
    assert own.observed.endswith("Z")


def test_places_are_the_environment_and_the_caches_that_are_there(tmp_path: Path) -> None:
    triton, extensions = tmp_path / "triton", tmp_path / "extensions"
    triton.mkdir()
    extensions.mkdir()
    caches = (
        CacheEntry("triton", triton, 9, 4, targets=(ComputeCapability(9, 0), ComputeCapability(7, 0))),
        CacheEntry("torch-extension", extensions / "a", 9, 1, library("a.so", "libsm_90a.so")),
        CacheEntry("torch-extension", extensions / "b", 9, 1, library("b.so", "libsm_80.so")),
    )
    folders = {"torch-extension": extensions, "triton": triton, "compute": tmp_path / "none"}
    environment, first, second = observe_places(world(root=tmp_path), folders, caches)  # type: ignore[arg-type]
    assert (environment.kind, environment.path, environment.storage is not None) == ("environment", str(tmp_path), True)
    assert (first.kind, [c.sm for c in first.targets], first.count) == ("torch-extension", ["sm_80", "sm_90"], 2)
    assert (second.kind, [c.sm for c in second.targets], second.count) == ("triton", ["sm_70", "sm_90"], 4)
