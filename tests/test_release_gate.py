"""The pre-commit hook and the GitHub Action that stand at the root of the repository do what they say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from archfit.audit import read_policy
from archfit.cli import app
from archfit.report.messages import Messages
from archfit.report.sarif import sarif_document
from worlds import DATA

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
INSTALL, AUDIT = ACTION["runs"]["steps"]


def test_the_hook_runs_a_command_that_there_is() -> None:
    program, command = HOOK["entry"].split()
    assert (program, command in app, HOOK["language"]) == ("archfit", True, "python")


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("dist/a-1.0-py3-none-any.whl", True),
        ("lib/libx.so", True),
        ("lib/libx.so.12", True),
        ("x.pyd", True),
        ("x.py", False),
    ],
)
def test_files_of_the_hook(name: str, matches: bool) -> None:
    assert bool(re.search(HOOK["files"], name)) is matches


def test_inputs_of_the_action() -> None:
    assert list(ACTION["inputs"]) == ["files", "require", "allow-jit", "max-size", "sarif"]
    used = set(re.findall(r"\$\{\{ inputs\.([\w-]+) \}\}", json.dumps(AUDIT["env"])))
    assert used == set(ACTION["inputs"])


def test_no_input_is_pasted_into_a_script() -> None:
    """An input such as ``$(rm -rf .)`` would be run."""
    assert [step["name"] for step in (INSTALL, AUDIT) if "${{" in step["run"]] == []


Step = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def audit_step(tmp_path: Path) -> Step:
    """Run the step as it stands, by bash with the options of GitHub's runners, with an archfit where it was installed."""
    program = tmp_path / "temp" / "archfit" / "bin" / "archfit"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m archfit "$@"\n')
    program.chmod(0o755)
    (tmp_path / "dist dir").mkdir()
    for name in ("libserver.so", "libpartial.so"):
        shutil.copyfile(DATA / name, tmp_path / name)

    def run(**inputs: str) -> subprocess.CompletedProcess[str]:
        given: dict[str, Any] = {name: row["default"] for name, row in ACTION["inputs"].items()}
        given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        environ = {name: given[re.sub(r".*inputs\.([\w-]+).*", r"\1", text)] for name, text in AUDIT["env"].items()}
        environ |= {"RUNNER_TEMP": str(tmp_path / "temp"), "GITHUB_OUTPUT": str(tmp_path / "output")}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", AUDIT["run"]]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def test_the_step_passes_and_writes_sarif(audit_step: Step, tmp_path: Path) -> None:
    done = audit_step(files="libserver.so", require="8.0,12.0")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 audited, every required GPU is served")
    assert (tmp_path / "output").read_text() == "sarif=archfit.sarif\n"
    assert json.loads((tmp_path / "archfit.sarif").read_text("utf-8"))["runs"][0]["results"] == []


def test_the_step_fails_and_writes_sarif_all_the_same(audit_step: Step, tmp_path: Path) -> None:
    assert audit_step(files="lib*.so\nlibserver.so", require="12.0", sarif="my audit.sarif").returncode == 4
    results = json.loads((tmp_path / "my audit.sarif").read_text("utf-8"))["runs"][0]["results"]
    assert [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in results] == ["libpartial.so"]


def test_the_step_passes_everything_on(audit_step: Step) -> None:
    assert audit_step(files="libserver.so", require="12.1", allow_jit="true", max_size="1GB").returncode == 0
    assert audit_step(files="libserver.so", require="12.1", max_size="1kB").returncode == 4


def test_the_step_takes_the_policy_of_the_repository(audit_step: Step, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.archfit.audit]\nrequire = ["7.5"]\n')
    assert audit_step(files="libserver.so").returncode == 4


def test_nothing_in_an_input_is_run(audit_step: Step, tmp_path: Path) -> None:
    audit_step(
        files="$(touch hacked)", require="`touch hacked`", max_size='"; touch hacked; "', sarif="$(touch hacked).sarif"
    )
    assert not (tmp_path / "hacked").exists()


def test_no_file_at_all_is_an_error(audit_step: Step) -> None:
    assert audit_step(files="none/*.whl", require="12.0").returncode == 2


# --- what the documentation says of them -----------------------------------------------------------------------------

PAGES = {name: (ROOT / "docs" / name).read_text("utf-8") for name in ("auditing.md", "auditing.zh.md")}


@pytest.mark.parametrize("page", PAGES)
def test_the_page_knows_every_input_rule_and_level(page: str) -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|.*?(?:\| (error|warning) )?\|$", PAGES[page], re.MULTILINE)
    told = sarif_document((), (), Messages("en"))["runs"][0]["tool"]["driver"]["rules"]
    levels = {rule["id"]: rule["defaultConfiguration"]["level"] for rule in told}
    assert rows == [*levels.items(), *((name, "") for name in ACTION["inputs"])]


@pytest.mark.parametrize("page", PAGES)
def test_the_policy_on_the_page_is_one(page: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(re.findall(r"```toml\n(.*?)```", PAGES[page], re.DOTALL)[0], "utf-8")
    policy = read_policy(tmp_path / "pyproject.toml")
    assert ([str(c) for c in policy.require], policy.max_bytes) == (["7.5", "8.0", "8.6", "9.0", "12.0"], 900_000_000)
    assert [e.library for e in policy.exemptions] == ["*_hopper*.so"]


@pytest.mark.parametrize("page", PAGES)
def test_workflows_on_the_page_are_yaml_with_inputs_that_there_are(page: str) -> None:
    hook, workflow = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGES[page], re.DOTALL))
    assert hook["repos"][0]["hooks"] == [{"id": HOOK["id"]}]
    given = next(step["with"] for step in workflow["steps"] if step.get("uses", "").startswith("you/archfit"))
    assert set(given) <= set(ACTION["inputs"])
