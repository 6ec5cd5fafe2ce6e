"""Find the rows of ``changes.toml`` in one module by what names mean: comments, strings and namesakes do not count."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from archfit.catalog.changes import Change


def match_module(tree: ast.Module, changes: Sequence[Change]) -> Iterator[tuple[Change, int]]:
    """Each change with the lines in which it is needed."""
    names = _Names(tree)
    inner: set[int] = set()  # the parts of a dotted name that was looked at as a whole
    documentation = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            inner.add(id(node.value))
        if id(node) in inner or id(node) in documentation:
            inner |= {id(node.value)} if isinstance(node, ast.Attribute) else set()
            if not isinstance(node, ast.Call):
                continue
        for change in changes:
            if _needs(change, node, names):
                yield change, getattr(node, "lineno", 0)


class _Names:
    """What the names of a module stand for: ``np.float_`` is ``numpy.float_`` where numpy was imported as np."""

    def __init__(self, tree: ast.Module) -> None:
        self._known: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    root = alias.name.partition(".")[0]
                    self._known[alias.asname or root] = alias.name if alias.asname else root
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    self._known[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def qualify(self, node: ast.AST) -> str | None:
        """The whole name of an expression such as ``T.load``; None for what is no name of an imported module."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self._known:
            return None
        return ".".join([self._known[node.id], *reversed(parts)])


def _needs(change: Change, node: ast.AST, names: _Names) -> bool:
    match change.kind:
        case "name":
            return any(_among(name, change.names) for name in _used(node, names))
        case "call":
            return isinstance(node, ast.Call) and _called(change, node, names)
        case "argument":
            return isinstance(node, ast.Call) and _adds_argument(change, node)
        case "text":
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
            return text is not None and change.pattern is not None and change.pattern.search(text) is not None


def _used(node: ast.AST, names: _Names) -> Iterator[str]:
    if isinstance(node, ast.Attribute | ast.Name):
        qualified = names.qualify(node)
        yield from (qualified,) if qualified else ()
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _among(name: str, wanted: Sequence[str]) -> bool:
    """One of these, or in one of these; ``a.b.*`` is everything right in it."""
    for pattern in wanted:
        if pattern.endswith(".*"):
            if name.rpartition(".")[0] == pattern[:-2]:
                return True
        elif name == pattern or name.startswith(pattern + "."):
            return True
    return False


def _called(change: Change, node: ast.Call, names: _Names) -> bool:
    name = names.qualify(node.func)
    if name is None or not _among(name, change.names):
        return False
    given = {keyword.arg for keyword in node.keywords}
    if change.has:
        return bool(given & set(change.has))
    # ``**options`` may hold the keyword: nobody knows, so nothing is said
    return not change.lacks or (None not in given and not given & set(change.lacks))


def _adds_argument(change: Change, node: ast.Call) -> bool:
    """Options of argparse; one that has the new spelling, too, is fine."""
    if not isinstance(node.func, ast.Attribute) or node.func.attr != "add_argument":
        return False
    options = {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return any(name in options and name.replace("_", "-") not in options for name in change.names)
