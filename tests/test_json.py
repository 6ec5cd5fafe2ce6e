"""The documents that others rely on: the keys of design.md, section 4, with their types; ids in no language."""

from __future__ import annotations

import json
from typing import Any

import pytest

from archfit.arch import ComputeCapability
from archfit.model import (
    Environment,
    Evidence,
    GpuState,
    Host,
    Known,
    LockedPackage,
    Place,
    Proof,
    Storage,
    Surroundings,
    Text,
    Unknown,
    Verification,
)
from archfit.report import json_v1
from archfit.report.messages import Language, Messages
from worlds import NEW, audio, diagnosis_of, driver, extension, gpus, plan_of, torch, vision, world

# A shape is a type, a tuple of types or values that are allowed, a list of one shape, or a dict of shapes.
OPTIONAL = (str, None)
ENVIRONMENT = {
    "target": str,
    "target_chosen": ("named", "VIRTUAL_ENV", "CONDA_PREFIX", "PATH"),
    "python": {"executable": str, "version": OPTIONAL, "tag": OPTIONAL, "platform": OPTIONAL},
    "torch": {"version": OPTIONAL, "cuda": OPTIONAL},
    "gpus": [{"name": str, "compute_capability": str, "source": str}],
    "driver": {"release": OPTIONAL, "cuda": OPTIONAL, "source": OPTIONAL},
    "pretended": [str],
}
FINDING = {
    "id": str,
    "severity": ("error", "warning", "info"),
    "subject": str,
    "title": str,
    "detail": str,
    "values": dict,
    "evidence": [{"source": str, "text": str}],
    "fix": OPTIONAL,
}
OUTCOME = {
    "check": str,
    "state": ("passed", "found", "undecided", "crashed", "not-applicable"),
    "reason": str,
    "findings": [str],
}
STORAGE = {"filesystem": str, "source": str, "device": int, "inode": int, "remote": bool}
WHERE = {
    "host": ({"name": str, "boot": OPTIONAL, "observed": str}, None),
    "environment": {
        "prefix": str,
        "virtual": (bool, None),
        "libc": OPTIONAL,
        "packages": dict,
        "places": [
            {
                "kind": ("environment", "torch-extension", "triton", "compute"),
                "path": str,
                "storage": (STORAGE, None),
                "fingerprint": OPTIONAL,
                "targets": [str],
                "count": int,
            }
        ],
        "gpu_states": [
            {"name": str, "free_bytes": int, "total_bytes": int, "busy_percent": int, "processes": int},
        ],
    },
}
DOCTOR = {
    "schema": ("archfit.doctor/1",),
    **ENVIRONMENT,
    **WHERE,
    "status": ("ok", "problems", "undecided"),
    "primary": OPTIONAL,
    "findings": [FINDING],
    "outcomes": [OUTCOME],
}
STEP = {
    "action": ("install", "rebuild", "replace", "leave", "driver", "build", "run"),
    "package": str,
    "from": OPTIONAL,
    "to": OPTIONAL,
    "index": OPTIONAL,
    "unsafe": bool,
    "why": [str],
}
OPTION = {
    "kind": ("upgrade", "nightly", "rebuild", "source-build", "driver", "cpu", "none"),
    "summary": str,
    "steps": [STEP],
    "torch": ({"version": str, "cuda": OPTIONAL, "index": str}, None),
    "requires": {"driver": OPTIONAL, "python": OPTIONAL, "disk_bytes": (int, None), "download_bytes": (int, None)},
    "risks": [str],
    "commands": {"pip": [str], "uv": [str]},
}
PLAN = {
    "schema": ("archfit.plan/1",),
    **ENVIRONMENT,
    "options": [OPTION],
    "unsolved": [str],
    "rejected": [{"option": str, "why": str}],
}
EVIDENCE = {
    "probe": str,
    "status": ("passed", "failed", "skipped"),
    "measured": OPTIONAL,
    "expected": OPTIONAL,
    "tolerance": OPTIONAL,
    "device": OPTIONAL,
    "seconds": float,
    "reason": OPTIONAL,
}
VERIFY = {
    "schema": ("archfit.verify/1",),
    **ENVIRONMENT,
    **WHERE,
    "level": ("static", "import", "kernels", "train"),
    "status": ("passed", "failed", "undecided"),
    "evidence": [EVIDENCE],
}
UPGRADE = {
    "schema": ("archfit.upgrade/1",),
    **ENVIRONMENT,
    "status": ("dry-run", "done"),
    "option": OPTION,
    "changes": [{"package": str, "from": OPTIONAL, "to": str, "wheel_bytes": (int, None), "sha256": OPTIONAL}],
    "evidence": [EVIDENCE],
    "record": OPTIONAL,
}


