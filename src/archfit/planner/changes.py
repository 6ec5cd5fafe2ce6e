"""What the way out that installs something asks of the user's own source code."""

from __future__ import annotations

from packaging.version import InvalidVersion, Version

from archfit.catalog.changes import changes_between
from archfit.model import Environment, Option, SourceChange, Text


def source_changes(option: Option, environment: Environment) -> tuple[SourceChange, ...]:
    """One row for each thing that works differently after this option, what breaks first."""
    current = {d.name: d.version for d in environment.distributions}
    after = {s.package: s.wanted for s in option.steps if s.action == "install"}
    after |= {package.name: package.wanted for package in option.locked}
    if option.kind == "nightly":
        after["torch"] = "9999"  # newer than every row
    jumps = {
        name: (_release(current.get(name)), wanted)
        for name, version in after.items()
        if (wanted := _release(version)) is not None
    }
    order = ("breaks", "changes", "warns")
    rows = sorted(changes_between(jumps), key=lambda row: order.index(row.effect))
    return tuple(
        SourceChange(row.id, row.package, str(row.since), row.effect, Text(row.says), row.source) for row in rows
    )


def _release(version: str | None) -> str | None:
    try:
        return Version(version).public if version else None
    except InvalidVersion:
        return None
