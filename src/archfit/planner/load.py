"""Read a plan back from its document, to apply exactly what was looked at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archfit.arch import CudaVersion
from archfit.errors import UsageError
from archfit.model import (
    DriverRelease,
    Environment,
    LockedPackage,
    Option,
    Plan,
    Requires,
    SourceBuild,
    Step,
    Text,
    TorchBuild,
    Way,
)


def plan_from_document(document: Any, environment: Environment, source: str) -> Plan:
    """Rebuild the options of an ``archfit.plan/1`` document for `environment`.

    Raises:
        UsageError: no such document, or something was installed or removed since it was made.
    """
    if not isinstance(document, Mapping) or document.get("schema") != "archfit.plan/1":
        raise UsageError("plan-unreadable", path=source, cause="schema")
    torch = environment.distribution("torch")
    found = torch.version if torch else None
    try:
        planned = document["torch"]["version"]
        options = tuple(_option(row) for row in document["options"])
        fingerprint = document.get("environment_fingerprint")  # a plan of archfit 0.1.0 has none
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError("plan-unreadable", path=source, cause=error) from error
    if planned != found:
        raise UsageError("plan-stale", planned=planned, found=found, target=environment.root)
    if fingerprint not in (None, environment.fingerprint):
        raise UsageError("plan-changed", target=environment.root)
    if not options:
        raise UsageError("plan-unreadable", path=source, cause="options")
    return Plan(environment, options, (), ())


def _option(row: Mapping[str, Any]) -> Option:
    torch, needs = row["torch"], row["requires"]
    return Option(
        kind=row["kind"],
        summary=_plain(row["summary"]),
        steps=tuple(_step(step) for step in row["steps"]),
        torch=TorchBuild(torch["version"], torch["cuda"], torch["index"]) if torch else None,
        requires=Requires(
            DriverRelease.parse(needs["driver"]) if needs["driver"] else None,
            needs["python"],
            needs["disk_bytes"],
            needs["download_bytes"],
        ),
        risks=tuple(_plain(risk) for risk in row["risks"]),
        pip=tuple(row["commands"]["pip"]),
        uv=tuple(row["commands"]["uv"]),
        locked=tuple(_locked(package) for package in row.get("locked", ())),
        extensions=tuple(_way(way) for way in row.get("extensions", ())),
        source=_source_build(row["source_build"]) if row.get("source_build") else None,
    )


def _source_build(row: Mapping[str, Any]) -> SourceBuild:
    return SourceBuild(
        release=row["release"],
        cuda=CudaVersion.parse(row["cuda"]),
        arch_list=row["arch_list"],
        python=Path(row["python"]),
        gcc_from=row["gcc_from"],
        gcc_below=row["gcc_below"],
        disk_gb=row["disk_gb"],
        job_gb=row["job_gb"],
    )


def _way(row: Mapping[str, Any]) -> Way:
    return Way(
        kind=row["kind"],
        package=row["package"],
        current=row["from"],
        name=row["name"],
        wanted=row["to"],
        index=row["index"],
        why=tuple(_plain(text) for text in row["why"]),
        toolkit=row["toolkit"],
        minutes=row["minutes"],
        memory_bytes=row["memory_bytes"],
        pip=tuple(row["commands"]["pip"]),
        uv=tuple(row["commands"]["uv"]),
    )


def _locked(row: Mapping[str, Any]) -> LockedPackage:
    hashes = tuple(str(digest) for digest in row["sha256"])
    first = hashes[0] if hashes else None
    return LockedPackage(row["name"], row["from"], row["version"], row["bytes"], first, hashes, row["index"])


def _step(row: Mapping[str, Any]) -> Step:
    why = tuple(_plain(text) for text in row["why"])
    return Step(row["action"], row["package"], row["from"], row["to"], row["index"], why, bool(row["unsafe"]))


def _plain(text: str) -> Text:
    return Text("plain", {"text": text})
