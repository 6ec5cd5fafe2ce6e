"""What is shared: everything a helper needs, and nothing that tells who or where, whatever the way it came in."""

from __future__ import annotations

import getpass
import io
import json
import socket
import zipfile
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from archfit import logs
from archfit.cli import run
from archfit.model import Known, Surroundings, Text
from archfit.report.messages import Messages
from archfit.report.share import clean, diagnosis_members, explanation_members, render_bundle
from archfit.schemas import load_schema
from worlds import diagnosis_of, torch, vision, world

SECRETS = {
    "user": "wanglei",
    "host": "gpu17.cluster.local",
    "token": "hf_abcdefghijklmnopqrstuvwxyz",
    "password": "s3cretpass",
    "key": "0123456789abcdef0123456789abcdef01234567",
    "address": "10.31.7.12",
    "mail": "lei.wang@example.com",
}
ROOT = Path(f"/home/{SECRETS['user']}/bev/.venv")
TRACE = (
    f"{SECRETS['user']}@gpu17:~/bev$ python train.py --hub {SECRETS['token']}\n"
    f'  File "{ROOT}/lib/python3.11/site-packages/torch/nn/modules/linear.py", line 117, in forward\n'
    f"wandb: api_key: {SECRETS['key']}\n"
    f"connecting to hostname={SECRETS['host']} ({SECRETS['address']}), mail {SECRETS['mail']}\n"
    "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"
)


def named_world() -> object:
    variables = {
        "LD_LIBRARY_PATH": f"/home/{SECRETS['user']}/cuda/lib64",
        "HF_TOKEN": SECRETS["token"],
        "PIP_INDEX_URL": f"https://{SECRETS['user']}:{SECRETS['password']}@{SECRETS['host']}/simple",
        "MASTER_ADDR": SECRETS["host"],
    }
    return world(
        torch(),
        vision(),
        root=ROOT,
        python=ROOT / "bin/python",
        surroundings=Known(Surroundings(variables), "here"),
        unreadable=((f"{ROOT}/lib/a.so", Text("plain", {"text": f"owner {SECRETS['user']}"})),),
    )


def leaks(members: dict[str, str]) -> set[str]:
    """The names of secrets that a bundle of these members holds."""
    raw = render_bundle(members)
    with zipfile.ZipFile(io.BytesIO(raw)) as bundle:
        text = "\n".join(bundle.namelist()) + "\n".join(bundle.read(name).decode() for name in bundle.namelist())
    return {name for name, secret in SECRETS.items() if secret in text}


def test_no_secret_of_a_diagnosis_gets_in() -> None:
    members = diagnosis_members(diagnosis_of(named_world()), Messages("zh"), TRACE)  # type: ignore[arg-type]
    assert set(members) == {"report.md", "report.json", "environment.txt", "failure.log"}
    assert leaks(members) == set()


def test_no_secret_of_a_log_gets_in(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text(TRACE)
    members = explanation_members(logs.explain_file(log), Messages("en"), log)
    assert set(members) == {"explanation.md", "explanation.json", "log-end.txt"}
    assert leaks(members) == set()
    assert "no kernel image is available" in members["log-end.txt"]


def test_the_secrets_would_be_there_without_redaction() -> None:
    assert {name for name, secret in SECRETS.items() if secret in TRACE} == SECRETS.keys() - {"password"}


def test_what_a_helper_needs_stays() -> None:
    members = diagnosis_members(diagnosis_of(named_world()), Messages("en"))  # type: ignore[arg-type]
    document = json.loads(members["report.json"])
    jsonschema.Draft202012Validator(load_schema("doctor")).validate(document)
    assert (document["status"], document["primary"], document["host"]) == ("problems", "arch-missing-torch", None)
    assert "torch==2.4.1" in members["environment.txt"].splitlines()
    assert "torch 2.4.1 has no code for this GPU" in members["report.md"]


def test_own_names_and_the_own_folder_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/srv/people/lw")
    monkeypatch.setattr(getpass, "getuser", lambda: "wanglei")
    monkeypatch.setattr(socket, "gethostname", lambda: "kaputt.example.net")
    assert clean("/srv/people/lw/bev on kaputt by wanglei, kaputt.example.net") == "~/bev on <host> by <user>, <host>"


def test_a_long_log_is_shared_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("".join(f"step {n}\n" for n in range(1000)) + TRACE)
    shared = explanation_members(logs.explain_file(log), Messages("en"), log)["log-end.txt"].splitlines()
    assert (len(shared), shared[0]) == (200, f"step {1000 - 200 + len(TRACE.splitlines())}")


def test_the_same_content_makes_the_same_file() -> None:
    assert render_bundle({"a": "1", "b": "2"}) == render_bundle({"a": "1", "b": "2"})


def test_the_command_says_what_is_inside_and_where(
    old_env: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["doctor", str(old_env), "--gpu", "sm_120", "--share"]) == 4
    (path,) = tmp_path.glob("archfit-*.zip")
    said = capsys.readouterr().err
    with zipfile.ZipFile(path) as bundle:
        assert bundle.namelist() == ["report.md", "report.json", "environment.txt"]
        assert [name for name in (path.name, *bundle.namelist()) if name not in said] == []


def test_an_explanation_can_be_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.log").write_text(TRACE)
    assert run(["explain", "train.log", "--share"]) == 4
    (path,) = tmp_path.glob("archfit-*.zip")
    with zipfile.ZipFile(path) as bundle:
        assert bundle.namelist() == ["explanation.md", "explanation.json", "log-end.txt"]


def test_surroundings_can_be_unknown() -> None:
    bare = replace(named_world(), surroundings=world().surroundings)  # type: ignore[type-var]
    assert "torch==2.4.1" in diagnosis_members(diagnosis_of(bare), Messages("en"))["environment.txt"]  # type: ignore[arg-type]
