"""Compose the rooms: the functions behind every command, for Python programs too.

>>> from archfit import api
>>> diagnosis = api.doctor(api.Wish(target="/path/to/env", gpus=("RTX 5090",)))
>>> diagnosis.primary.id
'arch-missing-torch'
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from archfit import extensions
from archfit.arch import ComputeCapability, CudaVersion
from archfit.audit import Audit, Policy
from archfit.audit import audit as audit_subject
from archfit.binary.kernels import kernels_of, readable
from archfit.bundle import Target as Bundled
from archfit.bundle import fill, find_wheels
from archfit.catalog import load_catalog
from archfit.catalog.changes import load_changes
from archfit.catalog.mirrors import load_mirrors
from archfit.checks import diagnose
from archfit.coverage import lacking
from archfit.errors import ApplyError, FormatError, ObserveError, ProblemError, UsageError
from archfit.matrix import Matrix, matrix_of, packages_of
from archfit.model import (
    Diagnosis,
    Distribution,
    Environment,
    History,
    Interpreter,
    Known,
    Library,
    LockedPackage,
    Option,
    Plan,
    Question,
    Requires,
    Resolution,
    SourceBuild,
    StateRecord,
    Step,
    Subject,
    Unknown,
    Unsolved,
    Verification,
)
from archfit.planner import PlanWish, plan, plan_from_document, priced, questions
from archfit.planner.changes import source_changes
from archfit.planner.mirrors import mirrored
from archfit.probe import Wish, observe
from archfit.probe.choose import Choice, choose_target, expand, is_environment
from archfit.probe.observe import observe_code, observe_interpreter, parse_driver, parse_gpus
from archfit.probe.packages import observe_packages
from archfit.rebuild import BuildError, Built, OnProgress, Wanted, find_toolkits, install_built
from archfit.rebuild import Progress as BuildProgress
from archfit.requirements import markers_of
from archfit.resolver import Ground, ask_all
from archfit.scan import ScanWish, wheels_in
from archfit.scan import scan as scan_files
from archfit.scan.index import RemoteWheel
from archfit.sources import search_source as look_through
from archfit.transaction import (
    Change,
    Journal,
    apply,
    freed_bytes,
    kept_bytes,
    read_history,
    refuse_conda_owned,
    refuse_linked,
    refuse_unfit,
    remove_states,
    roll_back,
    unfinished,
)
from archfit.transaction.bundle import OnBytes, check_bundle, pinned, plan_file, wheel_folder
from archfit.transaction.bundle import Wheel as BundleWheel
from archfit.transaction.installer import Lock, cache_folder, create_environment, find_python, install, lock_of, resolve
from archfit.verify import LEVELS, default_level, verify

__all__ = [
    "LEVELS",
    "BuildError",
    "BuildProgress",
    "CompileFailed",
    "PlanWish",
    "Prepared",
    "Receipt",
    "ScanWish",
    "Wish",
    "audit",
    "bundled_first",
    "cache_folder",
    "compile_extensions",
    "cost_of",
    "create_environment",
    "default_level",
    "devices_of",
    "doctor",
    "environment_root",
    "fill_bundle",
    "find_bundle",
    "find_interpreter",
    "freed_bytes",
    "give_up",
    "history",
    "imagine",
    "kept_bytes",
    "kernels_lacking",
    "load_plan",
    "make_plan",
    "matrix",
    "parse_gpus",
    "prepare_upgrade",
    "prove",
    "remember",
    "rollback",
    "scan",
    "search_source",
    "source_build_of",
    "spread",
    "through_mirror",
    "upgrade",
    "with_changes",
    "write_bundle_plan",
]

_BROKEN = ("rebuild", "replace", "leave")  # steps whose package does not load until something is done

OnRead = Callable[[int, int], None]
OnCount = Callable[[int], None]
OnStep = Callable[[str], None]
CompileFailed = extensions.CompileFailed
OnProbe = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """An upgrade that is ready to go: what is there now, the chosen option, the resolved lock, and what it leaves to do."""

    before: Diagnosis
    option: Option
    lock: Lock
    left_over: tuple[Unsolved, ...]
    to_compile: tuple[Wanted, ...] = ()
    built: tuple[Built, ...] = ()

    @property
    def to_rebuild(self) -> frozenset[str]:
        """Packages that were compiled against the old torch and will not load until somebody compiles them again."""
        rebuilt = {built.package for built in self.built}
        return frozenset(s.package for s in self.option.steps if s.action in _BROKEN and s.package not in rebuilt)

    @property
    def changes(self) -> tuple[LockedPackage, ...]:
        """Every package that would change."""
        current = {d.name: d.version for d in self.before.environment.distributions}
        compiled = (
            LockedPackage(b.package, current.get(b.package), b.version, b.wheel.stat().st_size, b.sha256)
            for b in self.built
        )
        return (*self.lock.changes, *compiled)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an upgrade did: the diagnosis before and after, the evidence, the history with the new state,
    and where the record is (None: it could not be written).
    """

    prepared: Prepared
    after: Diagnosis
    verification: Verification
    history: History
    record: Path | None


