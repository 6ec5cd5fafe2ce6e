"""Compose the rooms: the functions behind every command, for Python programs too.

>>> from archfit import api
>>> diagnosis = api.doctor(api.Wish(target="/path/to/env", gpus=("RTX 5090",)))
>>> diagnosis.primary.id
'arch-missing-torch'

Every name is loaded when it is first asked for, so that a command pays for the rooms it enters and for no others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # "X as X" is how a name is passed on
    from archfit.api.changing import Prepared as Prepared
    from archfit.api.changing import Receipt as Receipt
    from archfit.api.changing import compile_extensions as compile_extensions
    from archfit.api.changing import give_up as give_up
    from archfit.api.changing import history as history
    from archfit.api.changing import prepare_upgrade as prepare_upgrade
    from archfit.api.changing import rollback as rollback
    from archfit.api.changing import upgrade as upgrade
    from archfit.api.diagnosing import doctor as doctor
    from archfit.api.diagnosing import environment_root as environment_root
    from archfit.api.diagnosing import find_interpreter as find_interpreter
    from archfit.api.diagnosing import imagine as imagine
    from archfit.api.planning import bundled_first as bundled_first
    from archfit.api.planning import cost_of as cost_of
    from archfit.api.planning import fill_bundle as fill_bundle
    from archfit.api.planning import find_bundle as find_bundle
    from archfit.api.planning import load_plan as load_plan
    from archfit.api.planning import make_plan as make_plan
    from archfit.api.planning import search_source as search_source
    from archfit.api.planning import source_build_of as source_build_of
    from archfit.api.planning import through_mirror as through_mirror
    from archfit.api.planning import with_changes as with_changes
    from archfit.api.planning import write_bundle_plan as write_bundle_plan
    from archfit.api.proving import prove as prove
    from archfit.api.reading import audit as audit
    from archfit.api.reading import kernels_lacking as kernels_lacking
    from archfit.api.reading import remember as remember
    from archfit.api.reading import scan as scan
    from archfit.api.reading import spread as spread
    from archfit.api.tables import devices_of as devices_of
    from archfit.api.tables import matrix as matrix
    from archfit.extensions import CompileFailed as CompileFailed
    from archfit.planner import PlanWish as PlanWish
    from archfit.probe import Wish as Wish
    from archfit.probe.observe import parse_gpus as parse_gpus
    from archfit.rebuild import BuildError as BuildError
    from archfit.rebuild import BuildProgress as BuildProgress
    from archfit.scan import ScanWish as ScanWish
    from archfit.transaction import freed_bytes as freed_bytes
    from archfit.transaction import kept_bytes as kept_bytes
    from archfit.transaction.installer import cache_folder as cache_folder
    from archfit.transaction.installer import create_environment as create_environment
    from archfit.verify import LEVELS as LEVELS
    from archfit.verify import default_level as default_level

_HOMES = {
    "archfit.api.changing": (
        "Prepared",
        "Receipt",
        "compile_extensions",
        "give_up",
        "history",
        "prepare_upgrade",
        "rollback",
        "upgrade",
    ),
    "archfit.api.diagnosing": ("doctor", "environment_root", "find_interpreter", "imagine"),
    "archfit.api.planning": (
        "bundled_first",
        "cost_of",
        "fill_bundle",
        "find_bundle",
        "load_plan",
        "make_plan",
        "search_source",
        "source_build_of",
        "through_mirror",
        "with_changes",
        "write_bundle_plan",
    ),
    "archfit.api.proving": ("prove",),
    "archfit.api.reading": ("audit", "kernels_lacking", "remember", "scan", "spread"),
    "archfit.api.tables": ("devices_of", "matrix"),
    "archfit.extensions": ("CompileFailed",),
    "archfit.planner": ("PlanWish",),
    "archfit.probe": ("Wish",),
    "archfit.probe.observe": ("parse_gpus",),
    "archfit.rebuild": ("BuildError", "BuildProgress"),
    "archfit.scan": ("ScanWish",),
    "archfit.transaction": ("freed_bytes", "kept_bytes"),
    "archfit.transaction.installer": ("cache_folder", "create_environment"),
    "archfit.verify": ("LEVELS", "default_level"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value
