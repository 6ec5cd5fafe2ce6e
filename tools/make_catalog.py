#!/usr/bin/env python3
"""Turn collected facts into the catalog that archfit ships.

usage: python tools/make_catalog.py FOLDER

FOLDER holds torch_builds.json, cuda_toolkits.json and gpus.json: facts with a source, a confidence and a date. This
script only selects and packs; it adds nothing of its own. One row per line, so that a diff shows what changed.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

CATALOG = Path(__file__).parents[1] / "src/archfit/catalog"


# Chips, memory sizes and internal names: not what a person or a driver calls a GPU.
_JUNK = re.compile(r"G[A-Z]\d|\d+GB|Initial DevID|.*\bSKU\b")


class Sources:
    """Sources are long and repeat; rows carry an index into one list."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def index(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)


def pack_builds(facts: dict[str, Any]) -> dict[str, Any]:
    sources = Sources()
    builds = [
        {
            "torch": row["torch"],
            "variant": row["variant"],
            "cuda": row["cuda"],
            "platform": row["platform"],
            "index": row["index"],
            "python_tags": row["python_tags"],
            "sass": row["sass"],
            "ptx": row["ptx"],
            "confidence": row.get("arch_confidence") if row["confidence"] == "measured" else row["confidence"],
            "source": sources.index(row["source"]),
        }
        for row in facts["builds"]
    ]
    for build in builds:
        build["confidence"] = build["confidence"] or "measured"
    releases = [
        {
            "torch": row["torch"],
            "requires_python": row["requires_python"],
            "torchvision": row["torchvision"],
            "torchaudio": row["torchaudio"],
            "triton": row["triton"],
            "glibc": row["glibc_min_pypi_linux"],
            "confidence": row["confidence"],
            "source": sources.index(row["source"]),
        }
        for row in facts["releases"]
    ]
    nightlies = [
        {
            "torch": row["torch"],
            "period": row["period"],
            "variants": row["variant"].split(","),
            "sass": row["sass"],
            "ptx": row["ptx"],
            "confidence": row["confidence"],
            "source": sources.index(row["source"]),
        }
        for row in facts["nightlies"]
    ]
    return document(facts, sources, builds=builds, releases=releases, nightlies=nightlies)


def pack_toolkits(facts: dict[str, Any]) -> dict[str, Any]:
    sources = Sources()
    toolkits = []
    for row in facts["toolkits"]:
        version = ".".join(row["toolkit"].split(".")[:2])
        if any(t["cuda"] == version for t in toolkits):
            continue  # the first release of a minor version is the one whose driver sets the floor
        toolkits.append(
            {
                "cuda": version,
                "first_driver": row["bundled_driver_linux"],
                "min_driver": row["min_driver_minor_compat_linux"],
                "first_driver_windows": row["bundled_driver_windows"],
                "min_driver_windows": row["min_driver_minor_compat_windows"],
                "ptx_isa": row["ptx_isa"],
                "sass": row["sass"],
                "confidence": row["sass_confidence"],
                "source": sources.index(row["sass_source"]),
                "driver_source": sources.index(row["source"]),
            }
        )
    branches = [
        {"branch": int(row["driver_branch"][1:]), "cuda": row["max_cuda"], "source": sources.index(row["source"])}
        for row in facts["driver_branches"]
    ]
    return document(facts, sources, toolkits=toolkits, branches=branches)


def pack_gpus(facts: dict[str, Any]) -> dict[str, Any]:
    sources = Sources()
    generations = [
        {
            "capability": row["compute_capability"],
            "name": row["generation"],
            "first_driver": first_release(row["first_driver"]),
            "last_branch": int(row["last_driver_branch"][1:]) if row["last_driver_branch"] else None,
            "open_only": row["kernel_modules"] == "open only",
            "closed_only": row["kernel_modules"] == "proprietary only",
            "confidence": row["confidence"],
            "source": sources.index(row["source"]),
        }
        for row in facts["generations"]
        if "x" not in row["compute_capability"]
    ]
    products = [
        {
            "name": name,
            "capability": row["compute_capability"],
            "first_driver": row["first_open_module_driver"],
            "source": sources.index(row["source"]),
        }
        for row in facts["products"]
        for name in split_names(row["name"])
    ]
    products += driver_names(facts, {product["name"].lower() for product in products}, sources)
    known = {product["name"].lower() for product in products}
    chips: dict[str, set[str]] = {}
    for row in facts["pci"]:
        for name in split_names(row["marketing"] or ""):
            if re.search(r"\d", name) and name.lower() not in known and not _JUNK.match(name):
                chips.setdefault(name, set()).add(row["compute_capability"])
    source = sources.index(facts["pci"][0]["source"])
    others = [
        {"name": name, "capability": capability, "first_driver": None, "source": source}
        for name, capabilities in sorted(chips.items())
        for capability in sorted(capabilities)
    ]
    pci = [
        {
            "id": row["pci_id"].removeprefix("10de:"),
            "name": (row["driver_names"] or [row["marketing"] or row["chip"]])[0].removeprefix("NVIDIA "),
            "capability": row["compute_capability"],
            "first_driver": row["first_open_module_driver"] if row["driver_names"] else None,
            "source": sources.index(row["source"]),
        }
        for row in facts["pci"]
    ]
    return document(facts, sources, generations=generations, products=products + others, pci=pci)


def driver_names(facts: dict[str, Any], known: set[str], sources: Sources) -> list[dict[str, Any]]:
    """Products under the name that the driver prints, where that is no name of theirs yet."""
    found: dict[str, dict[str, Any]] = {}
    for row in facts["pci"]:
        for text in row["driver_names"] or ():
            name = text.removeprefix("NVIDIA ")
            if name.lower() not in known and not _JUNK.match(name):
                found.setdefault(
                    name,
                    {
                        "name": name,
                        "capability": row["compute_capability"],
                        "first_driver": row["first_open_module_driver"],
                        "source": sources.index(row["source"]),
                    },
                )
    return [found[name] for name in sorted(found)]


def split_names(text: str) -> list[str]:
    """``GeForce RTX 4070 / 4070 SUPER`` names two products; the words in front of the number stand only once."""
    first, *others = (part.strip() for part in text.split(" / "))
    family = re.match(r"(?:GeForce|Quadro|Tesla|Jetson|TITAN)?\s*(?:[RG]TX|GT)?\s*(?=\d)", first)
    prefix = family[0] if family else "GeForce " if first.startswith("GeForce MX") else ""
    return [first, *(part if part[0].isalpha() and not part.startswith("MX") else prefix + part for part in others)]


def first_release(text: str | None) -> str | None:
    match = re.search(r"\d{3}\.\d+(?:\.\d+)?|(?<=R)\d{3}", text or "")
    return match[0] if match else None


def document(facts: dict[str, Any], sources: Sources, **tables: list[dict[str, Any]]) -> dict[str, Any]:
    return {"as_of": facts["as_of"], "sources": sources.texts, **tables}


def render(tables: dict[str, Any]) -> str:
    """JSON with one row per line."""
    parts = []
    for name, value in tables.items():
        if isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in value)
            parts.append(f" {json.dumps(name)}: [\n  {rows}\n ]")
        else:
            parts.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    for fact_file, pack, name in (
        ("torch_builds.json", pack_builds, "builds.json"),
        ("cuda_toolkits.json", pack_toolkits, "toolkits.json"),
        ("gpus.json", pack_gpus, "gpus.json"),
    ):
        facts = json.loads((folder / fact_file).read_text("utf-8"))
        (CATALOG / name).write_text(render(pack(facts)), "utf-8")


if __name__ == "__main__":
    main()
