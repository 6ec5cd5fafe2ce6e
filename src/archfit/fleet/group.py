"""Nodes by what they have in common, and where nodes that should be equal are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from archfit.model import Drift, Node, NodeFinding, Severity, SharedCause

TitleOf = Callable[[NodeFinding], str]


def as_reported(finding: NodeFinding) -> str:
    """The sentence of the report, in its language."""
    return finding.title


def causes_of(nodes: Iterable[Node], title_of: TitleOf = as_reported) -> tuple[SharedCause, ...]:
    """The findings of all nodes, each cause once with the nodes that have it: worst first, then most nodes."""
    titles: dict[int, str] = {}  # reports share equal findings, so most sentences are made once
    found: dict[tuple[str, Severity, str], tuple[NodeFinding, list[str]]] = {}
    for node in nodes:
        for finding in node.findings:
            title = titles.get(id(finding))
            if title is None:
                title = titles[id(finding)] = title_of(finding)
            _, names = found.setdefault((finding.id, finding.severity, title), (finding, []))
            names.append(node.name)
    rows = (
        SharedCause(id_, severity, title, finding.values, tuple(dict.fromkeys(names)))
        for (id_, severity, title), (finding, names) in found.items()
    )
    order = list(Severity)
    return tuple(sorted(rows, key=lambda row: (order.index(row.severity), -len(row.nodes), row.id, row.title)))


def drifts_of(nodes: Iterable[Node]) -> tuple[Drift, ...]:
    """Where nodes with the same GPUs on the same platform differ: driver, Python, C library, torch, packages."""
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        if node.gpus:
            groups.setdefault(f"{node.hardware}, {node.platform}", []).append(node)
    return tuple(drift for name, alike in sorted(groups.items()) for drift in _drifts(name, alike))


def _drifts(group: str, nodes: Sequence[Node]) -> list[Drift]:
    own: dict[str, Callable[[Node], str]] = {
        "driver": lambda node: str(node.driver.release) if node.driver else "",
        "kernel-module": _module,
        "python": lambda node: node.python,
        "libc": lambda node: node.libc,
        "torch": lambda node: f"{node.torch} (CUDA {node.cuda})" if node.cuda else node.torch,
    }
    found = [drift for what, value_of in own.items() if (drift := _drift(group, what, nodes, value_of))]
    return found + _package_drifts(group, nodes)


def _module(node: Node) -> str:
    known = node.driver.open_module if node.driver else None
    return "" if known is None else "open" if known else "proprietary"


def _drift(group: str, what: str, nodes: Sequence[Node], value_of: Callable[[Node], str]) -> Drift | None:
    values: dict[str, list[str]] = {}
    for node in nodes:
        values.setdefault(value_of(node), []).append(node.name)
    return Drift(group, what, _most_first(values)) if len(values) > 1 else None


def _package_drifts(group: str, nodes: Sequence[Node]) -> list[Drift]:
    """Packages whose version differs; nodes that have the same packages are compared once."""
    sets: dict[int, tuple[Mapping[str, str], list[str]]] = {}
    for node in nodes:
        if node.packages:
            _, names = sets.setdefault(id(node.packages), (node.packages, []))
            names.append(node.name)
    if len(sets) < 2:
        return []
    drifts = []
    for package in sorted({name for packages, _ in sets.values() for name in packages} - {"torch"}):
        values: dict[str, list[str]] = {}
        for packages, names in sets.values():
            values.setdefault(packages.get(package, ""), []).extend(names)
        if len(values) > 1:
            drifts.append(Drift(group, f"package {package}", _most_first(values)))
    return drifts


def _most_first(values: Mapping[str, Sequence[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    rows = ((value, tuple(names)) for value, names in values.items())
    return tuple(sorted(rows, key=lambda row: (-len(row[1]), row[0])))
