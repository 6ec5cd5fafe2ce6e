"""Every document has a schema that is valid, whole in itself, true of what is written, and not so wide that all fits."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from test_goldens import AUDITS, CHANGES, GPUS, OLD_STORY, PASSED, SUBJECTS

from archfit.arch import ComputeCapability
from archfit.audit import Policy
from archfit.cli import run
from archfit.errors import UsageError
from archfit.report import json_v1
from archfit.report.audit_v1 import audit_document
from archfit.report.messages import Language, Messages
from archfit.report.scan_v1 import scan_document
from archfit.schemas import load_schema, schema_names
from worlds import DATA, diagnosis_of, plan_of

GOLDEN = Path(__file__).parent / "golden"
SRC = Path(__file__).parents[2] / "src" / "archfit"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def validator(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(load_schema(name))


def validate(document: Any) -> None:
    validator(document["schema"]).validate(document)


@pytest.mark.parametrize("name", schema_names())
def test_every_schema_is_a_schema(name: str) -> None:
    schema = load_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert (schema["$schema"], schema["title"]) == (DRAFT, name)
    assert schema["properties"]["schema"] == {"const": name}


@pytest.mark.parametrize("name", schema_names())
def test_every_reference_leads_somewhere_in_the_same_file(name: str) -> None:
    schema = load_schema(name)
    used = set(re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(schema)))
    assert used == schema["$defs"].keys()


def test_every_document_of_the_source_has_a_schema() -> None:
    named = {
        name for path in SRC.rglob("*.py") for name in re.findall(r'"(archfit\.[a-z]+/\d+)"', path.read_text("utf-8"))
    }
    assert named - set(schema_names()) == set()


def test_short_and_long_names_mean_the_same() -> None:
    assert load_schema("doctor") == load_schema("doctor/1") == load_schema("archfit.doctor/1")


@pytest.mark.parametrize("name", ["nothing", "common", "doctor/2", "../pyproject", "archfit.doctor"])
def test_other_names_are_refused_or_known(name: str) -> None:
    if name == "archfit.doctor":
        assert load_schema(name)["title"] == "archfit.doctor/1"
    else:
        with pytest.raises(UsageError, match="schema-unknown"):
            load_schema(name)


# --- true of what is written -----------------------------------------------------------------------------------------


def made(language: Language) -> Iterator[Any]:
    """A document of each kind, from fixed records."""
    messages = Messages(language)
    before, option = diagnosis_of(OLD_STORY), plan_of(OLD_STORY).options[0]
    yield from (json.loads(path.read_text("utf-8")) for path in sorted(GOLDEN.glob(f"*.{language}.json")))
    yield json_v1.upgrade_document("done", before, option, CHANGES, PASSED, Path("/env/record.md"), messages)
    yield json_v1.upgrade_document("dry-run", before, option, CHANGES, None, None, messages)
    yield json_v1.nothing_document(OLD_STORY)
    yield scan_document(tuple(SUBJECTS.values()), GPUS, [("a.so", "cut")], messages, verbose=True)
    yield audit_document(AUDITS, Policy((ComputeCapability(12, 0),)), [("a.so", "cut")], messages)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_documents_of_fixed_records_are_valid(language: Language) -> None:
    kinds = set()
    for document in made(language):
        validate(document)
        kinds.add(document["schema"])
    assert kinds >= {
        f"archfit.{kind}/1" for kind in ("doctor", "plan", "verify", "upgrade", "history", "scan", "audit")
    }


LOG = "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"


@pytest.mark.parametrize(
    "words",
    [
        "doctor {env} --gpu sm_120 --driver 580.65.06",
        "plan {env} --gpu sm_120 --driver 580.65.06 --offline",
        "verify {env} --gpu sm_120 --level static",
        "history {env}",
        "scan {data}/libpartial.so {data}/libzstd.so {data}/scale_90.cubin -v",
        "scan {data}/libpartial.so {data}/nothing-here.so",
        "audit {data}/libpartial.so --require 12.0",
        "matrix torch --gpu sm_120 --gpu sm_70 --all",
        "explain {log}",
        "explain {log} {env}",
    ],
)
def test_what_commands_print_is_valid(
    words: str, old_env: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "train.log"
    log.write_text(LOG)
    run([*words.format(env=old_env, data=DATA, log=log).split(), "--json"])
    document = json.loads(capsys.readouterr().out)
    validate(document)
    assert document["schema"] == f"archfit.{words.split()[0]}/1"


# --- not so wide that all fits ---------------------------------------------------------------------------------------


def without(document: Any) -> Iterator[tuple[str, Any]]:
    """The document without each of its keys in turn, as deep as they go; of a list its first entry."""
    for path in list(paths(document)):
        changed = copy.deepcopy(document)
        node = changed
        for part in path[:-1]:
            node = node[part]
        del node[path[-1]]
        yield ".".join(map(str, path)), changed


def paths(node: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*before, key)
            yield from paths(value, (*before, key))
    elif isinstance(node, list) and node:
        yield from paths(node[0], (*before, 0))


# What design.md, section 4, lets others rely on.
RELIED_ON = {
    "doctor-old-story.en.json": "target gpus driver status primary findings outcomes gpus.0.name "
    "gpus.0.compute_capability gpus.0.source driver.release driver.cuda driver.source findings.0.id findings.0.severity "
    "findings.0.subject findings.0.values findings.0.evidence findings.0.fix outcomes.0.check outcomes.0.state "
    "outcomes.0.reason",
    "plan-old-story.en.json": "options unsolved rejected options.0.kind options.0.summary options.0.steps options.0.torch "
    "options.0.requires options.0.risks options.0.commands options.0.steps.0.action options.0.steps.0.package "
    "options.0.steps.0.from options.0.steps.0.to options.0.steps.0.index options.0.steps.0.unsafe options.0.steps.0.why "
    "options.0.torch.version options.0.torch.cuda options.0.torch.index options.0.requires.driver "
    "options.0.requires.python options.0.requires.disk_bytes options.0.requires.download_bytes options.0.commands.pip "
    "options.0.commands.uv rejected.0.option rejected.0.why",
    "verify-failed.en.json": "level status evidence evidence.0.probe evidence.0.status evidence.0.measured "
    "evidence.0.expected evidence.0.tolerance evidence.0.device evidence.0.seconds evidence.0.reason",
    "history.en.json": "target states events states.0.id states.0.live",
}


@pytest.mark.parametrize("name", RELIED_ON)
def test_a_key_that_others_rely_on_is_required(name: str) -> None:
    document = json.loads((GOLDEN / name).read_text("utf-8"))
    check = validator(document["schema"])
    missed = {path for path, changed in without(document) if not check.is_valid(changed)}
    assert set(RELIED_ON[name].split()) - missed == set()


@pytest.mark.parametrize("name", RELIED_ON)
def test_more_keys_are_allowed(name: str) -> None:
    document = json.loads((GOLDEN / name).read_text("utf-8"))
    validate({**document, "more": 1})


def test_a_wrong_type_is_refused() -> None:
    document = json.loads((GOLDEN / "doctor-old-story.en.json").read_text("utf-8"))
    assert not validator("doctor").is_valid({**document, "status": "fine"})
    assert not validator("doctor").is_valid({**document, "findings": {}})


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_lists_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    assert tuple(capsys.readouterr().out.split()) == schema_names()
    assert run(["schema", "doctor"]) == 0
    assert json.loads(capsys.readouterr().out) == load_schema("doctor")


def test_the_command_names_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "doktor"]) == 2
    assert "archfit.doctor/1" in capsys.readouterr().err
