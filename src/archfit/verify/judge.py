"""From what a probe told to evidence. A pass is earned: something was compared, and every comparison held."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from archfit.catalog.probes import CEILINGS_S, FLOORS, HealthRow, ProbeRow
from archfit.child import signal_name
from archfit.model import Evidence, Proof, Text

Told = Mapping[str, Any]
"""The answer of one probe: comparisons, figures, facts, skip, error, seconds; or ended, if it gave none."""

# Reasons that a probe may give for not answering. Anything else it says is a failure of the probe.
SKIPS = frozenset(
    {
        "skip-cuda-only",
        "skip-capability",
        "skip-no-api",
        "skip-not-here",
        "skip-refused",
        "skip-no-compiler",
        "skip-no-toolkit",
        "skip-toolkit-other",
        "skip-toolkit-old",
        "skip-one-gpu",
        "skip-cpu-build",
        "plain",
    }
)


def judge(row: ProbeRow, told: Told, device: str, package: str = "") -> Evidence:
    """Evidence from one answer; `device` is what the GPU is called."""
    seconds = float(told.get("seconds") or 0.0)
    blank = Evidence(row.id, Proof.FAILED, device=device, seconds=seconds, package=package)
    if told.get("ended"):
        return replace(blank, reason=_how_it_ended(told["ended"], row.seconds))
    if told.get("error"):
        return replace(blank, reason=Text("import-failed", {"cause": str(told["error"])}))
    if told.get("skip"):
        return _skipped(blank, told["skip"])
    comparisons = told.get("comparisons") or []
    if not comparisons:
        return replace(blank, reason=Text("probe-proved-nothing"))
    found = _compared(blank, comparisons)
    figures = ", ".join(show_figure(name, _number(value)) for name, value in (told.get("figures") or {}).items())
    return replace(found, measured=f"{found.measured}; {figures}") if figures else found


def _compared(blank: Evidence, comparisons: list[Mapping[str, Any]]) -> Evidence:
    worst = max(comparisons, key=_share)
    error, tolerance = _number(worst.get("error")), _number(worst.get("tolerance"))
    shown = replace(
        blank,
        measured=f"{error:.2g}",
        expected=str(worst.get("against", "")),
        tolerance=f"{tolerance:.2g} ({worst.get('basis', '')})",
    )
    told = {"what": str(worst.get("what", "")), "error": f"{error:.2g}", "tolerance": f"{tolerance:.2g}"}
    if not math.isfinite(error):
        return replace(shown, reason=Text("probe-not-finite", told))
    if _share(worst) > 1:
        return replace(shown, reason=Text("probe-wrong", {**told, "basis": str(worst.get("basis", ""))}))
    return replace(shown, status=Proof.PASSED)


def _share(comparison: Mapping[str, Any]) -> float:
    """How much of the tolerance is used up; more than 1 fails. Not a number, or no tolerance: the worst of all."""
    error, tolerance = _number(comparison.get("error")), _number(comparison.get("tolerance"))
    if not math.isfinite(error) or not math.isfinite(tolerance) or error < 0 or tolerance < 0:
        return math.inf
    if tolerance == 0:
        return 0.0 if error == 0 else math.inf
    return error / tolerance


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _skipped(blank: Evidence, skip: Mapping[str, Any]) -> Evidence:
    key = str(skip.get("key"))
    if key not in SKIPS:
        return replace(blank, reason=Text("probe-proved-nothing"))
    values = {str(k): str(v) for k, v in dict(skip.get("values") or {}).items()}
    return replace(blank, status=Proof.SKIPPED, reason=Text(key, values))


def _how_it_ended(ended: Mapping[str, Any], seconds: float) -> Text:
    said = str(ended.get("said") or "").strip().splitlines()
    last = next((line.strip() for line in said if line.strip()), "")[:200]
    if ended.get("hung"):
        return Text("probe-hung", {"seconds": f"{seconds:g}"})
    if "signal" in ended:
        return Text("probe-crashed", {"signal": signal_name(int(ended["signal"])), "last": last})
    if "code" in ended:
        return Text("probe-exited", {"code": str(ended["code"])})
    return Text("import-failed", {"cause": str(ended.get("reason", ""))})


# --- speed -----------------------------------------------------------------------------------------------------------


def judge_health(row: ProbeRow, told: Told, device: str, expected: HealthRow | None, busy: Text | None) -> Evidence:
    """Evidence of a speed. `busy` says why this GPU cannot be held against its documents now."""
    right = judge(row, told, device)
    if right.status is not Proof.PASSED:
        return right
    figures = {name: _number(value) for name, value in (told.get("figures") or {}).items()}
    if not figures:
        return replace(right, status=Proof.FAILED, reason=Text("probe-proved-nothing"))
    shares = {name: _speed_share(name, value, expected) for name, value in figures.items()}
    known = {name: share for name, share in shares.items() if share is not None}
    measured = ", ".join(show_figure(name, value) for name, value in figures.items())
    blank = replace(right, measured=measured, expected="", tolerance="")
    if any(not math.isfinite(value) or value <= 0 for value in figures.values()):
        return replace(blank, status=Proof.FAILED, reason=Text("probe-not-finite", {"what": measured}))
    if not known:
        return replace(blank, status=Proof.SKIPPED, reason=Text("skip-no-row", {"measured": measured, "gpu": device}))
    worst = min(known, key=lambda name: known[name])
    blank = replace(blank, expected=_should_be(worst, expected), tolerance=_floor(worst))
    if known[worst] >= 1:
        return blank
    if busy:
        return replace(blank, status=Proof.SKIPPED, reason=busy)
    words = {"measured": measured, "expected": blank.expected, "floor": blank.tolerance}
    return replace(blank, status=Proof.FAILED, reason=Text("probe-slow", words))


def _speed_share(name: str, value: float, expected: HealthRow | None) -> float | None:
    """Measured over the least that is in order; None where nothing is known."""
    if name in CEILINGS_S:
        return CEILINGS_S[name] / value if value > 0 else 0.0
    should = expected.expected(name) if expected else 0.0
    return value / (FLOORS[name] * should) if should and name in FLOORS else None


def _should_be(name: str, expected: HealthRow | None) -> str:
    if name in CEILINGS_S:
        return show_figure(name, CEILINGS_S[name])
    return show_figure(name, expected.expected(name)) if expected else ""


def _floor(name: str) -> str:
    return "<= 100 %" if name in CEILINGS_S else f">= {FLOORS[name]:.0%}"


def show_figure(name: str, value: float) -> str:
    """A figure for reading: what it is of, and the unit that ends its name, ``copy 2990 GB/s``."""
    for ending, scale, unit in (("_flop_per_s", 1e12, "TFLOP/s"), ("_bytes_per_s", 1e9, "GB/s")):
        if name.endswith(ending):
            return f"{_label(name, ending)} {value / scale:.3g} {unit}"
    scaled, unit = (value * 1e6, "us") if value < 1e-3 else (value * 1e3, "ms") if value < 1 else (value, "s")
    return f"{_label(name, '_s')} {scaled:.3g} {unit}"


def _label(name: str, ending: str) -> str:
    return name.removesuffix(ending).replace("_", " ")
