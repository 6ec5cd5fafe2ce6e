"""The JSON of ``archfit scan``: every code object counted, and what of it runs on which GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from archfit.arch import ComputeCapability, Verdict
from archfit.catalog import Catalog, load_catalog
from archfit.coverage import judge_subject, lacking
from archfit.model import Compiler, Coverage, Library, Subject
from archfit.report.build_screen import build_document
from archfit.report.messages import Messages

Document = dict[str, Any]

_COUNTED = (Verdict.NATIVE, Verdict.COMPATIBLE, Verdict.JIT, Verdict.NONE)


def scan_document(
    subjects: Sequence[Subject],
    devices: Sequence[ComputeCapability],
    failures: Sequence[tuple[str, str]],
    messages: Messages,
    *,
    verbose: bool = False,
) -> Document:
    """``archfit.scan/1``; `failures` are what could not be scanned, with the reason in words."""
    return {
        "schema": "archfit.scan/1",
        "subjects": [_subject(s, devices, messages, verbose=verbose) for s in subjects],
        "failures": [{"subject": name, "reason": reason} for name, reason in failures],
    }


def _subject(subject: Subject, devices: Sequence[ComputeCapability], messages: Messages, *, verbose: bool) -> Document:
    catalog = load_catalog()
    judged = {device.sm: judge_subject(subject, device, catalog.loading_of) for device in devices if not subject.build}
    single = subject.distributions[0] if len(subject.distributions) == 1 else None
    named = single if single and single.version else None
    return {
        "subject": subject.name,
        "kind": subject.kind,
        "file": subject.file or None,
        "sha256": subject.sha256,
        "package": subject.build.package if subject.build else named.name if named else None,
        "version": subject.build.version if subject.build else named.version if named else None,
        "cuda": str(subject.cuda) if subject.cuda else None,
        "libraries": [
            {
                "package": d.name if d.version else None,
                **_library(library, messages),
                "verdicts": {
                    sm: _verdict(package.libraries[library.path], catalog, library) for sm, package in judged.items()
                },
                **({"lacking": _lacking(library, devices, subject)} if verbose else {}),
            }
            for d in subject.distributions
            for library in d.libraries
        ],
        "compilers": [_compiler(c, devices) for c in subject.compilers],
        "unreadable": [{"path": name, "reason": messages.text(why)} for name, why in subject.unreadable],
        "verdicts": {
            sm: {"verdict": package.verdict.value, "decided_by": list(package.decided_by)}
            for sm, package in judged.items()
        },
        "build": build_document(subject.build, devices) if subject.build else None,
    }


def _library(library: Library, messages: Messages) -> Document:
    objects = [(code, c.count) for c in library.containers for code in c.objects]
    ptx = {(str(o.target), o.isa) for o, _ in objects if o.kind == "ptx"}
    kinds = Counter[str]()
    for code, count in objects:
        kinds[code.kind] += count
    return {
        "path": library.path,
        "format": library.format,
        "size_bytes": library.size_bytes,
        "containers": sum(c.count for c in library.containers),
        "code_objects": sum(kinds.values()),
        "kinds": dict(sorted(kinds.items())),
        "sections": dict(_sections(library)),
        "sass": _in_order({o.target for o, _ in objects if o.kind == "sass" and o.target}),
        "ptx": [{"target": target, "isa": isa} for target, isa in sorted(ptx, key=_ptx_order)],
        "lto": _in_order({o.target for o, _ in objects if o.kind == "lto" and o.target}),
        "containers_with": _containers_with(library),
        "containers_without_kernels": sum(c.count for c in library.containers if not _has_kernels(c.objects)),
        "compression": sorted({o.compression for o, _ in objects if o.compression}),
        "debug": any(o.debug for o, _ in objects),
        "obfuscated": sorted({o.kind for o, _ in objects if o.obfuscated}),
        "odd": [messages.text(text) for text in library.odd],
    }


def _has_kernels(objects: tuple[Any, ...]) -> bool:
    return any(o.has_kernels and o.launchable for o in objects)


def _sections(library: Library) -> Counter[str]:
    counts = Counter[str]()
    for container in library.containers:
        counts[container.section] += container.count
    return counts


def _in_order(targets: set[Any]) -> list[str]:
    return [str(t) for t in sorted(targets, key=lambda t: (t.capability, t.suffix))]


def _ptx_order(row: tuple[str, str | None]) -> tuple[int, str, str]:
    digits = "".join(c for c in row[0] if c.isdigit())
    return int(digits or 0), row[0], row[1] or ""


def _containers_with(library: Library) -> dict[str, int]:
    counts = Counter[str]()
    for container in library.containers:
        for target in {str(o.target) for o in container.objects if o.target}:
            counts[target] += container.count
    return dict(sorted(counts.items(), key=lambda item: _ptx_order((item[0], None))))


def _verdict(coverage: Coverage, catalog: Catalog, library: Library) -> Document:
    platform = "win_amd64" if library.format == "pe" else ""
    driver = catalog.driver_for_ptx(coverage.ptx_isa, platform) if coverage.ptx_isa else None
    counted = {v.value: coverage.counts.get(v, 0) for v in _COUNTED}
    return {
        "verdict": coverage.verdict.value,
        "containers": counted,
        "ptx_isa": coverage.ptx_isa,
        "min_driver": str(driver) if driver else None,
    }


def _lacking(library: Library, devices: Sequence[ComputeCapability], subject: Subject) -> Document:
    """By GPU: the sets of targets of the containers that have nothing for it, with how many there are."""
    return {
        device.sm: [
            {"containers": c.count, "section": c.section, "targets": [str(o.target) for o in c.objects if o.target]}
            for c in lacking(library, device, subject.cuda)
        ]
        for device in devices
    }


def _compiler(compiler: Compiler, devices: Sequence[ComputeCapability]) -> Document:
    return {
        "path": compiler.path,
        "kind": compiler.kind,
        "cuda": str(compiler.release) if compiler.release else None,
        "targets": [str(t) for t in compiler.targets],
        "serves": {device.sm: compiler.knows(device) for device in devices},
    }
