"""The train level: a few steps of the training workload in the target, judged by the summary that it leaves."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from archfit.child import run_command
from archfit.model import Environment, Evidence, Proof, Text, Unknown
from archfit.verify.lanes import OnName

ITERATIONS = {"cuda": 30, "cpu": 10}  # as few as show a loss that falls; the CPU takes a second and more for each
_SECONDS = 900.0
_NEEDS = ("torch", "numpy", "pillow")
_SPLAT_TOLERANCE = 1e-4  # the workload's own: float32 sums of a few hundred terms below 1
_WORKLOAD = "lss_swin"
_PACKAGES = (_WORKLOAD, "bev_ops", "nuscenes_bev")
_CONFIGS = {"cuda": "lss_swin_nuscenes.py", "cpu": "lss_swin_tiny.py"}
_LARGE_GPU_BYTES = 24_000_000_000
_SMALL_BATCH = "data.batch_size=2"

Summary = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Workload:
    """Where the training package and its configurations lie; those of its operators and the data set lie beside it."""

    package: Path
    configs: Path


def find_workload() -> Workload | None:
    """The packages beside archfit, in a checkout or an installed wheel; None if they were not shipped."""
    home = Path(__file__).parents[2]
    package = home / _WORKLOAD
    places = (package / "configs" / "baseline", home / "configs" / "baseline", home.parent / "configs" / "baseline")
    configs = next((place for place in places if (place / _CONFIGS["cuda"]).is_file()), None)
    there = all((home / name / "__init__.py").is_file() for name in _PACKAGES)
    return Workload(package, configs) if there and configs else None


def prove_training(
    env: Environment, device: str, begins: OnName = lambda name: None, workload: Workload | None = None
) -> list[Evidence]:
    """Evidence of a short training run on `device`; every question is answered or says why not."""
    if reason := _why_not(env, device):
        return [Evidence(f"train:{name}", Proof.SKIPPED, reason=reason) for name in ("run", *_QUESTIONS)]
    workload = workload or find_workload()
    if workload is None:
        reason = Text("skip-no-workload")
        return [Evidence(f"train:{name}", Proof.SKIPPED, reason=reason) for name in ("run", *_QUESTIONS)]
    begins("train:run")
    ran, summary = _train(env, device, workload)
    if summary is None:
        reason = Text("skip-no-summary")
        return [ran, *(Evidence(f"train:{name}", Proof.SKIPPED, reason=reason) for name in _QUESTIONS)]
    return [ran, *judge_summary(summary, device)]


def judge_summary(summary: Summary, device: str) -> list[Evidence]:
    """One piece of evidence per question about a summary of the workload."""
    name = str(_part(summary, "device").get("name", ""))
    return [
        replace(question(summary, device), probe=f"train:{key}", device=name) for key, question in _QUESTIONS.items()
    ]


# --- running ---------------------------------------------------------------------------------------------------------


def _why_not(env: Environment, device: str) -> Text | None:
    if device == "cuda":
        gpus = () if isinstance(env.gpus, Unknown) else env.gpus.value
        if not gpus:
            cause = env.gpus.reason if isinstance(env.gpus, Unknown) else env.gpus.source
            return Text("skip-no-gpu", {"cause": cause})
        if all(gpu.pretended for gpu in gpus):
            return Text("skip-pretended", {"gpu": gpus[0].name})
    missing = [name for name in _NEEDS if env.distribution(name) is None]
    return Text("skip-not-here", {"what": ", ".join(missing)}) if missing else None


def _train(env: Environment, device: str, workload: Workload) -> tuple[Evidence, Summary | None]:
    """Run the workload in the target; only its own folders are lent to the target's path."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="archfit-train-") as folder:
        path, work = Path(folder, "path"), Path(folder, "work")
        path.mkdir()
        for name in _PACKAGES:
            (path / name).symlink_to(workload.package.parent / name)
        command = _command(env, device, workload, work)
        code, said = run_command(command, timeout_s=_SECONDS, environment={"PYTHONPATH": str(path)})
        summary = _read(work / "summary.json")
    blank = Evidence("train:run", Proof.FAILED, seconds=round(time.monotonic() - began, 1))
    if code is None:
        return replace(blank, reason=Text("probe-hung", {"seconds": f"{_SECONDS:g}"})), None
    if code:
        return replace(blank, reason=Text("train-ended", {"code": str(code), "said": said})), None
    if summary is None:
        return replace(blank, reason=Text("train-no-summary")), None
    return replace(blank, status=Proof.PASSED, measured=f"{summary.get('iterations')} iterations"), summary