def doctor(wish: Wish, on_read: OnRead | None = None) -> Diagnosis:
    """Observe and check. Reads only; raises UsageError or ObserveError where there is nothing to look at."""
    catalog = load_catalog()
    if wish.target and (root := _cut_off(wish.target)):
        raise ProblemError("target-cut-off", target=root)
    environment = observe(wish, catalog, on_read)
    return diagnose(replace(environment, interrupted=unfinished(environment.root)), catalog)


def imagine(interpreter: Interpreter, versions: Mapping[str, str], gpus: tuple[str, ...], driver: str) -> Diagnosis:
    """Diagnose an environment that does not exist yet, from the versions that would be in it: for planning ahead."""
    catalog = load_catalog()
    environment = Environment(
        root=interpreter.prefix,
        python=interpreter.executable,
        chosen="named",
        interpreter=Known(interpreter, "imagined"),
        distributions=tuple(
            Distribution(name, version, libraries=(Library(f"{name}/imagined.so", 0, (), ()),))
            for name, version in versions.items()
        ),
        unreadable=(),
        torch_cuda=Unknown("imagined"),
        gpus=Known(tuple(gpu for spec in gpus for gpu in parse_gpus(spec, catalog)), "--gpu"),
        driver=Known(parse_driver(driver, catalog), "--driver"),
    )
    return diagnose(environment, catalog)


def scan(wish: ScanWish, on_bytes: OnCount | None = None, on_total: OnCount | None = None) -> Subject:
    """What code is inside a file, a wheel, a folder, an environment or a requirement.

    `on_total` is told how many bytes there are to read, `on_bytes` how many were read since the last time.

    Raises:
        UsageError: there is no such file, and it is no requirement.
        FormatError, OSError: the one file that was asked for cannot be read.
        ObserveError: the package index cannot be reached, or has no such wheel.
    """
    if not wish.name.strip():
        raise UsageError("scan-unknown", name='""')
    path = expand(wish.name)
    if is_environment(path):
        installed, cuda = observe_code(wish.name, _counted(on_bytes, on_total), deep=wish.deep)
    elif _holds_packages(path):
        installed, cuda = observe_packages((path,), _counted(on_bytes, on_total), deep=wish.deep), None
    else:
        return scan_files(wish, on_bytes, on_total)
    return Subject(wish.name, "environment", installed.distributions, installed.unreadable, cuda=cuda)


def remember(subject: Subject) -> dict[str, str]:
    """Lay what was found in a wheel over the catalog, from now on; returns what was kept, and where.

    Raises:
        UsageError: it is no wheel with a release and a platform, or the folder cannot be written.
    """
    from datetime import date

    from archfit.catalog.remembered import remember as keep

    path = keep(subject, date.today())
    package = subject.distributions[0]
    tag = subject.file.removesuffix(".whl").rpartition("-")[2]
    return {"package": package.name, "version": package.version, "platform": tag, "path": str(path)}


def spread(name: str) -> tuple[str, ...]:
    """What a word stands for: a folder of wheels for each of them, and for itself if it holds other code, or nothing."""
    path = expand(name)
    if not (name.strip() and path.is_dir()) or is_environment(path) or _holds_packages(path):
        return (name,)
    wheels, has_more = wheels_in(path)
    return (*map(str, wheels), *((name,) if has_more or not wheels else ()))


