"""Compose the observation of one environment on one machine, real or pretended."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archfit.arch import CudaVersion
from archfit.catalog import Catalog
from archfit.child import run_child
from archfit.errors import UsageError
from archfit.model import CONDA_BASE, Driver, DriverRelease, Environment, Gpu, Interpreter, Known, Unknown
from archfit.probe.choose import Choice, choose_target
from archfit.probe.conda import read_conda
from archfit.probe.gpus import query_machine, query_states
from archfit.probe.packages import Installed, Progress, observe_packages
from archfit.probe.surroundings import observe_surroundings

_DESCRIBE_SECONDS = 30.0
_OLDEST_BRANCH = 300  # drivers of the GPUs in the catalog begin at 346


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person named: the target, and what to pretend. Empty means: look at what is really here."""

    target: str | None = None
    gpus: tuple[str, ...] = ()
    driver: str | None = None
    platform: str | None = None


def observe(wish: Wish, catalog: Catalog, progress: Progress | None = None) -> Environment:
    """Look at the target and the machine; read only, nothing of the target is imported.

    Raises:
        UsageError: the target does not exist, a GPU or driver cannot be meant.
        ObserveError: the target may not be looked at.
    """
    gpus = tuple(gpu for spec in wish.gpus for gpu in parse_gpus(spec, catalog))
    driver = parse_driver(wish.driver, catalog) if wish.driver is not None else None
    choice = choose_target(wish.target, os.environ)
    interpreter = observe_interpreter(choice)
    choice = _settle(choice, interpreter)
    installed = observe_packages(_site_dirs(choice, interpreter), progress)
    machine = query_machine()
    real = machine.gpus
    if isinstance(real, Known):
        real = Known(tuple(_with_row(gpu, catalog) for gpu in real.value), real.source)
    env = Environment(
        root=choice.root,
        python=choice.python,
        chosen=choice.reason,
        interpreter=interpreter,
        distributions=installed.distributions,
        unreadable=installed.unreadable,
        torch_cuda=_torch_cuda(_site_dirs(choice, interpreter)),
        gpus=Known(gpus, "--gpu") if gpus else real,
        driver=Known(driver, "--driver") if driver else _complete(machine.driver, catalog),
        conda=read_conda(choice.root),
        pretended_platform=wish.platform,
    )
    states = query_states() if isinstance(machine.gpus, Known) else ()
    return replace(env, surroundings=Known(observe_surroundings(env, os.environ, states), "this machine"))


def observe_code(
    target: str, progress: Progress | None = None, *, deep: bool = False
) -> tuple[Installed, CudaVersion | None]:
    """What is installed in an environment, and torch's CUDA release; nothing is asked of the machine.

    Raises:
        UsageError, ObserveError: as `observe`.
    """
    choice = choose_target(target, os.environ)
    site_dirs = _site_dirs(choice, observe_interpreter(choice))
    cuda = _torch_cuda(site_dirs)
    return observe_packages(site_dirs, progress, deep=deep), cuda.value if isinstance(cuda, Known) else None


def parse_gpus(spec: str, catalog: Catalog) -> tuple[Gpu, ...]:
    """Read ``RTX 5090`` or ``sm_120:2`` (two of them)."""
    match = re.fullmatch(r"(.+?):(\d{1,3})", spec.strip())
    count = int(match[2]) if match else 1
    if count < 1:
        raise UsageError("gpu-unknown-name", spec=spec, near="sm_120:2")
    return (catalog.find_gpu(match[1] if match else spec.strip()),) * count


def parse_driver(text: str, catalog: Catalog) -> Driver:
    """Read ``570.86.16`` as the driver to pretend."""
    try:
        release = DriverRelease.parse(text)
    except ValueError:
        raise UsageError("driver-unknown", spec=text) from None
    if release.branch < _OLDEST_BRANCH or len(release.parts) == 1:  # a CUDA version, or a branch without its release
        raise UsageError("driver-unknown", spec=text)
    return Driver(release, catalog.cuda_of_driver(release), None, f"--driver {text}")


def observe_interpreter(choice: Choice) -> Known[Interpreter] | Unknown:
    """Ask the target's Python what it is; a Python that cannot run is an `Unknown` with its last words."""
    answer = run_child(choice.python, "describe.py", timeout_s=_DESCRIBE_SECONDS)
    if isinstance(answer, Unknown):
        return answer
    try:
        return Known(_interpreter(answer.value), answer.source)
    except KeyError as error:
        return Unknown(f"its answer lacks {error}", (str(choice.python),))


def _settle(choice: Choice, interpreter: Known[Interpreter] | Unknown) -> Choice:
    """The name on PATH may be a shim or a link from elsewhere: what the interpreter says of itself is where it lives."""
    if isinstance(interpreter, Unknown) or choice.root.resolve() == interpreter.value.prefix.resolve():
        return choice
    return Choice(interpreter.value.prefix, interpreter.value.executable, choice.reason)


def _interpreter(told: dict[str, Any]) -> Interpreter:
    executable, prefix = Path(told["executable"]), Path(told["prefix"])
    return Interpreter(
        executable=executable,
        prefix=prefix,
        version=told["version"],
        tag=told["tag"],
        platform=told["platform"],
        is_virtual=told["prefix"] != told["base_prefix"],
        purelib=Path(told["purelib"]),
        site_dirs=tuple(Path(p) for p in told["site_dirs"]),
        libc=told["libc"] or None,
        in_conda=(prefix / "conda-meta").is_dir() and not any((prefix / part).exists() for part in CONDA_BASE),
    )


def _site_dirs(choice: Choice, interpreter: Known[Interpreter] | Unknown) -> tuple[Path, ...]:
    """Where packages lie; without an answer of the interpreter, where they lie in every environment of this layout."""
    if isinstance(interpreter, Known):
        named = ("site-packages", "dist-packages")
        return tuple(p for p in interpreter.value.site_dirs if p.name in named)
    return tuple(sorted(choice.root.glob("lib/python3*/site-packages")))


def _torch_cuda(site_dirs: Sequence[Path]) -> Known[CudaVersion] | Unknown:
    """The CUDA release that torch was built with, as its version file says."""
    for site in site_dirs:
        page = site / "torch" / "version.py"
        try:
            text = page.read_text("utf-8", "replace")
        except OSError:
            continue
        match = re.search(r"^cuda\b[^=\n]*=\s*['\"](\d+\.\d+)['\"]", text, re.MULTILINE)
        if match:
            return Known(CudaVersion.parse(match[1]), str(page))
        return Unknown("built without CUDA", (str(page),))
    return Unknown("torch is not installed", tuple(str(site) for site in site_dirs))


def _with_row(gpu: Gpu, catalog: Catalog) -> Gpu:
    product = catalog.find_product(gpu.name)
    return replace(gpu, first_driver=product.first_driver) if product else gpu


def _complete(driver: Known[Driver] | Unknown, catalog: Catalog) -> Known[Driver] | Unknown:
    if isinstance(driver, Unknown) or driver.value.cuda:
        return driver
    return Known(replace(driver.value, cuda=catalog.cuda_of_driver(driver.value.release)), driver.source)
