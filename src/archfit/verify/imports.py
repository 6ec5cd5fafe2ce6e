"""The import level: every package with native code is imported, and what was compiled against torch is loaded beside it.

Each in a process of its own; what builds on torch in forks of one that imported torch, which is most of the time that this
level takes. What fails as a fork is tried once more in a process of its own, so that forking itself is never what fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from packaging.utils import canonicalize_name

from archfit.child import Answer, run_child, stream_warm
from archfit.model import Distribution, Environment, Evidence, Known, Proof, Text, Unknown
from archfit.requirements import markers_of, requirements_of
from archfit.verify.kernels import Work, chosen
from archfit.verify.lanes import OnName, lanes

_IMPORT_SECONDS = 300.0
_NOT_THE_PACKAGE = frozenset({"test", "tests", "docs", "examples", "benchmarks", "scripts", "tools"})


@dataclass(frozen=True, slots=True)
class Terms:
    """The environment to try, and what does not count against it; `only` are patterns of probes. See `verify`."""

    env: Environment
    before: Environment | None = None
    to_rebuild: frozenset[str] = frozenset()
    rebuilt: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kind:
    """A way to try a distribution: the child script, and what of the distribution it is given."""

    name: str
    script: str
    names: Callable[[Distribution], tuple[str, ...]]
    arguments: Callable[[Environment, Distribution], Sequence[str]]


@dataclass(frozen=True, slots=True)
class _Try:
    kind: _Kind
    distribution: Distribution

    @property
    def probe(self) -> str:
        """``import:numpy``, as evidence names it."""
        return f"{self.kind.name}:{self.distribution.name}"

    def words(self, env: Environment) -> list[str]:
        """The child script and its arguments."""
        return [self.kind.script, *self.kind.arguments(env, self.distribution)]


def import_probes(env: Environment) -> list[str]:
    """The names of all probes of this level, in the order in which they are reported."""
    return [try_.probe for try_ in _tries(env)]


def import_work(terms: Terms, begins: OnName) -> list[Work]:
    """Work for the lanes of this machine that tries every package; `in_order` brings what it gives into order."""
    wanted = [try_ for try_ in _tries(terms.env) if chosen(try_.probe, terms.only)]
    family = [try_ for try_ in wanted if _builds_on_torch(terms.env, try_.distribution)]
    if len(family) < 2 or not hasattr(os, "fork"):
        family = []

    def alone(try_: _Try) -> Sequence[Evidence]:
        begins(try_.distribution.name)
        return (_evidence(terms, try_, _run(terms.env, try_)),)

    together = [partial(_try_family, terms, family, begins)] if family else []
    return [*together, *(partial(alone, try_) for try_ in wanted if try_ not in family)]


def in_order(env: Environment, evidence: Iterable[Evidence]) -> list[Evidence]:
    """Evidence of this level as `import_probes` names it."""
    place = {probe: number for number, probe in enumerate(import_probes(env))}
    return sorted(evidence, key=lambda e: place[e.probe])


def _try_family(terms: Terms, family: Sequence[_Try], begins: OnName) -> Sequence[Evidence]:
    """What builds on torch, in forks of a process that imported it; if torch itself is asked for, that is its answer."""
    env = terms.env
    asked = sorted(family, key=lambda try_: try_.probe != "import:torch")
    first = [] if asked[0].probe == "import:torch" else [[_IMPORT.script, "torch"]]
    scripts = [*first, *(try_.words(env) for try_ in asked)]
    waiting = iter(asked)
    well: dict[int, Answer] = {}

    def begin(most: int) -> None:
        for try_ in islice(waiting, most):
            begins(try_.distribution.name)

    begin(1)
    for number, answer in stream_warm(env.python, scripts, side_by_side=lanes(), idle_s=_IMPORT_SECONDS):
        begin(1)
        if _error(answer) is None:
            well[number] = answer
    begin(len(asked))
    return [_evidence(terms, try_, well.get(n) or _run(env, try_)) for n, try_ in enumerate(asked, start=len(first))]


def _builds_on_torch(env: Environment, distribution: Distribution) -> bool:
    """Torch, and what requires it or was compiled against it."""
    if distribution.name == "torch" or distribution.torch_extensions:
        return True
    needed = requirements_of(distribution, markers_of(env), ("torch",))
    return any(canonicalize_name(requirement.name) == "torch" for requirement in needed)


def _tries(env: Environment) -> list[_Try]:
    imported = [_Try(_IMPORT, d) for d in env.distributions if import_names(d)]
    return imported + [_Try(_LOAD, d) for d in env.distributions if d.name != "torch" and d.torch_extensions]


def import_names(distribution: Distribution) -> tuple[str, ...]:
    """The modules whose import loads the native code of a distribution; empty if it has none."""
    if not distribution.libraries or distribution.name.startswith("nvidia-"):
        return ()  # NVIDIA's wheels hold libraries only; torch loads them
    own = distribution.name.replace("-", "_")
    if own in distribution.import_names:
        return (own,)
    public = [n for n in distribution.import_names if not n.startswith("_") and n not in _NOT_THE_PACKAGE]
    return tuple(public or distribution.import_names)


_IMPORT = _Kind("import", "import_names.py", import_names, lambda _, d: import_names(d))
_LOAD = _Kind(
    "load",
    "load_libraries.py",
    lambda d: tuple(lib.name for lib in d.torch_extensions),
    lambda env, d: [str(_place(env, lib.path)) for lib in d.torch_extensions],
)


def _evidence(terms: Terms, try_: _Try, answer: Answer) -> Evidence:
    distribution, error = try_.distribution, _error(answer)
    seconds = float(answer.value["seconds"]) if isinstance(answer, Known) else 0.0
    names = ", ".join(try_.kind.names(distribution))
    tried = Evidence(try_.probe, Proof.SKIPPED, expected=names, seconds=seconds, package=distribution.name)
    if error is None:
        return replace(tried, status=Proof.PASSED, measured=distribution.version)
    if excuse := _excuse(terms, try_, error):
        return replace(tried, reason=excuse)
    return replace(tried, status=Proof.FAILED, reason=Text("import-failed", {"cause": error}))


def _excuse(terms: Terms, try_: _Try, error: str) -> Text | None:
    """Why a failure does not count against the change; None if it does."""
    name = try_.distribution.name
    told = {"package": str(try_.distribution), "cause": error}
    if name in terms.to_rebuild:
        return Text("to-rebuild", told)
    if name in terms.allowed:
        return Text("allowed-broken", told)
    if name in terms.rebuilt or terms.before is None:
        return None
    was_there = terms.before.distribution(name)
    if was_there and _error(_run(terms.before, _Try(try_.kind, was_there))) is not None:
        return Text("failed-before", {"id": try_.kind.name, "subject": f"{name}: {error}"})
    return None


def _run(env: Environment, try_: _Try) -> Answer:
    script, *arguments = try_.words(env)
    return run_child(env.python, script, arguments, timeout_s=_IMPORT_SECONDS)


def _error(answer: Answer) -> str | None:
    """What went wrong; None if nothing did."""
    if isinstance(answer, Unknown):
        return answer.reason
    told = answer.value
    return f"{told['failed']}: {told['error']}" if told["failed"] else None


def _place(env: Environment, path: str) -> Path:
    """Where a library lies: its path is relative to one of the folders that packages are installed in."""
    folders = env.interpreter.value.site_dirs if isinstance(env.interpreter, Known) else ()
    return next((folder / path for folder in folders if (folder / path).exists()), Path(path))