def _holds_packages(path: Path) -> bool:
    return path.is_dir() and next(path.glob("*.dist-info"), None) is not None


def _counted(on_bytes: OnCount | None, on_total: OnCount | None) -> OnRead:
    """Progress of an environment is told as a sum."""
    told = 0

    def on_read(done: int, total: int) -> None:
        nonlocal told
        if told == 0 and on_total:
            on_total(total)
        if on_bytes and done > told:
            on_bytes(done - told)
        told = max(told, done)

    return on_read


def matrix(specs: Sequence[str] = (), packages: Sequence[str] = (), on_row: OnRead | None = None) -> Matrix:
    """What the catalog tells of `packages` (all, if none is named), on the GPUs that `specs` mean, or on every generation.

    Raises:
        UsageError: no such GPU, or no row is about one of the packages.
    """
    catalog = load_catalog()
    gpus = dict.fromkeys(gpu for spec in specs for gpu in parse_gpus(spec, catalog))
    known = packages_of(catalog)
    for name in packages:
        if name not in known:
            near = get_close_matches(name, known, n=3) or known[:6]
            raise UsageError("package-unknown", spec=name, near=", ".join(near))
    return matrix_of(catalog, tuple(gpus), packages, on_row or (lambda done, total: None))


def devices_of(specs: Sequence[str]) -> tuple[ComputeCapability, ...]:
    """The compute capabilities that are meant by ``RTX 5090``, ``sm_120`` or ``12.0``; all that are known for none.

    Raises:
        UsageError: no such GPU.
    """
    catalog = load_catalog()
    named = [gpu.capability for spec in specs for gpu in parse_gpus(spec, catalog)]
    return tuple(sorted(set(named or catalog.generations)))


def kernels_lacking(
    path: Path, library: Library, devices: Sequence[ComputeCapability], cuda: CudaVersion | None
) -> list[str]:
    """Readable names of the kernels in the containers of a library on disk that have nothing for one of `devices`."""
    wanted = frozenset(c.objects for device in devices for c in lacking(library, device, cuda))
    if not wanted:
        return []
    try:
        return list(dict.fromkeys(readable(name) for _, name in kernels_of(path, wanted)))
    except (FormatError, OSError):
        return []  # a name is a help, not a verdict


def audit(subject: Subject, policy: Policy) -> Audit:
    """Hold what was scanned against a policy."""
    return audit_subject(subject, policy, load_catalog().loading_of)


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
    )
    answers: dict[Question, Resolution] = {}
    while asked := questions(diagnosis, catalog, wish, answers):
        answers |= ask_all(ground, asked)
    return plan(diagnosis, catalog, wish, answers)


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


def find_interpreter(request: str) -> Interpreter | None:
    """A Python of this machine, such as ``3.12``; None if there is none that starts."""
    path = find_python(request)
    if path is None:
        return None
    seen = observe_interpreter(Choice(path.parent.parent, path, "named"))
    return seen.value if isinstance(seen, Known) else None


def prepare_upgrade(
    diagnosis: Diagnosis,
    plan: Plan,
    bundle: Path | None = None,
    on_bytes: OnBytes = lambda *_: None,
    *,
    rebuild: bool = True,
) -> Prepared | None:
    """Choose the best option of the plan and lock it; None where nothing needs to be done.

    What the plan has pinned is taken as it is; a `bundle` is a folder with that plan and its wheels, which are checked.

    With `rebuild`, extensions that the plan says must be compiled are, but for those of a bundle, which holds no sources; see
    `compile_extensions`.

    Raises:
        UsageError: the bundle is damaged or does not fit.
        ProblemError: the best option is not one that archfit applies; a driver that comes first, for instance.
        ObserveError: the resolver found no answer, or could not reach the index.
    """
    best = plan.options[0]
    if best.kind == "none":
        return None
    if best.kind == "driver":
        command = best.pip[0].split("   #")[0]
        values = {name: str(value) for name, value in best.summary.values.items()}
        raise ProblemError(best.summary.key, **values, command=command)
    if best.kind not in ("upgrade", "nightly", *(["rebuild"] if rebuild else [])):
        raise ProblemError("nothing-to-apply", kind=best.kind, command=plan.environment.command("plan"))
    if not any(step.action in ("install", "rebuild") for step in best.steps):  # a new environment, for instance
        raise ProblemError("nothing-to-apply", kind=best.kind, command=plan.environment.command("plan"))
    root, cuda = plan.environment.root, best.torch.cuda if best.torch else None
    refuse_unfit(root)
    refuse_conda_owned(root, {step.package: step.wanted for step in _installs(best)}, cuda)
    lock = _lock(plan, best, bundle, on_bytes)
    refuse_conda_owned(root, {change.name: change.wanted for change in lock.changes}, cuda)
    to_compile, left = extensions.to_compile(plan.environment, best) if rebuild and not bundle else ((), ())
    changing = [*(change.name for change in lock.changes), *(wanted.name for wanted in to_compile)]
    refuse_linked(root, {name: _modules(plan.environment, name) for name in changing})
    option = replace(best, requires=priced(best.requires, lock.changes))
    return Prepared(diagnosis, option, lock, (*_left_over(plan, to_compile), *left), to_compile)


