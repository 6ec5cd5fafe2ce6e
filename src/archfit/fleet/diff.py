"""What changed between two runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from archfit.fleet.group import TitleOf, as_reported, causes_of
from archfit.model import FleetDiff, Node, NodeChange, NodeFinding, SharedCause

_ATTRIBUTES: Mapping[str, Callable[[Node], str]] = {
    "state": lambda node: node.state,
    "status": lambda node: node.status.value if node.status else "",
    "gpus": lambda node: node.hardware,
    "driver": lambda node: str(node.driver.release) if node.driver else "",
    "python": lambda node: node.python,
    "torch": lambda node: f"{node.torch} (CUDA {node.cuda})" if node.cuda else node.torch,
}
Key = tuple[str, str]


def compare(old: Iterable[Node], new: Iterable[Node], title_of: TitleOf = as_reported) -> FleetDiff:
    """Hold two runs against each other, node by node: the same host and target are the same node."""
    before, after = _pair(old, new)
    both = [key for key in after if key in before]
    began = [(after[key], _lacking(after[key], before[key])) for key in both]
    ended = [(before[key], _lacking(before[key], after[key])) for key in both]
    changes = _changes((before[key], after[key]) for key in both)
    touched = {name for change in changes for name in change.nodes}
    touched |= {node.name for node, findings in (*began, *ended) if findings}
    return FleetDiff(
        came=tuple(after[key].name for key in after if key not in before),
        went=tuple(before[key].name for key in before if key not in after),
        began=_causes(began, title_of),
        ended=_causes(ended, title_of),
        changes=changes,
        same=sum(after[key].name not in touched for key in both),
    )


def _pair(old: Iterable[Node], new: Iterable[Node]) -> tuple[dict[Key, Node], dict[Key, Node]]:
    """Both runs by host and target; a row without an answer has no target, so it pairs with the only one of its host."""
    runs = [{(n.name, n.target): n for n in nodes if n.state != "duplicate"} for nodes in (old, new)]
    return _renamed(runs[0], runs[1]), _renamed(runs[1], runs[0])


def _renamed(own: Mapping[Key, Node], other: Mapping[Key, Node]) -> dict[Key, Node]:
    targets: dict[str, list[Key]] = {}
    for key in other:
        targets.setdefault(key[0], []).append(key)
    found = {}
    for key, node in own.items():
        theirs = targets.get(key[0], [])
        lost = node.state != "reported" and key not in other and len(theirs) == 1 and theirs[0] not in own
        found[theirs[0] if lost else key] = node
    return found


def _lacking(node: Node, other: Node) -> tuple[NodeFinding, ...]:
    """Findings of a node that the other one has not; a node that did not answer has neither begun nor ended anything."""
    if node.state != "reported" or other.state != "reported":
        return ()
    known = {(f.id, tuple(sorted(f.values.items()))) for f in other.findings}
    return tuple(f for f in node.findings if (f.id, tuple(sorted(f.values.items()))) not in known)


def _causes(rows: Iterable[tuple[Node, tuple[NodeFinding, ...]]], title_of: TitleOf) -> tuple[SharedCause, ...]:
    return causes_of((Node(node.name, "reported", findings=findings) for node, findings in rows), title_of)


def _changes(pairs: Iterable[tuple[Node, Node]]) -> tuple[NodeChange, ...]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for old, new in pairs:
        for what, value_of in _ATTRIBUTES.items():
            answered = what == "state" or old.state == new.state == "reported"
            if answered and (before := value_of(old)) != (after := value_of(new)):
                found.setdefault((what, before, after), []).append(new.name)
    rows = (NodeChange(what, old, new, tuple(names)) for (what, old, new), names in found.items())
    order = list(_ATTRIBUTES)
    return tuple(sorted(rows, key=lambda row: (order.index(row.what), -len(row.nodes), row.old, row.new)))
