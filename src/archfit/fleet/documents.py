"""Read one report: bytes that somebody sent in, to a `Node`. Nothing in them is trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from archfit.arch import ComputeCapability, CudaVersion
from archfit.errors import FormatError
from archfit.model import (
    Driver,
    DriverRelease,
    Gpu,
    Node,
    NodeFinding,
    NodeProof,
    Place,
    PlaceKind,
    Severity,
    Status,
    Storage,
    Text,
)

MOST_BYTES = 16 << 20
"""The largest report that is read: a real one has 5 to 30 KB."""
SCHEMAS = ("archfit.doctor/1", "archfit.verify/1")
_MOST_GPUS = 1024
_MOST_TEXT = 400


class _Gpu(msgspec.Struct, gc=False):
    name: str
    compute_capability: str
    source: str = ""


class _Driver(msgspec.Struct, gc=False):
    release: str | None = None
    cuda: str | None = None
    source: str | None = None
    open_kernel_module: bool | None = None


class _Python(msgspec.Struct, gc=False):
    version: str | None = None
    tag: str | None = None
    platform: str | None = None


class _Torch(msgspec.Struct, gc=False):
    version: str | None = None
    cuda: str | None = None


class _Host(msgspec.Struct, gc=False):
    name: str
    boot: str | None = None
    observed: str = ""


class _Finding(msgspec.Struct, gc=False):
    id: str
    severity: Literal["error", "warning", "info"]
    title: str = ""
    values: dict[str, str] = {}


class _Storage(msgspec.Struct, gc=False):
    filesystem: str
    source: str
    device: int
    inode: int
    remote: bool


class _Place(msgspec.Struct, gc=False):
    kind: PlaceKind
    path: str
    storage: _Storage | None = None
    fingerprint: str | None = None
    targets: tuple[str, ...] = ()
    count: int = 0


class _Environment(msgspec.Struct, gc=False):
    libc: str | None = None
    packages: msgspec.Raw = msgspec.Raw(b"{}")
    places: tuple[_Place, ...] = ()


class _Evidence(msgspec.Struct, gc=False):
    probe: str
    status: Literal["passed", "failed", "skipped"]


class _Head(msgspec.Struct, gc=False):
    """What tells one document from another."""

    schema: str = ""


class _Report(msgspec.Struct, gc=False):
    """``archfit.doctor/1`` and ``archfit.verify/1``, as far as a fleet needs them."""

    schema: str
    target: str
    status: Literal["ok", "problems", "undecided", "passed", "failed"]
    gpus: tuple[_Gpu, ...]
    driver: _Driver
    python: _Python
    torch: _Torch
    primary: str | None = None
    findings: msgspec.Raw = msgspec.Raw(b"[]")
    host: _Host | None = None
    environment: _Environment | None = None
    level: str = ""
    evidence: tuple[_Evidence, ...] = ()


_HEAD = msgspec.json.Decoder(_Head)
_REPORT = msgspec.json.Decoder(_Report)
_FINDINGS = msgspec.json.Decoder(tuple[_Finding, ...])
_PACKAGES = msgspec.json.Decoder(dict[str, str])


@dataclass(slots=True)
class Reader:
    """Reads reports one after another; what many of them say alike is kept once."""

    _findings: dict[bytes, tuple[NodeFinding, ...]] = field(default_factory=dict)
    _packages: dict[bytes, Mapping[str, str]] = field(default_factory=dict)
    _gpus: dict[tuple[str, str, str], Gpu] = field(default_factory=dict)
    _lists: dict[tuple[int, ...], tuple[Gpu, ...]] = field(default_factory=dict)

    def read(self, data: bytes, source: str, name: str) -> Node:
        """Read one report; `name` is the host where the report does not name it.

        A report that is none becomes a node in the state ``unreadable``, with the reason.
        """
        try:
            return self._node(_decode(data), source, name)
        except FormatError as error:
            return unreadable(source, name, Text.why(error))

    def _node(self, report: _Report, source: str, name: str) -> Node:
        where = report.environment or _Environment()
        try:
            findings = self._kept_findings(bytes(report.findings))
            packages = self._kept_packages(bytes(where.packages))
            places = tuple(_place(place) for place in where.places)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise FormatError("report-wrong", cause=_told(error)) from error
        host = report.host or _Host(name)
        proves = report.schema == "archfit.verify/1"
        failed = tuple(clean(e.probe) for e in report.evidence if e.status == "failed")
        return Node(
            name=clean(host.name) or name,
            state="reported",
            source=source,
            observed=clean(host.observed),
            boot=clean(host.boot or ""),
            target=clean(report.target),
            status=None if proves else _status(report.status),
            primary=clean(report.primary or ""),
            gpus=self._all_gpus(report.gpus),
            driver=_driver(report.driver),
            python=clean(report.python.version or ""),
            python_tag=clean(report.python.tag or ""),
            platform=clean(report.python.platform or ""),
            libc=clean(where.libc or ""),
            torch=clean(report.torch.version or ""),
            cuda=clean(report.torch.cuda or ""),
            findings=findings,
            packages=packages,
            places=places,
            proof=NodeProof(clean(report.level), report.status, failed) if proves else None,
        )

    def _kept_findings(self, raw: bytes) -> tuple[NodeFinding, ...]:
        if raw not in self._findings:
            self._findings[raw] = tuple(
                NodeFinding(
                    clean(f.id), Severity(f.severity), clean(f.title), {k: clean(v) for k, v in f.values.items()}
                )
                for f in _FINDINGS.decode(raw)
            )
        return self._findings[raw]

    def _kept_packages(self, raw: bytes) -> Mapping[str, str]:
        if raw not in self._packages:
            self._packages[raw] = {clean(name): clean(version) for name, version in _PACKAGES.decode(raw).items()}
        return self._packages[raw]

    def _all_gpus(self, rows: tuple[_Gpu, ...]) -> tuple[Gpu, ...]:
        if len(rows) > _MOST_GPUS:
            raise FormatError("report-gpus", count=len(rows))
        found = tuple(self._gpu(row) for row in rows)
        return self._lists.setdefault(tuple(map(id, found)), found)

    def _gpu(self, row: _Gpu) -> Gpu:
        key = (row.name, row.compute_capability, row.source)
        if key not in self._gpus:
            try:
                capability = ComputeCapability.parse(row.compute_capability)
            except ValueError as error:
                raise FormatError("report-wrong", cause=f"compute_capability {clean(str(error))!r}") from error
            self._gpus[key] = Gpu(clean(row.name), capability, clean(row.source))
        return self._gpus[key]


def unreadable(source: str, name: str, why: Text) -> Node:
    """The row of a report that cannot be read."""
    return Node(clean(name), "unreadable", source, why)


def schema_of(data: bytes) -> str:
    """The schema that a document names.

    Raises:
        FormatError: it is no JSON object, is not UTF-8, or nests too deep.
    """
    if len(data) > MOST_BYTES:
        raise FormatError("report-large", size=len(data), limit=MOST_BYTES)
    try:
        return clean(_HEAD.decode(data).schema)
    except msgspec.ValidationError as error:
        raise FormatError("report-wrong", cause=_told(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError("report-broken", cause=_told(error)) from error


def clean(text: str) -> str:
    """A text that a terminal and a page can show: no control characters, no more than 400 characters."""
    text = text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"
    return text if text.isprintable() else "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _decode(data: bytes) -> _Report:
    """A report of a known schema."""
    try:
        if len(data) <= MOST_BYTES:
            report = _REPORT.decode(data)
            if report.schema in SCHEMAS:
                return report
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        cause = _told(error)
    else:
        cause = ""
    schema = schema_of(data)  # which says what is wrong with the document as a whole
    if schema not in SCHEMAS:
        raise FormatError("report-schema", schema=schema or "-", known=", ".join(SCHEMAS))
    raise FormatError("report-wrong", cause=cause)


def _told(error: BaseException) -> str:
    return clean(str(error)) or type(error).__name__


def _status(text: str) -> Status:
    try:
        return Status(text)
    except ValueError as error:
        raise FormatError("report-wrong", cause=f"status {text!r}") from error


def _driver(row: _Driver) -> Driver | None:
    if row.release is None:
        return None
    try:
        release = DriverRelease.parse(row.release)
        cuda = CudaVersion.parse(row.cuda) if row.cuda else None
    except ValueError as error:
        raise FormatError("report-wrong", cause=f"driver {clean(str(error))!r}") from error
    return Driver(release, cuda, row.open_kernel_module, clean(row.source or ""))


def _place(row: _Place) -> Place:
    seen = row.storage
    storage = (
        Storage(clean(seen.filesystem), clean(seen.source), seen.device, seen.inode, seen.remote) if seen else None
    )
    targets = tuple(ComputeCapability.parse(re.sub(r"[af]$", "", target)) for target in row.targets)
    return Place(row.kind, clean(row.path), storage, clean(row.fingerprint or ""), targets, row.count)
