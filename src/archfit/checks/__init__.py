"""Environment in, outcomes out: each check is pure, and none is ever lost.

The order of `CHECKS` is the order of the report. `PRIMARY_ORDER` is the order of causes: what stands first makes the rest
moot until it is solved.
"""

from __future__ import annotations

from collections.abc import Callable

from archfit.catalog import Catalog
from archfit.checks.driver import check_driver_for_build, check_driver_for_gpu, check_kernel_module
from archfit.checks.machine import check_files, check_gpu, check_interpreter, check_transaction
from archfit.checks.packages import check_compilers, check_extensions, check_family, check_vendor_libraries
from archfit.checks.surroundings import check_caches, check_gpu_use, check_loader
from archfit.checks.torch import check_torch, check_torch_arch
from archfit.model import Diagnosis, Environment, Finding, Outcome, Severity, State, Status, Text

Check = Callable[[Environment, Catalog], Outcome]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("interpreter", check_interpreter),
    ("transaction", check_transaction),
    ("gpu", check_gpu),
    ("driver-for-gpu", check_driver_for_gpu),
    ("driver-for-build", check_driver_for_build),
    ("kernel-module", check_kernel_module),
    ("torch", check_torch),
    ("torch-arch", check_torch_arch),
    ("vendor-libraries", check_vendor_libraries),
    ("extensions", check_extensions),
    ("compilers", check_compilers),
    ("family", check_family),
    ("files", check_files),
    ("loader", check_loader),
    ("gpu-use", check_gpu_use),
    ("caches", check_caches),
)

PRIMARY_ORDER = (
    "interpreter-broken",
    "driver-dropped-gpu",
    "driver-too-old",
    "open-kernel-module-required",
    "forward-compat",
    "torch-missing",
    "cpu-only-build",
    "other-vendor-build",
    "arch-missing-torch",
    "arch-dropped-torch",
    "torch-family-mismatch",
    "ptx-toolchain",
    "ptx-jit-disabled",
    "ptx-jit-forced",
    "arch-missing-framework",
    "arch-missing-extension",
)


def diagnose(environment: Environment, catalog: Catalog) -> Diagnosis:
    """Run all checks; a check that crashes is an outcome, not an end."""
    outcomes = tuple(_run(name, check, environment, catalog) for name, check in CHECKS)
    findings = tuple(sorted((f for o in outcomes for f in o.findings), key=_rank))
    errors = [f for f in findings if f.severity is Severity.ERROR]
    undecided = any(o.state in (State.UNDECIDED, State.CRASHED) for o in outcomes)
    status = Status.PROBLEMS if errors else Status.UNDECIDED if undecided else Status.OK
    return Diagnosis(environment, outcomes, findings, errors[0] if errors else None, status)


def _run(name: str, check: Check, environment: Environment, catalog: Catalog) -> Outcome:
    try:
        outcome = check(environment, catalog)
    except Exception as error:
        # A crash of one check must not hide what the others saw.
        return Outcome(name, State.CRASHED, reason=Text("crashed", {"cause": f"{type(error).__name__}: {error}"}))
    return outcome


def _rank(finding: Finding) -> tuple[int, int]:
    severity = list(Severity).index(finding.severity)
    place = PRIMARY_ORDER.index(finding.id) if finding.id in PRIMARY_ORDER else len(PRIMARY_ORDER)
    return severity, place
