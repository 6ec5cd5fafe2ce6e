"""Reports of machines that are not here, as `archfit doctor --json` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from archfit.fleet.documents import Reader
from archfit.model import Node
from worlds import CATALOG

Report = dict[str, Any]


def report(
    host: str = "n1",
    gpus: str | Sequence[str] = "H100",
    driver: str | None = "580.65.06",
    *,
    torch: str | None = "2.4.1",
    cuda: str | None = "12.1",
    tag: str | None = "cp311",
    platform: str | None = "linux_x86_64",
    libc: str | None = "glibc 2.36",
    status: str = "ok",
    findings: Sequence[Mapping[str, Any]] = (),
    packages: Mapping[str, str] | None = None,
    places: Sequence[Mapping[str, Any]] = (),
    observed: str = "2026-11-25T11:00:00Z",
    boot: str = "",
    open_module: bool | None = None,
    target: str = "/env",
) -> Report:
    """A document of the doctor; GPUs by name as in the catalog, or as ``name=5.3`` where it has none."""
    names = [gpus] if isinstance(gpus, str) else list(gpus)
    found = [_gpu(name) for name in names if name]
    return {
        "schema": "archfit.doctor/1",
        "target": target,
        "target_chosen": "named",
        "python": {
            "executable": f"{target}/bin/python",
            "version": f"{tag[2]}.{tag[3:]}.7" if tag else None,
            "tag": tag,
            "platform": platform,
        },
        "torch": {"version": torch, "cuda": cuda},
        "gpus": [{"name": name, "compute_capability": capability, "source": "nvml"} for name, capability in found],
        "driver": {
            "release": driver,
            "cuda": None,
            "source": "kernel" if driver else None,
            "open_kernel_module": open_module,
        },
        "pretended": [],
        "host": {"name": host, "boot": boot or None, "observed": observed},
        "environment": {
            "prefix": target,
            "virtual": True,
            "libc": libc,
            "packages": dict(packages or {"torch": torch or "-"}),
            "places": list(places),
            "gpu_states": [],
        },
        "status": status,
        "primary": findings[0]["id"] if findings else None,
        "findings": list(findings),
        "outcomes": [],
    }


def _gpu(name: str) -> tuple[str, str]:
    given, _, capability = name.partition("=")
    if capability:
        return given, capability
    return name, str(CATALOG.find_gpu(name).capability)


def finding(id_: str = "arch-missing-torch", severity: str = "error", **values: str) -> Report:
    """A finding of a report."""
    return {"id": id_, "severity": severity, "subject": "x", "title": f"{id_} here", "values": values, "evidence": []}


def place(
    kind: str, path: str, *, inode: int = 7, source: str = "server:/home", remote: bool = True, **more: Any
) -> Report:
    """A folder as a report tells of it; on a network file system unless told."""
    storage = {"filesystem": "nfs4", "source": source, "device": 52, "inode": inode, "remote": remote}
    return {"kind": kind, "path": path, "storage": storage, "fingerprint": None, "targets": [], "count": 0, **more}


def node_of(document: Report) -> Node:
    """The node of one report."""
    return Reader().read(json.dumps(document).encode(), "a.json", "a")


def nodes_of(*documents: Report) -> tuple[Node, ...]:
    """The nodes of reports, read by one reader."""
    reader = Reader()
    return tuple(reader.read(json.dumps(d).encode(), f"{n}.json", f"{n}") for n, d in enumerate(documents))
