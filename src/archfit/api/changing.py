"""Prepare and apply an upgrade; go back; what was done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from archfit import extensions
from archfit.api.diagnosing import environment_root
from archfit.catalog import load_catalog
from archfit.checks import diagnose
from archfit.errors import ApplyError, ObserveError, ProblemError
from archfit.model import (
    Diagnosis,
    Environment,
    History,
    LockedPackage,
    Option,
    Plan,
    StateRecord,
    Step,
    Unsolved,
    Verification,
)
from archfit.planner import priced
from archfit.planner.conda import conda_commands, owned
from archfit.probe import Wish, observe
from archfit.rebuild import Built, OnProgress, Wanted, install_built
from archfit.transaction import (
    Change,
    Journal,
    apply,
    read_history,
    refuse_linked,
    refuse_unfit,
    remove_states,
    roll_back,
)
from archfit.transaction.apply import OnStep
from archfit.transaction.bundle import OnBytes, check_bundle, pinned, wheel_folder
from archfit.transaction.installer import Lock, install, lock_of, resolve
from archfit.verify import verify
from archfit.verify.lanes import OnProbe

_BROKEN = ("rebuild", "replace", "leave")  # steps whose package does not load until something is done


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
        env = self.before.environment
        current = {d.name: d.version for d in env.distributions}
        gpus = ", ".join(str(gpu.capability) for gpu in env.devices)
        compiled = (
            LockedPackage(
                b.package, current.get(b.package), b.version, b.wheel.stat().st_size, b.sha256, compiled_for=gpus
            )
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
    root = plan.environment.root
    refuse_unfit(root)
    _refuse_conda_owned(plan.environment, best, {step.package: step.wanted for step in _installs(best)})
    lock = _lock(plan, best, bundle, on_bytes)
    _refuse_conda_owned(plan.environment, best, {change.name: change.wanted for change in lock.changes})
    to_compile, left = extensions.to_compile(plan.environment, best) if rebuild and not bundle else ((), ())
    changing = [*(change.name for change in lock.changes), *(wanted.name for wanted in to_compile)]
    refuse_linked(root, {name: _modules(plan.environment, name) for name in changing})
    option = replace(best, requires=priced(best.requires, lock.changes))
    return Prepared(diagnosis, option, lock, (*_left_over(plan, to_compile), *left), to_compile)


def _refuse_conda_owned(environment: Environment, option: Option, wanted: Mapping[str, str | None]) -> None:
    """Refuse to replace with wheels what conda installed; `wanted` are the packages that change, with their new versions."""
    if mine := owned(environment, wanted):
        commands = conda_commands(environment, wanted, option.torch.cuda if option.torch else None)
        values = {"packages": ", ".join(mine), "target": environment.root, "command": " && ".join(commands)}
        raise ApplyError("refuse-conda-owned", **values)


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


def rollback(target: str | None, state: int | None = None, *, force: bool = False) -> History:
    """Bring an earlier state back: the one before, or the one with this number; `force`: though it is in use."""
    return roll_back(environment_root(target), state, force=force)


def history(target: str | None) -> History:
    """What was done to an environment, and its states."""
    return read_history(environment_root(target))


def give_up(history: History, states: Sequence[StateRecord]) -> History:
    """Remove states that are not live, for ever."""
    return remove_states(history.root, [state.id for state in states])


def _lock(plan: Plan, option: Option, bundle: Path | None, on_bytes: OnBytes) -> Lock:
    """What the bundle holds; else what the plan has pinned; else what the resolver says now."""
    if bundle:
        held = check_bundle(bundle, on_bytes)
        return lock_of(pinned(option.locked, held, bundle), wheel_folder(bundle))
    if option.locked:
        return lock_of(option.locked)
    return _resolve(plan.environment, option) if _installs(option) else Lock("", None, ())


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


def _installs(option: Option) -> list[Step]:
    return [s for s in option.steps if s.action == "install"]


def _reinstalled(env: Environment, option: Option) -> tuple[str, ...]:
    """Packages that keep their release and change their build: installers would call them satisfied."""
    current: Mapping[str, str] = {d.name: d.version.partition("+")[0] for d in env.distributions}
    lacking = "torch" in {s.package for s in _installs(option)}
    return tuple(s.package for s in _installs(option) if lacking and s.wanted and current.get(s.package) == s.wanted)


def _left_over(plan: Plan, to_compile: Sequence[Wanted]) -> list[Unsolved]:
    """What no option solves, but for what will be compiled."""
    solved = {str(wanted) for wanted in to_compile}
    return [u for u in plan.unsolved if u.text.key != "needs-rebuild" or u.text.values["package"] not in solved]


def _modules(env: Environment, name: str) -> tuple[str, ...]:
    found = env.distribution(name)
    return found.import_names if found else ()


def _install(prepared: Prepared, python: Path, *, talk: bool) -> None:
    env = prepared.before.environment
    if prepared.lock.requirements:
        install(python, prepared.lock, reinstall=_reinstalled(env, prepared.option), talk=talk)
    install_built(python, prepared.built)


def _write_records(journal: Journal, state: int, texts: Mapping[str, str]) -> Path | None:
    """The path of the first; None if the disk is full: the change is live and verified, and must not look failed."""
    paths = [journal.record_path(state, suffix) for suffix in texts]
    try:
        for path, text in zip(paths, texts.values(), strict=True):
            path.write_text(text, "utf-8")
    except OSError:
        return None
    return paths[0]


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
