"""Names as drivers print them, PCI ids, and the drivers that serve GPUs together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import archfit.catalog
from archfit.catalog import DriverWindow, load_catalog
from archfit.errors import UsageError
from archfit.model import DriverRelease

CATALOG = load_catalog()
TABLE: dict[str, Any] = json.loads(Path(archfit.catalog.__file__).with_name("gpus.json").read_text("utf-8"))

PRINTED = {
    "NVIDIA GeForce RTX 4090 Laptop GPU": "8.9",
    "NVIDIA GeForce RTX 4090 D": "8.9",
    "NVIDIA GeForce RTX 5090 D v2": "12.0",
    "NVIDIA GeForce RTX 3050Ti Laptop GPU": "8.6",
    "NVIDIA GeForce RTX 2070 Super with Max-Q Design": "7.5",
    "NVIDIA GeForce GTX 1060 6GB": "6.1",
    "NVIDIA GeForce RTX 2050": "8.6",
    "Quadro RTX 5000": "7.5",
    "NVIDIA RTX 5000 Ada Generation": "8.9",
    "NVIDIA RTX PRO 5000 Blackwell": "12.0",
    "NVIDIA RTX PRO 5000 72GB Blackwell": "12.0",
    "NVIDIA RTX A5000": "8.6",
    "Tesla P100-PCIE-16GB": "6.0",
    "NVIDIA A100-SXM4-80GB": "8.0",
    "NVIDIA GH200 144G HBM3e": "9.0",
    "NVIDIA H20-3e": "9.0",
    "NVIDIA B300 SXM6 AC": "10.3",
    "NVIDIA A100-SXM4-40GB MIG 1g.5gb": "8.0",
    "NVIDIA H100 80GB HBM3 MIG 3g.40gb": "9.0",
    "NVIDIA A30 MIG 2g.12gb": "8.0",
    "GRID T4-8Q": "7.5",
    "GRID M60-8Q": "5.2",
    "GRID P40-2B4": "6.1",
    "GRID V100DX-16C": "7.0",
    "GRID A100-4-20C": "8.0",
    "NVIDIA A40-48Q": "8.6",
    "NVIDIA A10-24Q": "8.6",
    "NVIDIA L40S-48C": "8.9",
    "NVIDIA H100XM-80C": "9.0",
    "NVIDIA RTX6000-Ada-48Q": "8.9",
}


@pytest.mark.parametrize("name", PRINTED)
def test_what_a_driver_prints_is_understood(name: str) -> None:
    product = CATALOG.find_product(name)
    assert (str(product.capability) if product else None, str(CATALOG.find_gpu(name).capability)) == (
        PRINTED[name],
    ) * 2


@pytest.mark.parametrize("row", TABLE["pci"], ids=lambda row: row["id"])
def test_a_pci_id_and_the_name_of_its_gpu_agree(row: dict[str, Any]) -> None:
    device = CATALOG.find_device(f"10de:{row['id']}")
    assert device is not None
    named = CATALOG.find_product(row["name"])
    assert (str(device.capability), str(named.capability) if named else row["capability"]) == (row["capability"],) * 2


def test_pci_ids_are_four_digits_and_stand_once() -> None:
    ids = [row["id"] for row in TABLE["pci"]]
    assert [i for i in ids if not re.fullmatch(r"[0-9a-f]{4}", i)] == []
    assert len(ids) == len(set(ids))


def test_every_device_is_of_a_generation_that_is_known() -> None:
    assert {row["capability"] for row in TABLE["pci"]} <= {str(c) for c in CATALOG.generations}


@pytest.mark.parametrize(
    "text",
    [
        "10de:2b85",
        "10DE:2B85",
        "0x2B8510DE",
        "01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GB202 [GeForce RTX 5090] [10de:2b85] (rev a1)",
        "NVIDIA Corporation GB202 [GeForce RTX 5090] (rev a1)",
    ],
)
def test_what_lspci_and_nvml_say_is_understood(text: str) -> None:
    gpu = CATALOG.find_gpu(text)
    assert (gpu.name, str(gpu.capability)) == ("GeForce RTX 5090", "12.0")


@pytest.mark.parametrize("text", ["10de:ffff", "1002:744c", "2b85"])
def test_an_id_that_is_nobodys_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        CATALOG.find_gpu(text)


def test_the_question_begins_with_one_candidate_of_each_generation() -> None:
    with pytest.raises(UsageError) as error:
        CATALOG.find_gpu("GRID RTX6000-8Q")
    assert re.findall(r"\((\d+\.\d)\)", str(error.value.values["names"]))[:3] == ["12.0", "8.9", "7.5"]


@pytest.mark.parametrize(
    ("names", "first", "last", "module"),
    [
        (["RTX 5090"], "570.86.16", None, "open"),
        (["RTX 5090", "GTX 1080 Ti"], "570.86.16", 580, "none"),
        (["V100", "T4"], "410.48", 580, "proprietary"),
        (["T4", "H100"], "520.56.06", None, "either"),
        (["B200", "RTX 5060"], "570.158.01", None, "open"),
    ],
)
def test_the_drivers_that_serve_gpus_together(names: list[str], first: str, last: int | None, module: str) -> None:
    window = CATALOG.driver_window([CATALOG.find_gpu(name) for name in names])
    assert (str(window.first), window.last, window.module) == (first, last, module)


def test_a_window_admits_what_lies_in_it() -> None:
    window = CATALOG.driver_window([CATALOG.find_gpu("RTX 5090"), CATALOG.find_gpu("GTX 1080 Ti")])
    drivers = ["560.35.03", "570.86.15", "570.86.16", "575.51.03", "580.95.05", "590.44.01"]
    assert [d for d in drivers if window.admits(DriverRelease.parse(d))] == ["570.86.16", "575.51.03", "580.95.05"]
    assert not window.is_empty


def test_no_driver_serves_a_gpu_that_came_after_the_end_of_another() -> None:
    assert DriverWindow(DriverRelease.parse("590.44.01"), 580, "none").is_empty