def _lock(plan: Plan, option: Option, bundle: Path | None, on_bytes: OnBytes) -> Lock:
    """What the bundle holds; else what the plan has pinned; else what the resolver says now."""
    if bundle:
        held = check_bundle(bundle, on_bytes)
        return lock_of(pinned(option.locked, held, bundle), wheel_folder(bundle))
    if option.locked:
        return lock_of(option.locked)
    return _resolve(plan.environment, option) if _installs(option) else Lock("", None, ())


def _left_over(plan: Plan, to_compile: Sequence[Wanted]) -> list[Unsolved]:
    """What no option solves, but for what will be compiled."""
    solved = {str(wanted) for wanted in to_compile}
    return [u for u in plan.unsolved if u.text.key != "needs-rebuild" or u.text.values["package"] not in solved]


def compile_extensions(prepared: Prepared, on_progress: OnProgress, *, talk: bool = False) -> Prepared:
    """Compile what must be, for the torch that is to come; the environment is not touched.

    `talk` lets the installer draw its bars on this terminal.

    Raises:
        BuildError: a package cannot be compiled; a `CompileFailed` says what its log shows.
    """
    env = prepared.before.environment
    built = extensions.compile_all(env, prepared.option, prepared.lock, prepared.to_compile, on_progress, talk=talk)
    return replace(prepared, built=built)


def upgrade(
    prepared: Prepared,
    *,
    level: str,
    why: str,
    allow_broken: frozenset[str] = frozenset(),
    force: bool = False,
    render_records: Callable[[Prepared, Diagnosis, Verification, tuple[int, int]], Mapping[str, str]],
    on_step: OnStep,
    on_probe: OnProbe | None = None,
    talk: bool = False,
) -> Receipt:
    """Apply a prepared upgrade: clone, install, verify at `level`, exchange; the record is written beside the journal.

    `why` is the reason in words; failures of the packages in `allow_broken` do not count; `render_records` writes the
    record, by suffix, given the numbers of the new state and of the one before. `force` goes on though processes run from
    the environment.

    Raises:
        ApplyError, Interrupted: the environment is as it was.
        RestoreError: putting back failed; copies are kept.
    """
    env = prepared.before.environment
    after: list[Diagnosis] = []

    def check(clone: Path) -> Verification:
        after.append(_diagnose_clone(env, clone))
        return verify(
            after[0],
            level,
            before=prepared.before,
            to_rebuild=prepared.to_rebuild,
            rebuilt=frozenset(built.package for built in prepared.built),
            allowed=allow_broken,
            on_probe=on_probe,
        )

    change = Change(
        before=_label(prepared.before.environment),
        after=_planned_label(prepared.lock, env),
        why=why,
        install=lambda clone: _install(prepared, _inside(env, clone), talk=talk),
        verify=check,
        needs_bytes=prepared.option.requires.disk_bytes,
        force=force,
    )
    story, proof = apply(env.root, change, on_step)
    previous = story.previous()
    states = (story.live.id if story.live else 0, previous.id if previous else 0)
    record = _write_records(Journal(story.root), states[0], render_records(prepared, after[0], proof, states))
    return Receipt(prepared, after[0], proof, read_history(story.root), record)


