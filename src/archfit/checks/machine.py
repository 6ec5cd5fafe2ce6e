"""Questions about what could be seen at all."""

from __future__ import annotations

import shlex
from functools import reduce

from archfit.catalog import Catalog
from archfit.checks.outcome import found, passed, undecided
from archfit.model import Environment, Fact, Finding, Outcome, Severity, State, Text, Unknown


def check_interpreter(env: Environment, _: Catalog) -> Outcome:
    """Does the target's Python start?"""
    if isinstance(env.interpreter, Unknown):
        values = {"python": str(env.python), "cause": env.interpreter.reason}
        fact = Fact(str(env.python), Text("child-failed", {"cause": env.interpreter.reason}))
        return found("interpreter", Finding("interpreter-broken", Severity.ERROR, str(env.python), values, (fact,)))
    python = env.interpreter.value
    return passed("interpreter", "interpreter", version=python.version, platform=python.platform)


_CUT = {
    (True, False): "cut-upgrade-begun",
    (True, True): "cut-upgrade-made",
    (False, False): "cut-rollback-begun",
    (False, True): "cut-rollback-made",
}


def check_transaction(env: Environment, _: Catalog) -> Outcome:
    """Was a change cut off half-way?"""
    cut = env.interrupted
    if cut is None:
        return passed("transaction", "transaction")
    values: dict[str, str | Text] = {
        "id": str(cut.id),
        "target": str(env.root),
        "time": cut.time,
        "happened": Text(_CUT[cut.kind == "upgrade", cut.made], {"before": cut.before, "after": cut.after}),
    }
    finding = Finding("transaction-interrupted", Severity.WARNING, str(env.root), values, fix=env.command("rollback"))
    return found("transaction", finding)


def check_gpu(env: Environment, _: Catalog) -> Outcome:
    """Which GPU is to be served?"""
    if isinstance(env.gpus, Unknown):
        return undecided("gpu", "gpu-unknown", cause=env.gpus.reason)
    if not env.gpus.value:
        return undecided("gpu", "gpu-none", source=env.gpus.source)
    names = reduce(lambda one, other: Text("and", {"one": one, "other": other}), (g.called for g in env.devices))
    return passed("gpu", "gpu", names=names, source=env.gpus.source)


def check_files(env: Environment, _: Catalog) -> Outcome:
    """Could every shared object be read?"""
    total = sum(len(d.libraries) for d in env.distributions)
    if not env.unreadable:
        return passed("files", "files", count=total)
    facts = tuple(Fact(path, cause) for path, cause in env.unreadable)
    first, why = env.unreadable[0]
    values: dict[str, str | Text] = {"count": str(len(env.unreadable)), "first": first, "cause": why}
    finding = Finding("library-unreadable", Severity.WARNING, first, values, facts, _reinstall(env, first))
    return Outcome("files", State.UNDECIDED, (finding,), Text("files-unreadable", values))


def _reinstall(env: Environment, path: str) -> str:
    """The command that brings back the package a file belongs to; empty where the owner is not known."""
    top = path.partition("/")[0]
    owner = next(
        (d for d in env.distributions if d.version and top in (d.name.replace("-", "_"), *d.import_names)), None
    )
    if owner is None:
        return ""
    return shlex.join(
        [
            "uv",
            "pip",
            "install",
            "--python",
            str(env.python),
            "--reinstall-package",
            owner.name,
            f"{owner.name}=={owner.version}",
        ]
    )
