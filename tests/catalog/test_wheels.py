"""The wheels of the catalog: laws over all rows, and that a row answers as a scan of the same file does."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

import archfit.catalog
from archfit.arch import ComputeCapability, Verdict
from archfit.catalog import Wheel, load_catalog

CATALOG = load_catalog()
DEVICES = tuple(CATALOG.generations)


def bad(*rows: Wheel) -> list[str]:
    return [f"{w.package} {w.version} {w.platform}" for w in rows]


def test_every_row_says_where_it_comes_from_and_when() -> None:
    assert bad(*(w for w in CATALOG.wheels if not w.source or date.fromisoformat(w.read) > date.today())) == []


def test_a_measured_row_names_the_file_that_was_read() -> None:
    wrong = [w for w in CATALOG.wheels if not (re.fullmatch(r"[0-9a-f]{64}", w.sha256 or "") and w.size_bytes)]
    assert bad(*wrong) == []


def test_a_row_is_what_its_file_is_called() -> None:
    wrong = []
    for w in CATALOG.wheels:
        name, version, _, tags = parse_wheel_filename(w.file)
        platforms = {tag.platform for tag in tags}
        fits = w.platform == "any" or any(p.endswith(w.platform.removeprefix("linux_")) for p in platforms)
        if (str(name), version) != (canonicalize_name(w.package), Version(w.version)) or not fits:
            wrong.append(w)
    assert bad(*wrong) == []


def test_no_release_has_two_rows_for_one_platform() -> None:
    keys = [(w.package, w.version, w.platform) for w in CATALOG.wheels]
    assert len(keys) == len(set(keys))


def test_releases_stand_in_order() -> None:
    for package in CATALOG.packages:
        versions = [Version(w.version) for w in CATALOG.wheels_of(package)]
        assert versions == sorted(versions), package


def test_the_packages_are_those_of_the_rows() -> None:
    assert [w for name in CATALOG.packages for w in CATALOG.wheels_of(name)] == list(CATALOG.wheels)


def test_nothing_is_known_of_a_package_that_was_not_read() -> None:
    assert CATALOG.wheels_of("no-such-package") == ()


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_row_without_code_says_so_for_every_gpu(device: ComputeCapability) -> None:
    wrong = [w for w in CATALOG.wheels if not w.libraries and w.verdict(device) is not Verdict.NO_GPU_CODE]
    assert bad(*wrong) == []


def test_code_that_runs_has_targets() -> None:
    assert bad(*(w for w in CATALOG.wheels if any(w.verdict(d).runs for d in DEVICES) and not w.targets)) == []


def test_the_driver_for_a_wheel_is_never_older_than_the_one_for_its_cuda() -> None:
    wrong = [
        w
        for w in CATALOG.wheels
        for device in DEVICES
        if w.cuda and (driver := CATALOG.min_driver_of(w, device)) and (floor := CATALOG.min_driver_for_cuda(w.cuda))
        if driver < floor
    ]
    assert bad(*wrong) == []


def test_the_table_is_small() -> None:
    path = Path(archfit.catalog.__file__).with_name("wheels.json")
    assert path.stat().st_size < 1_000_000


def test_every_text_of_the_table_is_used() -> None:
    table = json.loads(Path(archfit.catalog.__file__).with_name("wheels.json").read_text("utf-8"))
    used = {c[2] for w in table["wheels"] for lib in w["libraries"] for c in lib[2]}
    used |= {c[3] for w in table["wheels"] for c in w.get("compilers", ())}
    assert used == set(range(len(table["targets"])))


def test_every_target_of_a_torch_wheel_can_be_made_by_its_toolkit() -> None:
    made_by = {t.cuda: {(x.capability.canonical, x.suffix) for x in t.targets} for t in CATALOG.toolkits}
    unknown = [
        f"{w.version} {w.platform}: {t}"
        for w in CATALOG.wheels_of("torch")
        for t in w.targets
        if w.cuda in made_by and (t.capability.canonical, t.suffix) not in made_by[w.cuda]
    ]
    assert unknown == []


def test_every_documented_build_that_can_be_measured_has_been() -> None:
    assert [(b.torch, b.platform, b.confidence) for b in CATALOG.builds if b.on_pypi and b.wheel is None] == []


def test_every_build_from_pypi_is_what_was_read() -> None:
    wrong = [b for b in CATALOG.builds if b.wheel and (b.cuda, b.torch) != (b.wheel.cuda, b.wheel.version)]
    assert wrong == []


def test_wheels_for_the_cpu_hold_no_code() -> None:
    cpu = [b for b in CATALOG.builds if b.wheel and b.cuda is None]
    assert {(b.platform) for b in cpu} == {"linux_aarch64", "win_amd64"}
    assert {b.wheel.verdict(device) for b in cpu if b.wheel for device in DEVICES} == {Verdict.NO_GPU_CODE}


def test_the_catalog_tells_of_many_packages() -> None:
    with_code = {w.package for w in CATALOG.wheels if w.libraries}
    assert len(CATALOG.packages) >= 40
    assert {"torch", "torchvision", "torchaudio", "xformers", "vllm", "bitsandbytes", "onnxruntime-gpu"} <= with_code


def test_every_release_of_torch_on_pypi_has_a_row_for_each_platform() -> None:
    found = {(w.version, w.platform) for w in CATALOG.wheels_of("torch")}
    written = {(b.torch, b.platform) for b in CATALOG.builds if b.on_pypi}
    assert written - found == set()


@pytest.mark.parametrize(
    ("package", "version", "device", "verdict"),
    [
        ("torch", "2.4.1", "12.0", Verdict.NONE),
        ("torch", "2.8.0", "12.0", Verdict.NATIVE),
        ("torch", "2.8.0", "6.1", Verdict.NONE),
        ("torch", "2.8.0", "8.9", Verdict.COMPATIBLE),
        ("xformers", "0.0.35", "12.0", Verdict.JIT),
    ],
)
def test_what_is_well_known(package: str, version: str, device: str, verdict: Verdict) -> None:
    rows = [w for w in CATALOG.wheels_of(package) if (w.version, w.platform) == (version, "linux_x86_64")]
    assert {w.verdict(ComputeCapability.parse(device)) for w in rows} == {verdict}
