"""Compose the rooms for extensions: which of them an upgrade leaves behind, and compiling them for the torch to come."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from archfit.arch import CudaVersion
from archfit.catalog import load_catalog
from archfit.catalog.extensions import load_extensions
from archfit.errors import ArchfitError
from archfit.logs import explain_file
from archfit.model import Environment, Explanation, Known, Option, Text, Unsolved
from archfit.rebuild import BuildError, Built, Ground, OnProgress, Wanted, find_origin, rebuild
from archfit.transaction.installer import Lock, install


class CompileFailed(BuildError):
    """A build that failed, with what its log shows."""

    explanation: Explanation | None = None


def to_compile(env: Environment, option: Option) -> tuple[tuple[Wanted, ...], tuple[Unsolved, ...]]:
    """What the rebuild steps of an option mean, and what of them is left to people: packages that are used in place."""
    wanted: list[Wanted] = []
    left: list[Unsolved] = []
    sites = env.interpreter.value.site_dirs if isinstance(env.interpreter, Known) else ()
    for step in option.steps:
        version = step.wanted or step.current
        if step.action != "rebuild" or not version:
            continue
        origin = find_origin(sites, step.package, step.current or version)
        if origin and origin.in_place:
            values = {"package": f"{step.package} {version}", "folder": origin.address}
            left.append(Unsolved(Text("rebuild-in-place", values)))
        else:
            address = origin.address if origin else _repository(step.package)
            wanted.append(Wanted(step.package, version, address))
    return tuple(wanted), tuple(left)


def _repository(package: str) -> str | None:
    """Where the source of a package is that has none on an index."""
    row = load_extensions().find(package)
    return row.address if row and row.how == "git" and row.address else None


def compile_all(
    env: Environment,
    option: Option,
    lock: Lock,
    wanted: Sequence[Wanted],
    on_progress: OnProgress,
    *,
    talk: bool = False,
) -> tuple[Built, ...]:
    """Compile each of `wanted` for the torch that `option` ends with and the GPUs of `env`; nothing of `env` is touched.

    `talk` lets the installer draw its bars on this terminal.

    Raises:
        BuildError: one cannot be compiled; a `CompileFailed` says what its log shows.
    """
    if not wanted:
        return ()
    ground, catalog = _ground(env, option, lock, talk=talk), load_catalog()
    try:
        return tuple(rebuild(each, ground, catalog, on_progress) for each in wanted)
    except BuildError as error:
        raise _explained(error) from error


def _explained(error: BuildError) -> BuildError:
    if error.log is None or error.key != "rebuild-failed":
        return error
    failed = CompileFailed(error.key, **error.values)
    failed.log = error.log
    try:
        failed.explanation = explain_file(error.log)
    except ArchfitError:
        return failed
    return failed


def _ground(env: Environment, option: Option, lock: Lock, *, talk: bool) -> Ground:
    """The torch to come: that of the lock, else the one that is there and stays."""
    if not isinstance(env.interpreter, Known):
        raise BuildError("rebuild-torch-fails", cause=env.interpreter.reason)
    devices = tuple(gpu.capability for gpu in env.devices)
    comes = next((change for change in lock.changes if change.name == "torch"), None)
    if comes and option.torch and option.torch.cuda:
        cuda = CudaVersion.parse(option.torch.cuda)
        bring = partial(install, lock=lock, talk=talk)
        return Ground(env.interpreter.value, comes.wanted, cuda, devices, bring)
    torch = env.distribution("torch")
    if comes or torch is None or not isinstance(env.torch_cuda, Known):
        raise BuildError("rebuild-torch-fails", cause="CUDA?")
    return Ground(env.interpreter.value, torch.version, env.torch_cuda.value, devices)
