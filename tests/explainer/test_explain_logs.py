"""Whole logs and what they mean; the same, composed to be hard."""

from __future__ import annotations

import io
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest
from compose import compose, encoded

from archfit import explain
from archfit.catalog.signatures import load_signatures
from archfit.explainer.explain import distribution_of
from archfit.logs import explain_stream
from archfit.model import Explanation

HERE = Path(__file__).parent
LOGS: list[Any] = [
    pytest.param(log, id=f"{name}-{number}-{log['expect']}")
    for name in ("logs", "chains", "heldout", "heldout2")
    for number, log in enumerate(tomllib.loads((HERE / f"{name}.toml").read_text("utf-8"))["log"])
]
SEEDS = 3


def ids(explanation: Explanation) -> list[str]:
    return [cause.id for cause in explanation.causes]


@pytest.mark.parametrize("log", LOGS)
def test_the_first_cause_is_right(log: dict[str, str]) -> None:
    assert ids(explain(log["text"]))[0] == log["expect"]


BLIND: list[Any] = [
    pytest.param(log, id=f"heldout3-{number}-{log['expect']}")
    for number, log in enumerate(tomllib.loads((HERE / "heldout3.toml").read_text("utf-8"))["log"])
]


@pytest.mark.parametrize("log", BLIND)
def test_the_first_cause_of_a_strangers_log_is_right(log: dict[str, Any]) -> None:
    assert ids(explain(log["text"]))[0] in (log["expect"], *log.get("also", ()))


@pytest.mark.parametrize("log", [p for p in LOGS if "second" in p.values[0]])
def test_the_second_cause_is_right(log: dict[str, str]) -> None:
    assert ids(explain(log["text"]))[:2] == [log["expect"], log["second"]]


@pytest.mark.parametrize("log", [p for p in LOGS if "culprit" in p.values[0]])
def test_the_culprit_is_named(log: dict[str, str]) -> None:
    culprit = explain(log["text"]).first.culprit
    assert (culprit.package, culprit.library or log.get("library", "")) == (log["culprit"], culprit.library)


@pytest.mark.parametrize("log", LOGS)
def test_evidence_quotes_lines_of_the_log(log: dict[str, str]) -> None:
    lines = log["text"].split("\n")
    for cause in explain(log["text"]).causes:
        for quote in cause.evidence:
            assert quote.text.split("'")[0].strip()[:20] in lines[quote.line - 1].replace("`", "'")


@pytest.mark.parametrize("log", LOGS)
def test_hard_logs_mean_the_same(log: dict[str, str]) -> None:
    """Of the variants of one log none may be read as another class; see compose.py for what is done to them."""
    wrong = []
    for seed in range(SEEDS):
        text, how = compose(log["text"], random.Random(seed))
        data, encoding = encoded(text, random.Random(seed))
        found = ids(explain_stream(io.BytesIO(data)))[0]
        if found != log["expect"]:
            wrong.append((found, how, encoding))
    assert len(wrong) <= 1, wrong


def test_hard_logs_as_a_whole() -> None:
    """At least 99 in 100 of all variants."""
    wrong = total = 0
    for parameter in LOGS:
        log = parameter.values[0]
        for seed in range(SEEDS):
            text, _ = compose(log["text"], random.Random(seed))
            data, _ = encoded(text, random.Random(seed))
            wrong += ids(explain_stream(io.BytesIO(data)))[0] != log["expect"]
            total += 1
    assert wrong <= total / 100


ARCHITECTURE = {"arch-missing-torch", "arch-dropped-torch", "arch-missing-extension", "arch-missing-framework"}
NEGATIVE = {
    "oom",
    "device-assert",
    "illegal-memory-access",
    "nccl-hang",
    "shape-mismatch",
    "other",
    "python-import",
    "missing-file",
}


@pytest.mark.parametrize("log", [p for p in LOGS if p.values[0]["expect"] in NEGATIVE])
def test_no_negative_is_called_an_architecture_problem(log: dict[str, str]) -> None:
    assert explain(log["text"]).first.id not in ARCHITECTURE


@pytest.mark.parametrize(
    "log", [p for p in LOGS if p.values[0]["expect"] in NEGATIVE - {"python-import", "missing-file"}]
)
def test_what_is_no_environment_problem_is_said_to_be_none(log: dict[str, str]) -> None:
    assert explain(log["text"]).first.environment is False


def test_a_package_that_has_no_wheels_is_built_again_by_its_own_rules() -> None:
    """`pip install --upgrade mmcv` changes nothing, and without torch in sight it builds a wheel without kernels."""
    log = """torch 2.8.0+cu128, GPU 0: NVIDIA GeForce RTX 5090
  File "/opt/env/lib/python3.11/site-packages/mmcv/ops/deform_conv.py", line 92, in forward
    ext_module.deform_conv_forward(
RuntimeError: CUDA error: no kernel image is available for execution on the device
"""
    assert explain(log).first.commands == (
        "pip install 'setuptools<82'",
        "MMCV_WITH_OPS=1 FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST=12.0 pip install --no-build-isolation --no-cache-dir "
        "--force-reinstall --no-deps mmcv",
    )
    assert explain(log.replace(", GPU 0: NVIDIA GeForce RTX 5090", "")).first.commands == ("archfit doctor",)


def test_every_package_that_is_rebuilt_is_known_to_hold_code_of_its_own() -> None:
    known = {distribution_of(name) for name in load_signatures().packages}
    assert set(load_signatures().rebuild) - known == set()
