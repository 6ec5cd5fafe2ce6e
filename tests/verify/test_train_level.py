"""The train level: a stand-in for the training workload runs for real; its summary is judged question by question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archfit.model import Distribution, Environment, Evidence, Proof
from archfit.report.messages import Messages
from archfit.verify.train import Workload, judge_summary, prove_training
from worlds import world

MakeEnvironment = Callable[..., Environment]

GOOD: dict[str, Any] = {
    "schema": "lss_swin.summary/1",
    "device": {"type": "cuda", "name": "NVIDIA GeForce RTX 5090", "compute_capability": "12.0"},
    "splat": {"backend": "triton", "why": "compiled for this GPU", "error_vs_reference": 4.8e-7},
    "iterations": 30,
    "losses": [0.9 - 0.02 * step + 0.05 * (step % 2) for step in range(30)],
    "samples_per_second": 42.0,
    "seconds": 12.5,
}

PLAIN = {"backend": "torch", "why": "the device is cpu", "error_vs_reference": 1e-7}


def verdicts(where: str = "cuda", /, **changes: Any) -> dict[str, Proof]:
    found = judge_summary({**GOOD, **changes}, where)
    return {e.probe.removeprefix("train:"): e.status for e in found if e.status is not Proof.PASSED}


def test_a_good_run_passes_every_question() -> None:
    found = judge_summary(GOOD, "cuda")
    assert [(e.probe, e.status) for e in found] == [
        (f"train:{name}", Proof.PASSED) for name in ("device", "loss", "splat", "throughput")
    ]
    assert {e.device for e in found} == {"NVIDIA GeForce RTX 5090"}


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({"device": {"type": "cpu", "name": "cpu"}}, "device"),
        ({"device": None}, "device"),
        ({"losses": [0.5] * 30}, "loss"),
        ({"losses": [0.3 + 0.01 * step for step in range(30)]}, "loss"),
        ({"losses": [0.9, 0.8, None, *[0.1] * 27]}, "loss"),
        ({"losses": [0.9, float("nan"), *[0.1] * 28]}, "loss"),
        ({"losses": [0.9, 0.1]}, "loss"),
        ({"losses": []}, "loss"),
        ({"losses": None}, "loss"),
        ({"splat": {"backend": "triton", "error_vs_reference": 0.3}}, "splat"),
        ({"splat": {"backend": "triton", "error_vs_reference": None}}, "splat"),
        ({"splat": {"backend": "torch", "why": "Triton failed", "error_vs_reference": 0.0}}, "splat"),
        ({"splat": {}}, "splat"),
        ({"samples_per_second": 0}, "throughput"),
        ({"samples_per_second": None}, "throughput"),
    ],
)
def test_each_fault_fails_its_own_question(changes: dict[str, Any], fails: str) -> None:
    assert verdicts(**changes) == {fails: Proof.FAILED}


def test_noise_is_neither_falling_nor_a_fault() -> None:
    """The losses of a healthy run of the tiny configuration, measured 2026-11-25: ten steps of two samples tell nothing."""
    losses = [0.2646, 0.2465, 0.2184, 0.2533, 0.2491, 0.244, 0.2404, 0.2722, 0.2423, 0.2304]
    assert verdicts("cpu", device={"type": "cpu"}, splat=PLAIN, losses=losses) == {"loss": Proof.SKIPPED}


def test_on_the_cpu_the_plain_operators_are_right() -> None:
    assert verdicts("cpu", device={"type": "cpu", "name": "x"}, splat=PLAIN) == {}


# --- running it ------------------------------------------------------------------------------------------------------

TRAINER = """
import json, os, sys
given = sys.argv[1:]
work = given[given.index("--work-dir") + 1]
assert "--device" in given and "total_iters=10" in given, given
lent = sorted(os.listdir(os.environ["PYTHONPATH"]))
assert lent == ["bev_ops", "lss_swin", "nuscenes_bev"], "more than the workload is lent to the target"
os.makedirs(work)
summary = json.loads({summary!r})
{fault}
with open(os.path.join(work, "summary.json"), "w") as page:
    json.dump(summary, page)
"""


@pytest.fixture
def trained(environment: MakeEnvironment, tmp_path: Path) -> Callable[[str], dict[str, Evidence]]:
    """The evidence of a run of the stand-in with this fault."""
    import json

    def run(fault: str = "") -> dict[str, Evidence]:
        package, configs = tmp_path / "shipped/lss_swin", tmp_path / "shipped/configs"
        package.mkdir(parents=True)
        configs.mkdir()
        splat = {"backend": "torch", "why": "", "error_vs_reference": 0.0}
        summary = json.dumps({**GOOD, "device": {"type": "cpu", "name": "CPU"}, "splat": splat})
        (package / "__init__.py").write_text("")
        (package / "train.py").write_text(TRAINER.format(summary=summary, fault=fault))
        (configs / "lss_swin_tiny.py").write_text("")
        env = environment()
        rows = tuple(Distribution(name, "1.0") for name in ("torch", "numpy", "pillow"))
        env = replace(env, distributions=rows, python=plain_python(env))
        return {e.probe: e for e in prove_training(env, "cpu", workload=Workload(package, configs))}

    return run


def plain_python(env: Environment) -> Path:
    """The interpreter without the wrapper of the tests, which sets PYTHONPATH itself."""
    words = env.python.read_text("utf-8").split()
    return Path(next(word for word in words if word.endswith("/bin/python")))


def test_the_workload_runs_in_the_target_and_is_judged(trained: Callable[[str], dict[str, Evidence]]) -> None:
    found = trained()
    assert {name: e.status for name, e in found.items()} == dict.fromkeys(
        ("train:run", "train:device", "train:loss", "train:splat", "train:throughput"), Proof.PASSED
    )


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("sys.exit('GPU 0 cannot be used')", "the training run ended with exit code 1: GPU 0 cannot be used"),
        ("os._exit(0)", "the training run left no summary.json that can be read"),
        ("summary['schema'] = 'other/1'", "the training run left no summary.json that can be read"),
        ("import ctypes; ctypes.string_at(0)", "the training run ended with exit code -11: "),
    ],
)
def test_a_run_without_a_summary_fails(trained: Callable[[str], dict[str, Evidence]], fault: str, reason: str) -> None:
    found = trained(fault)
    states = {name: e.status for name, e in found.items()}
    assert states.pop("train:run") is Proof.FAILED
    assert set(states.values()) == {Proof.SKIPPED}
    assert Messages("en").because(found["train:run"]) == reason


def test_without_a_gpu_or_what_it_needs_nothing_is_trained() -> None:
    for env, device in ((world(on=()), "cuda"), (world(on="RTX 5090"), "cuda"), (world(), "cpu")):
        evidence = prove_training(env, device)
        assert {e.status for e in evidence} == {Proof.SKIPPED}
        assert all(e.reason for e in evidence)
