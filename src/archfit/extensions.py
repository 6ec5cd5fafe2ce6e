"""Compose the rooms for extensions: which of them an upgrade leaves behind, and compiling them for the torch to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archfit.arch import CudaVersion
from archfit.catalog import load_catalog
from archfit.errors import ArchfitError
from archfit.logs import explain_file
from archfit.model import Environment, Explanation, Known, Option, Text, Unsolved
from archfit.rebuild import BuildError, Built, Ground, OnProgress, Wanted, find_origin, rebuild
from archfit.transaction.installer import Lock


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
            wanted.append(Wanted(step.package, version, origin.address if origin else None))
    return tuple(wanted), tuple(left)


def compile_all(
    env: Environment, option: Option, lock: Lock, wanted: Sequence[Wanted], on_progress: OnProgress
) -> tuple[Built, ...]:
    """Compile each of `wanted` for the torch that `option` ends with and the GPUs of `env`; nothing of `env` is touched.

    Raises:
        BuildError: one cannot be compiled; a `CompileFailed` says what its log shows.
    """
    if not wanted:
        return ()
    ground, catalog = _ground(env, option, lock), load_catalog()
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


def _ground(env: Environment, option: Option, lock: Lock) -> Ground:
    """The torch to come: that of the lock, else the one that is there and stays."""
    if not isinstance(env.interpreter, Known):
        raise BuildError("rebuild-torch-fails", cause=env.interpreter.reason)
    pins = dict(_pins(lock.requirements))
    numpy = env.distribution("numpy")
    ground = Ground(
        interpreter=env.interpreter.value,
        torch="",
        cuda=CudaVersion(0, 0),
        devices=tuple(gpu.capability for gpu in env.devices),
        beside=(f"numpy=={numpy.version}",) if numpy and "numpy" not in pins else (),
    )
    if "torch" in pins and option.torch and option.torch.cuda:
        cuda = CudaVersion.parse(option.torch.cuda)
        return replace(ground, torch=pins["torch"], cuda=cuda, requirements=lock.requirements, index=lock.index)
    torch = env.distribution("torch")
    if torch is None or not isinstance(env.torch_cuda, Known):
        raise BuildError("rebuild-torch-fails", cause="torch")
    return replace(ground, torch=torch.version, cuda=env.torch_cuda.value)


def _pins(requirements: str) -> list[tuple[str, str]]:
    rows = (line.split()[0].partition("==") for line in requirements.splitlines() if "==" in line)
    return [(name, version) for name, _, version in rows]
