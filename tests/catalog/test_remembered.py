"""A user's own measurement: kept by `archfit scan --remember`, and from then on part of the catalog."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import pytest

from archfit.arch import ComputeCapability, Verdict
from archfit.catalog import Build, Catalog
from archfit.catalog.remembered import remember
from archfit.cli import run
from archfit.errors import UsageError
from archfit.model import Subject
from archfit.scan import ScanWish, scan

sys.path.append(str(Path(__file__).parents[1] / "scan"))

from index import make_wheel

BLACKWELL = ComputeCapability(12, 0)


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "archfit" / "wheels"


def tiny(folder: Path, name: str = "kernels-1.0-cp311-cp311-manylinux_2_28_x86_64.whl") -> Path:
    package = name.split("-")[0]
    make_wheel(folder, name, {f"{package}/_C.so": "libserver.so"})
    return folder / name


def test_a_wheel_that_is_remembered_is_in_the_catalog(tmp_path: Path, own_folders: Path) -> None:
    subject = scan(ScanWish(str(tiny(tmp_path))))
    path = remember(subject, date(2026, 11, 25))
    (wheel,) = Catalog().wheels_of("kernels")
    assert path == own_folders / f"{subject.sha256}.json"
    assert (wheel.version, wheel.platform, wheel.python_tags, wheel.glibc) == (
        "1.0",
        "linux_x86_64",
        ("cp311",),
        "2.28",
    )
    assert (wheel.confidence, wheel.source, wheel.read) == ("measured", "your own measurement", "2026-11-25")
    assert (wheel.sha256, wheel.size_bytes, wheel.index) == (subject.sha256, subject.size_bytes, "")


def test_its_verdicts_are_those_of_the_scan(tmp_path: Path) -> None:
    from archfit.coverage import judge_subject

    subject = scan(ScanWish(str(tiny(tmp_path))))
    remember(subject, date(2026, 11, 25))
    catalog = Catalog()
    (wheel,) = catalog.wheels_of("kernels")
    scanned = {d: judge_subject(subject, d, catalog.loading_of).verdict for d in catalog.generations}
    assert {d: wheel.verdict(d) for d in catalog.generations} == scanned
    assert set(scanned.values()) & {Verdict.NATIVE, Verdict.COMPATIBLE}


def test_the_rest_of_the_catalog_stays_in_order(tmp_path: Path) -> None:
    before = Catalog().wheels
    remember(scan(ScanWish(str(tiny(tmp_path)))), date(2026, 11, 25))
    after = Catalog().wheels
    assert [w for w in after if w.package != "kernels"] == list(before)
    assert [w.package for w in after] == sorted(w.package for w in after)


def test_a_build_of_torch_that_was_measured_takes_the_place_of_what_was_written(tmp_path: Path) -> None:
    def build() -> Build:
        found = [b for b in Catalog().builds if (b.torch, b.variant, b.platform) == ("2.7.0", "cu128", "linux_x86_64")]
        assert len(found) == 1
        return found[0]

    written = build()
    name = "torch-2.7.0+cu128-cp311-cp311-manylinux_2_28_x86_64.whl"
    make_wheel(tmp_path, name, {"torch/lib/libtorch_cuda.so": "libserver.so", "torch/version.py": b"cuda = '12.8'\n"})
    remember(scan(ScanWish(str(tmp_path / name))), date(2026, 11, 25))
    measured = build()
    assert (written.confidence, measured.confidence, measured.wheel is not None) == ("documented", "measured", True)
    assert measured.index == written.index


def test_a_nightly_that_is_remembered_breaks_no_list_of_releases(tmp_path: Path) -> None:
    name = "torch-2.16.0.dev20261101+cu130-cp311-cp311-manylinux_2_28_x86_64.whl"
    make_wheel(tmp_path, name, {"torch/lib/libtorch_cuda.so": "libserver.so"})
    remember(scan(ScanWish(str(tmp_path / name))), date(2026, 11, 25))
    catalog = Catalog()
    assert "2.16.0.dev20261101+cu130" in [w.version for w in catalog.wheels_of("torch")]
    assert [b for b in catalog.builds if "dev" in b.torch] == []


def test_a_kept_file_that_is_damaged_is_passed_over(own_folders: Path) -> None:
    before = Catalog().wheels
    own_folders.mkdir(parents=True)
    (own_folders / "a.json").write_text("{")
    (own_folders / "b.json").write_text('{"wheels": [{}], "targets": [], "sources": []}')
    assert Catalog().wheels == before


def test_what_is_no_wheel_is_not_remembered() -> None:
    with pytest.raises(UsageError) as error:
        remember(Subject("lib.so", "library", (), file="lib.so"), date(2026, 11, 25))
    assert error.value.key == "remember-no-wheel"


def test_the_command_remembers_and_says_so(
    tmp_path: Path, own_folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["scan", str(tiny(tmp_path)), "--gpu", "RTX 5090", "--remember"])
    assert code == 0
    assert "Kept: kernels 1.0" in capsys.readouterr().err
    assert len(list(own_folders.iterdir())) == 1