def _write_records(journal: Journal, state: int, texts: Mapping[str, str]) -> Path | None:
    """The path of the first; None if the disk is full: the change is live and verified, and must not look failed."""
    paths = [journal.record_path(state, suffix) for suffix in texts]
    try:
        for path, text in zip(paths, texts.values(), strict=True):
            path.write_text(text, "utf-8")
    except OSError:
        return None
    return paths[0]


def _install(prepared: Prepared, python: Path, *, talk: bool) -> None:
    env = prepared.before.environment
    if prepared.lock.requirements:
        install(python, prepared.lock, reinstall=_reinstalled(env, prepared.option), talk=talk)
    install_built(python, prepared.built)


def rollback(target: str | None, state: int | None = None, *, force: bool = False) -> History:
    """Bring an earlier state back: the one before, or the one with this number; `force`: though it is in use."""
    return roll_back(environment_root(target), state, force=force)


def history(target: str | None) -> History:
    """What was done to an environment, and its states."""
    return read_history(environment_root(target))


def give_up(history: History, states: Sequence[StateRecord]) -> History:
    """Remove states that are not live, for ever."""
    return remove_states(history.root, [state.id for state in states])


def prove(
    diagnosis: Diagnosis,
    level: str,
    on_probe: OnProbe | None = None,
    *,
    device: str = "cuda",
    only: tuple[str, ...] = (),
) -> Verification:
    """Collect evidence up to `level`; `device` cpu checks the kernel probes themselves, `only` are patterns of probes."""
    return verify(diagnosis, level, device=device, only=only, on_probe=on_probe)


def environment_root(target: str | None) -> Path:
    """The folder of the environment that is meant; works on one whose Python does not start, too."""
    if target and (root := _cut_off(target)):
        return root
    return choose_target(target, os.environ).root.resolve()


def _cut_off(target: str) -> Path | None:
    """The environment of this name, if a change that was cut off between three renames left nothing at it."""
    root = Path(os.path.abspath(expand(target)))
    return root if not os.path.lexists(root) and Journal(root).unfinished() else None


def _resolve(env: Environment, option: Option) -> Lock:
    steps = _installs(option)
    specs = [f"{s.package}=={s.wanted}" if s.wanted else s.package for s in steps]
    index = next((s.index for s in steps if s.index and s.index != "PyPI"), None)
    installed = {d.name: d.version for d in env.distributions if d.version}
    if not steps:
        raise ObserveError("resolve-failed", specs="-", cause="nothing to install")
    return resolve(
        env.python,
        specs,
        installed,
        index=index,
        reinstall=_reinstalled(env, option),
        prerelease=option.kind == "nightly",
    )


def _modules(env: Environment, name: str) -> tuple[str, ...]:
    found = env.distribution(name)
    return found.import_names if found else ()


def _installs(option: Option) -> list[Step]:
    return [s for s in option.steps if s.action == "install"]


def _reinstalled(env: Environment, option: Option) -> tuple[str, ...]:
    """Packages that keep their release and change their build: installers would call them satisfied."""
    current: Mapping[str, str] = {d.name: d.version.partition("+")[0] for d in env.distributions}
    lacking = "torch" in {s.package for s in _installs(option)}
    return tuple(s.package for s in _installs(option) if lacking and s.wanted and current.get(s.package) == s.wanted)


def _diagnose_clone(env: Environment, clone: Path) -> Diagnosis:
    """Diagnose the clone on the same machine, real or pretended, as the environment it is to replace."""
    catalog = load_catalog()
    seen = observe(Wish(str(_inside(env, clone))), catalog)
    return diagnose(replace(seen, gpus=env.gpus, driver=env.driver), catalog)


def _inside(env: Environment, clone: Path) -> Path:
    """The clone's own interpreter: the same name below another root."""
    return clone / env.python.relative_to(env.root)


def _label(env: Environment) -> str:
    torch = env.distribution("torch")
    return f"torch {torch.version}" if torch else "-"


def _planned_label(lock: Lock, env: Environment) -> str:
    return next((f"torch {c.wanted}" for c in lock.changes if c.name == "torch"), _label(env))