def _command(env: Environment, device: str, workload: Workload, work: Path) -> list[str]:
    free = min((gpu.free_bytes for gpu in env.gpu_states), default=0)
    options = [f"total_iters={ITERATIONS[device]}", *([_SMALL_BATCH] if free < _LARGE_GPU_BYTES else [])]
    where = ["--gpu-ids", "0"] if device == "cuda" else ["--device", "cpu"]
    config = workload.configs / _CONFIGS[device]
    words = ["-m", f"{_WORKLOAD}.train", str(config), "--work-dir", str(work), *where, "--cfg-options", *options]
    return [str(env.python), *words]


def _read(path: Path) -> Summary | None:
    try:
        summary = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) and str(summary.get("schema")) == "lss_swin.summary/1" else None


# --- judging ---------------------------------------------------------------------------------------------------------


def _on_device(summary: Summary, device: str) -> Evidence:
    found = _part(summary, "device")
    shown = " ".join(str(found.get(key) or "") for key in ("type", "name", "compute_capability")).strip()
    status = Proof.PASSED if found.get("type") == device else Proof.FAILED
    reason = None if status is Proof.PASSED else Text("train-device", {"found": shown or "?", "wanted": device})
    return Evidence("", status, measured=shown, expected=device, reason=reason)


def _losses(summary: Summary, device: str) -> Evidence:
    """Falling: the last third is below the first. Within two standard errors of it nothing can be told from so few steps."""
    losses = [_number(value) for value in summary.get("losses") or []]
    shown = f"{losses[0]:.4g} -> {losses[-1]:.4g}" if losses else ""
    blank = Evidence("", Proof.FAILED, measured=shown, expected=f"{ITERATIONS[device]} losses, finite, falling")
    if len(losses) < ITERATIONS[device]:
        told = {"count": str(len(losses)), "wanted": str(ITERATIONS[device])}
        return replace(blank, reason=Text("train-too-few", told))
    if not all(map(math.isfinite, losses)):
        return replace(blank, reason=Text("probe-not-finite", {"what": "loss"}))
    third = len(losses) // 3
    rise = fmean(losses[-third:]) - fmean(losses[:third])
    if rise < 0:
        return replace(blank, status=Proof.PASSED)
    noise = math.sqrt(fmean((b - a) ** 2 for a, b in pairwise(losses)) / 2)  # of one loss, whatever the trend
    told = {"losses": " ".join(f"{loss:.3g}" for loss in losses)}
    if noise > 0 and rise <= 2 * noise * math.sqrt(2 / third):
        return replace(blank, status=Proof.SKIPPED, reason=Text("train-too-noisy", told))
    return replace(blank, reason=Text("train-not-falling", told))


def _splat(summary: Summary, device: str) -> Evidence:
    told = _part(summary, "splat")
    error, backend = _number(told.get("error_vs_reference")), str(told.get("backend"))
    shown = replace(
        Evidence("", Proof.FAILED),
        measured=f"{backend}, {error:.2g}",
        expected="float64",
        tolerance=f"{_SPLAT_TOLERANCE:g} (float32 sums of a few hundred terms)",
    )
    words = {"what": f"splat ({backend})", "error": f"{error:.2g}", "tolerance": f"{_SPLAT_TOLERANCE:g}"}
    if not math.isfinite(error):
        return replace(shown, reason=Text("probe-not-finite", words))
    if not 0 <= error <= _SPLAT_TOLERANCE:
        return replace(shown, reason=Text("probe-wrong", {**words, "basis": "float32"}))
    if device == "cuda" and backend != "triton":
        return replace(shown, reason=Text("train-no-kernel", {"backend": backend, "why": str(told.get("why"))}))
    return replace(shown, status=Proof.PASSED)


def _throughput(summary: Summary, _: str) -> Evidence:
    speed, seconds = _number(summary.get("samples_per_second")), _number(summary.get("seconds"))
    blank = Evidence("", Proof.FAILED, measured=f"{speed:.3g} samples/s", seconds=seconds if seconds > 0 else 0.0)
    if not math.isfinite(speed) or speed <= 0:
        return replace(blank, reason=Text("probe-not-finite", {"what": "samples_per_second"}))
    return replace(blank, status=Proof.PASSED)


_QUESTIONS: dict[str, Callable[[Summary, str], Evidence]] = {
    "device": _on_device,
    "loss": _losses,
    "splat": _splat,
    "throughput": _throughput,
}


def _part(summary: Summary, key: str) -> Mapping[str, Any]:
    found = summary.get(key)
    return found if isinstance(found, dict) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
