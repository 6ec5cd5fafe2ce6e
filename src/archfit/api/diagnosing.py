"""Look at an environment, or imagine one, and judge it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from archfit.api.told import OnRead
from archfit.catalog import load_catalog
from archfit.checks import diagnose
from archfit.errors import ProblemError
from archfit.model import Diagnosis, Distribution, Environment, Interpreter, Known, Library, Unknown
from archfit.probe import Wish, observe
from archfit.probe.choose import Choice, choose_target, expand
from archfit.probe.observe import observe_interpreter, parse_driver, parse_gpus
from archfit.transaction import Journal, unfinished
from archfit.transaction.installer import find_python


def doctor(wish: Wish, on_read: OnRead | None = None) -> Diagnosis:
    """Observe and check. Reads only; raises UsageError or ObserveError where there is nothing to look at."""
    catalog = load_catalog()
    if wish.target and (root := cut_off(wish.target)):
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


def environment_root(target: str | None) -> Path:
    """The folder of the environment that is meant; works on one whose Python does not start, too."""
    if target and (root := cut_off(target)):
        return root
    return choose_target(target, os.environ).root.resolve()


def find_interpreter(request: str) -> Interpreter | None:
    """A Python of this machine, such as ``3.12``; None if there is none that starts."""
    path = find_python(request)
    if path is None:
        return None
    seen = observe_interpreter(Choice(path.parent.parent, path, "named"))
    return seen.value if isinstance(seen, Known) else None


def cut_off(target: str) -> Path | None:
    """The environment of this name, if a change that was cut off between three renames left nothing at it."""
    root = Path(os.path.abspath(expand(target)))
    return root if not os.path.lexists(root) and Journal(root).unfinished() else None
