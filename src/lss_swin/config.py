"""A configuration is a plain Python file of values; options of the command line change values that are there.

`_base_ = "./other.py"` starts from another file. The files are readable by mmengine's Config, too.
"""

from __future__ import annotations

import ast
import runpy
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from nuscenes_bev.errors import UsageError

Config = dict[str, Any]
PACKAGE = Path(__file__).resolve().parent
_ROOTS = (PACKAGE.parents[1], PACKAGE)  # where configs/ lies: in the repository, in the installed package
_OPTIONAL = {  # what may be None, and its type where it is not
    **dict.fromkeys(("total_iters", "data.workers", "val.every", "val.max_frames"), int),
    **dict.fromkeys(("data.root", "data.version", "model.pretrained"), str),
}


def load_config(path: str, options: Iterable[str] = ()) -> Config:
    """Read a configuration and apply `a.b=c` options.

    Raises:
        UsageError: the file cannot be read, a key is unknown, or a value has another type than before.
    """
    config = _read(find_config(path))
    for option in options:
        apply_option(config, option)
    return config


def find_config(path: str) -> Path:
    """The file as named; else the one of that name in the repository, or in the installed package."""
    found = next((place for place in (Path(path), *(root / path for root in _ROOTS)) if place.is_file()), None)
    if found is None:
        shipped = {f"configs/baseline/{p.name}" for root in _ROOTS for p in (root / "configs/baseline").glob("*.py")}
        raise UsageError(f"there is no configuration {path}; known: {', '.join(sorted(shipped))}")
    return found


def _read(path: Path) -> Config:
    try:
        values = runpy.run_path(str(path))
    except Exception as exc:
        raise UsageError(f"cannot read configuration {path}: {type(exc).__name__}: {exc}") from exc
    own = {k: v for k, v in values.items() if not (k.startswith("_") or isinstance(v, ModuleType) or callable(v))}
    base = values.get("_base_")
    return _merge(_read(path.parent / base), own) if base else own


def _merge(base: Config, changes: Config) -> Config:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def apply_option(config: Config, option: str) -> None:
    """Set one value, ``a.b=c``.

    Raises:
        UsageError: no such key, or a value of another type than before.
    """
    name, equals, text = option.partition("=")
    if not equals:
        raise UsageError(f"--cfg-options wants KEY=VALUE, not {option!r}; for example total_iters=10")
    known = dict(places(config))
    if name not in known:
        raise UsageError(f"unknown key {name!r}; known: {', '.join(sorted(known))}")
    table, key = known[name]
    table[key] = _checked(name, table[key], _value(text))


def places(config: Config, prefix: str = "") -> Iterator[tuple[str, tuple[Config, str]]]:
    """The dotted name of every value, with the table and the key where it stands."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from places(value, f"{prefix}{key}.")
        else:
            yield prefix + key, (config, key)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def _checked(name: str, old: Any, new: Any) -> Any:
    """A value of the type it replaces, as many of them in a tuple; where there never was one, anything goes."""
    kind = _OPTIONAL.get(name, type(old))
    if kind is type(None) or (new is None and name in _OPTIONAL):
        return new
    if kind in (tuple, list) and isinstance(new, (tuple, list)):
        if len(new) != len(old):
            raise UsageError(f"{name} is {old!r}, so it wants {len(old)} values, not {new!r}")
        return kind(_checked(name, was, now) for was, now in zip(old, new))
    if kind is float and type(new) is int:
        return float(new)
    if type(new) is kind:
        return new
    raise UsageError(f"{name} is {old!r}, so it wants a value of type {kind.__name__}, not {new!r}")
