"""Find every way out, and what goes with it: changes of the source, mirrors, bundles, files of plans."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path

from archfit.api.told import OnCount, OnRead
from archfit.buildscript import BuildScript
from archfit.bundle import Target as Bundled
from archfit.bundle import fill, find_wheels
from archfit.catalog import load_catalog
from archfit.catalog.changes import load_changes
from archfit.catalog.extensions import load_extensions
from archfit.catalog.mirrors import load_mirrors
from archfit.errors import ApplyError, ProblemError, UsageError
from archfit.model import Diagnosis, Environment, Known, Plan, Question, Requires, Resolution, SourceBuild
from archfit.planner import PlanWish, plan, plan_from_document, priced, questions
from archfit.planner.changes import source_changes
from archfit.planner.mirrors import mirrored
from archfit.planner.ways import TORCH_FAMILY
from archfit.rebuild import find_toolkits
from archfit.requirements import markers_of
from archfit.resolver import Ground, ask_all
from archfit.scan.index import RemoteWheel
from archfit.sources import search_source as look_through
from archfit.standin import own_tag
from archfit.together import start
from archfit.transaction.bundle import Wheel as BundleWheel
from archfit.transaction.bundle import plan_file
from archfit.transaction.installer import resolve
from archfit.uv import uv_path

_READERS = 2
_LARGEST_SOURCE_BYTES = 8 << 20  # most extensions are below 5 MB; what is larger is not worth the wait
_SOURCE_GRACE_S = 0.5
"""So long a plan waits for sources once the resolver has answered."""


def make_plan(diagnosis: Diagnosis, wish: PlanWish, *, ask: bool = False) -> Plan:
    """Every way out of a diagnosis, best first.

    With `ask` the real resolver is asked about the best builds beside all that is installed; else the catalog alone answers
    and nothing is asked of the network.
    """
    catalog, env = load_catalog(), diagnosis.environment
    if not ask:
        return plan(diagnosis, catalog, wish)
    if wish.platform is None and any(d.torch_extensions for d in env.distributions):
        wish = replace(wish, toolkits=tuple(toolkit.cuda for toolkit in find_toolkits(os.environ)))
    known = isinstance(env.interpreter, Known)
    ground = Ground(
        env.python if known else Path(sys.executable),
        env.distributions,
        markers_of(env, wish.python_tag, wish.platform),
        wish.python_tag,
        wish.platform,
        own_tag=env.interpreter.value.tag if isinstance(env.interpreter, Known) else own_tag(),
    )
    answers: dict[Question, Resolution] = {}
    asked = questions(diagnosis, catalog, wish, answers)
    reading = _read_sources(diagnosis) if asked or diagnosis.primary else {}
    while asked:
        answers |= ask_all(ground, asked)
        asked = questions(diagnosis, catalog, wish, answers)
    return plan(diagnosis, catalog, replace(wish, builds=_those_read(reading)), answers)


def _read_sources(diagnosis: Diagnosis) -> dict[str, Future[BuildScript | None]]:
    """Begin to read the sources of extensions that no row tells of, beside the resolver."""
    from archfit.scan.look import read_source

    rows = load_extensions()
    lacking = {f.values["name"] for f in diagnosis.findings if f.id == "arch-missing-extension"}
    unknown = {
        d.name: f"{d.name}=={d.version.partition('+')[0]}"
        for d in diagnosis.environment.distributions
        if d.version
        and (d.torch_extensions or d.name in lacking)
        and d.name not in TORCH_FAMILY
        and rows.find(d.name) is None
    }
    if unknown:
        uv_path()  # once, before the threads
    tasks = [lambda spec=spec: read_source(spec, _LARGEST_SOURCE_BYTES) for spec in unknown.values()]
    return dict(zip(unknown, start(tasks, _READERS), strict=True))


def _those_read(reading: Mapping[str, Future[BuildScript | None]]) -> dict[str, BuildScript]:
    """Those that are there by now; the answer does not wait long for the others, nor for what cannot be read."""
    wait(reading.values(), timeout=_SOURCE_GRACE_S)
    done = {name: future for name, future in reading.items() if future.done() and not future.exception()}
    return {name: build for name, future in done.items() if (build := future.result())}


def with_changes(plan: Plan) -> Plan:
    """A plan with what its first option that installs something asks of the user's own source code."""
    first = next((o for o in plan.options if o.kind in ("upgrade", "nightly")), None)
    return replace(plan, changes=source_changes(first, plan.environment)) if first else plan


def search_source(plan: Plan, root: Path, on_file: OnRead | None = None) -> Plan:
    """A plan with the places below `root` that its changes touch; raises UsageError where there is no such folder."""
    wanted = {change.id for change in plan.changes}
    rows = [row for row in load_changes() if row.id in wanted]
    return replace(plan, search=look_through(root, rows, on_file))


def through_mirror(plan: Plan, name: str) -> Plan:
    """A plan whose commands go to a mirror; raises UsageError for one that is not known."""
    mirrors = load_mirrors()
    if name not in mirrors:
        raise UsageError("mirror-unknown", spec=name, known=", ".join(mirrors))
    return mirrored(plan, mirrors[name])


def source_build_of(plan: Plan) -> SourceBuild:
    """What building torch from source takes here; raises ProblemError where the plan has no such option."""
    found = next((option.source for option in plan.options if option.source), None)
    if found is None:
        raise ProblemError("no-source-build", target=plan.environment.root)
    return found


def bundled_first(plan: Plan) -> Plan:
    """A plan whose first option is the best one that the resolver has pinned to files.

    Raises:
        ProblemError: there is none.
    """
    first = next((o for o in plan.options if o.locked and o.kind == "upgrade"), None)
    if first is None:
        raise ProblemError("bundle-nothing", target=plan.environment.root, command=plan.environment.command("plan"))
    return replace(plan, options=(first, *(o for o in plan.options if o is not first)))


def find_bundle(plan: Plan, wish: PlanWish) -> tuple[RemoteWheel, ...]:
    """The files that the first option of a plan installs, for its target; raises ObserveError where one is not to be had."""
    python = plan.environment.interpreter
    known = python.value if isinstance(python, Known) else None
    target = Bundled(
        wish.python_tag or (known.tag if known else ""),
        wish.platform or (known.platform if known else ""),
        known.libc if known and not wish.platform else None,
    )
    return find_wheels(plan.options[0].locked, target)


def fill_bundle(
    folder: Path, files: Sequence[RemoteWheel], on_bytes: OnCount, on_total: OnCount
) -> tuple[BundleWheel, ...]:
    """Load files into a bundle, held against their hashes; see `bundle.fill`."""
    return fill(folder, files, on_bytes, on_total)


def write_bundle_plan(folder: Path, document: str) -> None:
    """Put the plan beside its wheels; it is there only once they all are."""
    try:
        plan_file(folder).write_text(document, "utf-8")
    except OSError as error:
        raise ApplyError("bundle-unwritable", path=plan_file(folder), cause=error.strerror) from error


def load_plan(path: Path, environment: Environment) -> Plan:
    """Read a plan that ``archfit plan -o plan.json`` wrote, or that of a bundle; raises UsageError where it does not fit."""
    path = plan_file(path) if plan_file(path).is_file() else path
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError("plan-unreadable", path=path, cause=getattr(error, "strerror", None) or error) from error
    return plan_from_document(document, environment, str(path))


def cost_of(python: Path, specs: Sequence[str]) -> Requires:
    """What installing `specs` into an empty environment loads and takes; raises ObserveError without an index."""
    return priced(Requires(), resolve(python, specs, {}).changes)