def misfits(shape: Any, value: Any, path: str = "$") -> list[str]:
    """Where a value does not have the shape; keys beyond the shape are allowed."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{path}: {type(value).__name__} is no object"]
        missing = [f"{path}.{key}: missing" for key in shape if key not in value]
        return missing + [m for key in shape if key in value for m in misfits(shape[key], value[key], f"{path}.{key}")]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{path}: {type(value).__name__} is no list"]
        return [m for i, item in enumerate(value) for m in misfits(shape[0], item, f"{path}[{i}]")]
    if isinstance(shape, tuple):
        return [] if any(not misfits(one, value, path) for one in shape) else [f"{path}: {value!r}"]
    if isinstance(shape, type):
        return [] if type(value) is shape or (shape is float and type(value) is int) else [f"{path}: {value!r}"]
    return [] if value == shape else [f"{path}: {value!r}"]


WORLDS: dict[str, Environment] = {
    "old": world(torch(), vision(), audio(), extension(), release="570.86.16"),
    "driver first": world(release="550.54.14"),
    "seen": world(gpus=gpus("H200", seen=True), driver=driver("580.65.06", open_module=True, pretended=False)),
    "rebuild": world(torch("2.9.0", NEW), extension(), cuda="12.8"),
    "mixed": world(on=("GTX 1080 Ti", "RTX 5090"), release="580.65.06"),
    "cpu": world(torch("2.8.0+cpu", None), release="580.65.06", cuda=None),
    "placed": world(
        surroundings=Known(
            Surroundings(
                {},
                (GpuState("H200", 1, 2, 3, False, False, ("python (7)",)),),
                host=Host("node1", "", "2026-11-25T11:00:00Z"),
                places=(
                    Place("environment", "/env", Storage("nfs4", "server:/export", 52, 7, True), "ab"),
                    Place("triton", "/home/you/.triton/cache", None, "", (ComputeCapability(9, 0),), 3),
                ),
            ),
            "this machine",
        )
    ),
    "unreadable": world(unreadable=(("a.so", Text("plain", {"text": "Permission denied"})),)),
}
BLIND: dict[str, Environment] = {
    "no gpu": world(on=()),
    "no python": world(interpreter=Unknown("exit code 1")),
}
PROOF = Verification(
    "static",
    (
        Evidence("static:torch", Proof.PASSED, reason=Text("torch", {"version": "2.4.1", "cuda": "12.1"})),
        Evidence(
            "import:torch", Proof.FAILED, expected="torch", seconds=1.5, reason=Text("import-failed", {"cause": "no"})
        ),
        Evidence("static:gpu", Proof.SKIPPED),
    ),
)
LANGUAGES: tuple[Language, ...] = ("en", "zh")


def documents(env: Environment, language: Language) -> dict[str, Any]:
    messages, diagnosis = Messages(language), diagnosis_of(env)
    made = {
        "doctor": json_v1.doctor_document(diagnosis, messages),
        "verify": json_v1.verify_document(PROOF, env, "failed", messages),
    }
    if env in WORLDS.values():
        found = plan_of(env)
        changes = (LockedPackage("torch", "2.4.1", "2.8.0", 888, "ab"), LockedPackage("new", None, "1", None, None))
        made["plan"] = json_v1.plan_document(found, messages)
        made["upgrade"] = json_v1.upgrade_document(
            "done", diagnosis, found.options[0], changes, PROOF, env.root, messages
        )
        made["dry-run"] = json_v1.upgrade_document("dry-run", diagnosis, found.options[0], (), None, None, messages)
    return {name: json.loads(json_v1.dump(document)) for name, document in made.items()}


SHAPES = {"doctor": DOCTOR, "plan": PLAN, "verify": VERIFY, "upgrade": UPGRADE, "dry-run": UPGRADE}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", [*WORLDS, *BLIND])
def test_every_document_has_its_shape(name: str, language: Language) -> None:
    made = documents((WORLDS | BLIND)[name], language)
    assert {which: found for which, document in made.items() if (found := misfits(SHAPES[which], document))} == {}


SENTENCES = frozenset(
    {"title", "detail", "reason", "summary", "why", "risks", "notices", "unsolved", "text", "cause", "unknown"}
)


def wordless(value: Any) -> Any:
    """The document without its sentences."""
    if isinstance(value, dict):
        return {key: wordless(v) for key, v in value.items() if key not in SENTENCES}
    return [wordless(v) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", [*WORLDS, *BLIND])
def test_only_sentences_differ_between_languages(name: str) -> None:
    en, zh = (documents((WORLDS | BLIND)[name], language) for language in LANGUAGES)
    assert wordless(en) == wordless(zh)
    assert en != zh


def test_the_evidence_of_a_document_is_that_of_the_diagnosis() -> None:
    document = documents(WORLDS["old"], "en")["doctor"]
    assert document["primary"] == document["findings"][0]["id"] == "arch-missing-torch"
    assert [o["check"] for o in document["outcomes"] if o["findings"]] == ["torch-arch", "extensions"]
    assert document["pretended"] == ['--gpu "RTX 5090"', "--driver 570.86.16"]
    assert document["driver"] == {
        "release": "570.86.16",
        "cuda": "12.8",
        "source": "--driver 570.86.16",
        "open_kernel_module": None,
    }


def test_where_an_environment_lies_is_told() -> None:
    document = documents(WORLDS["placed"], "en")["doctor"]
    assert document["host"] == {"name": "node1", "boot": None, "observed": "2026-11-25T11:00:00Z"}
    assert document["environment"]["packages"] == {"torch": "2.4.1", "torchvision": "0.19.1"}
    assert [place["targets"] for place in document["environment"]["places"]] == [[], ["sm_90"]]
    assert document["environment"]["gpu_states"][0]["processes"] == 1


def test_what_is_not_known_says_why() -> None:
    document = documents(BLIND["no gpu"], "en")["doctor"]
    assert document["driver"]["unknown"] == "NVML: NVML Shared Library Not Found"
    assert (document["status"], document["primary"], document["gpus"]) == ("undecided", None, [])


def test_why_no_gpu_is_known_is_told_in_the_document_too() -> None:
    """An empty list of GPUs alone could mean a machine without any."""
    gpu = next(o for o in documents(BLIND["no gpu"], "en")["doctor"]["outcomes"] if o["check"] == "gpu")
    assert (gpu["state"], gpu["reason"]) == ("undecided", "no GPU could be seen: NVML: NVML Shared Library Not Found")


def test_a_document_is_readable_utf_8() -> None:
    text = json_v1.dump({"schema": "x", "reason": "没有"})
    assert text == '{\n "schema": "x",\n "reason": "没有"\n}\n'
