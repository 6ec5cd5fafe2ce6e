"""Laws over all rows of the catalog, and the answers it gives about names, drivers and toolkits."""

from __future__ import annotations

import json
import re
from importlib import resources
from itertools import pairwise
from typing import Any

import pytest

from archfit.arch import ComputeCapability, CudaVersion, Verdict
from archfit.catalog import load_catalog
from archfit.catalog.tables import load_toml
from archfit.errors import UsageError
from archfit.model import DriverRelease, Gpu

CATALOG = load_catalog()
PLATFORMS = ["linux_x86_64", "win_amd64"]
TABLES = ["builds.json", "gpus.json", "toolkits.json"]


def table(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(resources.files("archfit.catalog").joinpath(name).read_text("utf-8"))
    return loaded


def isa_order(isa: str) -> tuple[int, ...]:
    return tuple(map(int, isa.split(".")))


# --- laws over all rows ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_every_row_has_a_source(name: str) -> None:
    loaded = table(name)
    rows = [row for rows in loaded.values() if isinstance(rows, list) for row in rows if isinstance(row, dict)]
    assert [row for row in rows if not loaded["sources"][row["source"]].strip()] == []


@pytest.mark.parametrize("name", TABLES)
def test_no_source_is_unused(name: str) -> None:
    loaded = table(name)
    rows = [row for rows in loaded.values() if isinstance(rows, list) for row in rows if isinstance(row, dict)]
    used = {row[key] for row in rows for key in ("source", "driver_source") if key in row}
    assert used == set(range(len(loaded["sources"])))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_newer_cuda_never_needs_an_older_driver(platform: str) -> None:
    floors = [toolkit.floor.on(platform) for toolkit in CATALOG.toolkits]
    assert floors == sorted(floors)
    shipped = [driver for toolkit in CATALOG.toolkits if (driver := toolkit.first.on(platform))]
    assert shipped == sorted(set(shipped))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_toolkit_ships_a_driver_that_can_load_its_code(platform: str) -> None:
    early = [
        toolkit.cuda
        for toolkit in CATALOG.toolkits
        if (shipped := toolkit.first.on(platform))
        and CATALOG.branch_of(shipped) < CATALOG.branch_of(toolkit.floor.on(platform))
    ]
    assert early == []


def test_both_systems_ask_a_cuda_release_for_the_same_branch_of_driver() -> None:
    """Only the numbers differ: 527.41 on Windows is of the branch of 525.60.13."""
    kinds = [(t.floor, t.first) for t in CATALOG.toolkits]
    pairs = [(k.linux, k.windows) for kind in kinds for k in kind if k.linux and k.windows]
    assert len(pairs) > 30
    assert [(a, b) for a, b in pairs if CATALOG.branch_of(a) != CATALOG.branch_of(b)] == []


def test_the_releases_of_a_branch_go_on_past_its_number_on_windows() -> None:
    """R580 is the last branch for Maxwell to Volta; 582.28 of Windows is for them, 591.44 is not."""
    branches = {text: CATALOG.branch_of(DriverRelease.parse(text)) for text in _OF_A_BRANCH}
    assert branches == _OF_A_BRANCH
    window = CATALOG.driver_window([CATALOG.find_gpu("GTX 1080 Ti")], "win_amd64")
    assert [window.admits(DriverRelease.parse(text)) for text in ("582.28", "591.44")] == [True, False]


_OF_A_BRANCH = {"566.36": 565, "572.83": 570, "576.02": 575, "581.57": 580, "582.28": 580, "591.44": 590, "418.39": 418}


def test_a_driver_that_first_knows_a_gpu_on_windows_is_of_the_branch_that_does_on_linux_or_later() -> None:
    every = [Gpu(row.name, row.capability, "catalog", row.first_driver) for row in CATALOG.products]
    early = [
        gpu.name
        for gpu in every
        if (linux := CATALOG.first_driver_for(gpu))
        and (windows := CATALOG.first_driver_for(gpu, "win_amd64"))
        and windows.branch < linux.branch
    ]
    assert early == []
    assert str(CATALOG.first_driver_for(CATALOG.find_gpu("RTX 5090"), "win_amd64")) == "570.65"
    assert str(CATALOG.first_driver_for(CATALOG.find_gpu("RTX 5050"), "win_amd64")) == "575"


def test_every_row_of_a_driver_of_windows_has_a_source_and_a_date() -> None:
    rows = load_toml("windows.toml")["generation"]
    assert [row for row in rows if not row["source"] or not re.fullmatch(r"20\d\d-\d\d-\d\d", row["read"])] == []
    named = [text for row in rows for text in row["capabilities"]]
    assert len(named) == len(set(named))
    assert {ComputeCapability.parse(text) for text in named} <= set(CATALOG.generations)


def test_a_newer_toolkit_never_has_an_older_ptx_isa() -> None:
    assert [b.cuda for a, b in pairwise(CATALOG.toolkits) if isa_order(b.ptx_isa) < isa_order(a.ptx_isa)] == []


def test_toolkits_stand_in_order_and_once() -> None:
    cudas = [t.cuda for t in CATALOG.toolkits]
    assert cudas == sorted(set(cudas))


def test_a_newer_driver_never_knows_an_older_cuda() -> None:
    branches = sorted(table("toolkits.json")["branches"], key=lambda row: row["branch"])
    cudas = [CudaVersion.parse(row["cuda"]) for row in branches]
    assert cudas == sorted(cudas)


def test_the_driver_of_a_toolkit_knows_its_cuda() -> None:
    for platform in PLATFORMS:
        shipped = {t.cuda: driver for t in CATALOG.toolkits if (driver := t.first.on(platform))}
        assert {cuda: CATALOG.cuda_of_driver(driver) for cuda, driver in shipped.items()} == {c: c for c in shipped}


def test_every_target_of_a_build_can_be_made_by_its_toolkit() -> None:
    made_by = {t.cuda: {(x.capability, x.suffix) for x in t.targets} for t in CATALOG.toolkits}
    impossible = [
        (build.torch, build.variant, str(target))
        for build in CATALOG.builds
        for target in build.targets
        if build.cuda and (target.capability, target.suffix) not in made_by[build.cuda]
    ]
    assert impossible == []


def test_only_a_build_for_cuda_has_targets() -> None:
    assert [b for b in CATALOG.builds if (b.cuda is None) != (b.targets == ())] == []
    assert [b for b in CATALOG.builds if (b.cuda is None) != b.variant.startswith("cpu")] == []


def test_a_build_is_named_after_its_cuda() -> None:
    assert [b for b in CATALOG.builds if b.cuda and CudaVersion.parse(b.variant) != b.cuda] == []


def test_no_build_is_listed_twice() -> None:
    keys = [(b.torch, b.variant, b.platform, b.index) for b in CATALOG.builds]
    assert len(keys) == len(set(keys))


def test_builds_stand_in_release_order() -> None:
    orders = [b.order for b in CATALOG.builds]
    assert orders == sorted(orders)


def test_every_torch_of_a_build_has_its_companions() -> None:
    assert {b.torch for b in CATALOG.builds} - set(CATALOG.releases) == set()


def test_every_product_can_be_targeted_by_some_toolkit() -> None:
    known = {t.capability.canonical for toolkit in CATALOG.toolkits for t in toolkit.targets}
    assert [p.name for p in CATALOG.products if p.capability.canonical not in known] == []


def test_a_product_name_means_one_capability() -> None:
    meanings: dict[str, set[ComputeCapability]] = {}
    for product in CATALOG.products:
        meanings.setdefault(product.name.casefold(), set()).add(product.capability)
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def test_no_product_came_before_its_generation() -> None:
    early = [
        p.name
        for p in CATALOG.products
        if (g := CATALOG.generations.get(p.capability)) and p.first_driver and g.first_driver.linux
        if p.first_driver < g.first_driver.linux
    ]
    assert early == []


def test_open_kernel_modules_are_required_from_blackwell_on() -> None:
    assert {c for c, g in CATALOG.generations.items() if g.open_only} == {
        c for c in CATALOG.generations if c >= ComputeCapability(10, 0)
    }


def test_maxwell_pascal_and_volta_end_with_driver_branch_580() -> None:
    ended = {c: g.last_branch for c, g in CATALOG.generations.items() if g.last_branch}
    assert ended == {c: 580 for c in CATALOG.generations if c < ComputeCapability(7, 5)}


# --- names of GPUs ---------------------------------------------------------------------------------------------------

NAMES = {
    "RTX 5090": "12.0",
    "rtx 5090": "12.0",
    "NVIDIA GeForce RTX 5090": "12.0",
    "5090": "12.0",
    "sm_120": "12.0",
    "12.0": "12.0",
    "120": "12.0",
    "compute_90": "9.0",
    "10.1": "11.0",
    "H200": "9.0",
    "NVIDIA H200": "9.0",
    "H100": "9.0",
    "NVIDIA H100 80GB HBM3": "9.0",
    "H100 PCIe": "9.0",
    "A100": "8.0",
    "NVIDIA A100-SXM4-80GB": "8.0",
    "RTX 3090": "8.6",
    "RTX 3090 Ti": "8.6",
    "RTX A6000": "8.6",
    "A10G": "8.6",
    "RTX 4090": "8.9",
    "RTX 6000 Ada": "8.9",
    "NVIDIA RTX 6000 Ada Generation": "8.9",
    "L4": "8.9",
    "L40S": "8.9",
    "T4": "7.5",
    "Tesla T4": "7.5",
    "RTX 2080 Ti": "7.5",
    "Quadro RTX 5000": "7.5",
    "V100": "7.0",
    "Tesla V100-SXM2-32GB": "7.0",
    "GTX 1080 Ti": "6.1",
    "P100": "6.0",
    "B200": "10.0",
    "B300": "10.3",
    "AGX Thor": "11.0",
    "GB10": "12.1",
    "NVIDIA GB10": "12.1",
    "DGX Spark": "12.1",
    "RTX PRO 6000 Blackwell": "12.0",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_finds_its_capability(name: str) -> None:
    assert str(CATALOG.find_gpu(name).capability) == NAMES[name]


def test_a_gpu_that_was_asked_for_is_pretended() -> None:
    gpu = CATALOG.find_gpu("RTX 5090")
    assert (gpu.name, gpu.source, gpu.pretended) == ("GeForce RTX 5090", '--gpu "RTX 5090"', True)


@pytest.mark.parametrize("name", ["RTX 5000", "RTX 6000", "Laptop GPU"])
def test_a_name_of_several_generations_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as error:
        CATALOG.find_gpu(name)
    assert (error.value.key, error.value.values["spec"]) == ("gpu-ambiguous", name)


def test_the_refusal_names_the_candidates() -> None:
    with pytest.raises(UsageError) as error:
        CATALOG.find_gpu("RTX 5000")
    names = str(error.value.values["names"])
    assert names.startswith('"RTX PRO 5000 Blackwell" (12.0), "RTX 5000 Ada" (8.9), "Quadro RTX 5000" (7.5)')


@pytest.mark.parametrize(("spec", "capability"), [("RTX5090", "12.0"), ("gtx1080 ti", "6.1"), ("sm_120a", "12.0")])
def test_what_people_type_is_understood(spec: str, capability: str) -> None:
    assert str(CATALOG.find_gpu(spec).capability) == capability


@pytest.mark.parametrize("name", ["RTX 9999", "Radeon RX 7900", "", "GPU", "sm_120b"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as error:
        CATALOG.find_gpu(name)
    assert (error.value.key, error.value.values["spec"]) == ("gpu-unknown-name", name)


def test_the_refusal_names_what_is_near() -> None:
    with pytest.raises(UsageError) as error:
        CATALOG.find_gpu("RTX 5099")
    assert "RTX 5090" in str(error.value.values["near"])


@pytest.mark.parametrize("spec", ["9.9", "sm_130", "3.0"])
def test_an_unknown_capability_is_refused(spec: str) -> None:
    with pytest.raises(UsageError) as error:
        CATALOG.find_gpu(spec)
    assert (error.value.key, error.value.values["spec"]) == ("gpu-unknown-capability", spec)


def test_a_product_is_found_by_the_name_its_driver_prints() -> None:
    names = ["NVIDIA GeForce RTX 5090", "Tesla T4", "NVIDIA GB10", "NVIDIA H100 80GB HBM3", "Radeon RX 7900"]
    found = [CATALOG.find_product(name) for name in names]
    assert [str(p.capability) if p else None for p in found] == ["12.0", "7.5", "12.1", "9.0", None]


# --- drivers and toolkits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "driver"),
    [
        ("RTX 5090", "570.86.16"),
        ("sm_120", "570.86.16"),
        ("RTX 5070 Ti", "570.123.01"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "570.123.07"),
        ("B200", "570.86.15"),
        ("B300", "580.82.07"),
        ("GB10", "580.94.13"),
        ("H200", "520.56.06"),
        ("RTX 4090", "520.61.05"),
        ("RTX 3090", "455.23"),
        ("GTX 1080 Ti", "367.48"),
    ],
)
def test_first_driver_for(name: str, driver: str) -> None:
    assert CATALOG.first_driver_for(CATALOG.find_gpu(name)) == DriverRelease.parse(driver)


@pytest.mark.parametrize(
    ("isa", "driver"),
    [
        ("7.0", "450.36.06"),
        ("8.0", "525.60.13"),
        ("8.4", "550.54.14"),
        ("8.5", "555.42.02"),
        ("8.7", "570.26"),
        ("8.8", "575.51.03"),
        ("9.0", "580.65.06"),
        ("9.2", "595.45.04"),
        ("9.4", "615"),
    ],
)
def test_driver_for_ptx(isa: str, driver: str) -> None:
    assert CATALOG.driver_for_ptx(isa) == DriverRelease.parse(driver)


@pytest.mark.parametrize("isa", ["9.5", "9.9", "10.0"])
def test_no_driver_is_known_for_ptx_of_the_future(isa: str) -> None:
    assert CATALOG.driver_for_ptx(isa) is None


@pytest.mark.parametrize(
    ("release", "cuda"),
    [("450.80.02", "11.0"), ("535.183.01", "12.2"), ("570.86.16", "12.8"), ("580.65.06", "13.0"), ("600.1", "13.2")],
)
def test_cuda_of_driver(release: str, cuda: str) -> None:
    assert CATALOG.cuda_of_driver(DriverRelease.parse(release)) == CudaVersion.parse(cuda)


def test_cuda_of_a_driver_older_than_every_row_is_not_known() -> None:
    assert CATALOG.cuda_of_driver(DriverRelease.parse("390.157")) is None


@pytest.mark.parametrize(
    ("cuda", "driver"),
    [("11.8", "450.80.02"), ("12.4", "525.60.13"), ("12.7", "525.60.13"), ("13.0", "580.65.06"), ("13.5", "580.65.06")],
)
def test_min_driver_for_cuda(cuda: str, driver: str) -> None:
    assert CATALOG.min_driver_for_cuda(CudaVersion.parse(cuda)) == DriverRelease.parse(driver)


def test_no_driver_is_known_for_cuda_of_the_future() -> None:
    assert CATALOG.min_driver_for_cuda(CudaVersion(14, 0)) is None


@pytest.mark.parametrize(
    ("capability", "cuda"),
    [("8.0", "11.0"), ("8.6", "11.0"), ("9.0", "11.8"), ("10.0", "12.8"), ("11.0", "12.8"), ("12.0", "12.8")],
)
def test_first_toolkit_for(capability: str, cuda: str) -> None:
    toolkit = CATALOG.first_toolkit_for(ComputeCapability.parse(capability))
    assert toolkit == CATALOG.toolkit(CudaVersion.parse(cuda))


def test_no_toolkit_makes_code_for_a_capability_nobody_knows() -> None:
    assert CATALOG.first_toolkit_for(ComputeCapability(19, 0)) is None


# --- builds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("torch", "variant", "gpu", "verdict"),
    [
        ("2.4.1", "cu124", "RTX 5090", Verdict.NONE),
        ("2.4.1", "cu124", "RTX 4090", Verdict.COMPATIBLE),
        ("2.4.1", "cu124", "H200", Verdict.NATIVE),
        ("2.7.0", "cu128", "RTX 5090", Verdict.NATIVE),
        ("2.7.0", "cu126", "RTX 5090", Verdict.NONE),
        ("2.9.0", "cu130", "GB10", Verdict.COMPATIBLE),
        ("2.9.0", "cu130", "GTX 1080 Ti", Verdict.NONE),
        ("2.9.0", "cu126", "GTX 1080 Ti", Verdict.COMPATIBLE),
        ("2.9.0", "cu130", "B300", Verdict.COMPATIBLE),
    ],
)
def test_verdict_of_a_build(torch: str, variant: str, gpu: str, verdict: Verdict) -> None:
    rows = [b for b in CATALOG.builds if (b.torch, b.variant, b.platform) == (torch, variant, "linux_x86_64")]
    assert {b.verdict(CATALOG.find_gpu(gpu).capability) for b in rows} == {verdict}


@pytest.mark.parametrize(
    ("name", "dispatched"),
    [
        ("libcublasLt.so.12", True),
        ("libcudnn_engines_precompiled.so.9", True),
        ("libnccl.so.2", True),
        ("libtorch_cuda.so", False),
        ("_C.cpython-311-x86_64-linux-gnu.so", False),
    ],
)
def test_which_libraries_pick_kernels_by_gpu(name: str, dispatched: bool) -> None:
    assert CATALOG.is_dispatched(name) is dispatched


def test_the_catalog_is_loaded_once() -> None:
    assert load_catalog() is CATALOG
