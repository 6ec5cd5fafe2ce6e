"""A real Ray cluster of several nodes on this machine: one is killed while it is asked, one hangs, each is another GPU."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archfit.cli import run
from archfit.errors import ExitCode
from archfit.fleet import check
from worlds import TORCH_2_4_1, build_environment

ray = pytest.importorskip("ray", reason="pip install 'archfit[ray]'")
pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore")]

NODES = {
    "v100": ("V100", "535.104.05"),
    "h100": ("H100", "550.54.15"),
    "dies": ("RTX-5090", "580.65.06"),
    "hangs": ("RTX-4090", "570.86.16"),
}
LIMIT_SECONDS = 30.0
PATIENCE_SECONDS = 120.0

# The target's Python: where a folder to wait in is named and armed, it says that it was asked, and never answers.
PYTHON = """#!/bin/bash
if [ -e "$ARCHFIT_TEST_WAIT/armed" ]; then
  echo "$PPID" > "$ARCHFIT_TEST_WAIT/$ARCHFIT_HOST.new"
  mv "$ARCHFIT_TEST_WAIT/$ARCHFIT_HOST.new" "$ARCHFIT_TEST_WAIT/$ARCHFIT_HOST"
  exec sleep 600
fi
exec -a "$0" "{python}" "$@"
"""


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = build_environment(tmp_path_factory.mktemp("fleet") / "env", TORCH_2_4_1)
    python = root / "bin" / "python"
    real = python.resolve()
    python.unlink()
    python.write_text(PYTHON.format(python=real))
    python.chmod(0o755)
    return root


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def cluster(marks: Path) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "node_name": "login"}
    )
    made.own = {}
    try:
        for name, (gpu, driver) in NODES.items():
            labels = {"archfit-gpu": gpu, "archfit-driver": driver}
            variables = {"ARCHFIT_TEST_WAIT": str(marks)} if name in ("dies", "hangs") else {}
            gpus = 1 if name == "h100" else 0
            made.own[name] = made.add_node(num_cpus=1, num_gpus=gpus, node_name=name, labels=labels, env_vars=variables)
        made.wait_for_nodes()
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


def wait_for(path: Path) -> int:
    """The number of the process that wrote this file, as soon as it is there."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.05)
    return int(path.read_text())


def left_behind() -> set[str]:
    return {str(path) for path in Path("/tmp").glob("archfit-fleet-*")}


def still_running(marks: Path) -> list[str]:
    """Processes that still run on behalf of a node that was made to wait: host and command."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            variables = (place / "environ").read_bytes().split(b"\0")
            hosts = [v for v in variables if v.startswith(b"ARCHFIT_HOST=")]
            if hosts and f"ARCHFIT_TEST_WAIT={marks}".encode() in variables:
                state = (place / "stat").read_text().rpartition(")")[2].split()[0:2]
                found.append(f"{hosts[0].decode()} {place.name} {state} {(place / 'cmdline').read_bytes()[:200]!r}")
        except OSError:
            continue
    return found


def test_kernels_run_only_where_nobody_computes(cluster: Any, target: Path) -> None:
    """Ray holds the GPU of one node for somebody else; of the others nobody can say whether they are in use."""
    ray.init(address=cluster.address, namespace="test", log_to_driver=False)

    @ray.remote(num_gpus=1)
    class Job:
        def ready(self) -> bool:
            return True

    job = Job.remote()
    assert ray.get(job.ready.remote(), timeout=PATIENCE_SECONDS)
    try:
        nodes = {n.name: n for n in check(cluster.address, target=str(target), level="kernels", timeout_s=90)}
    finally:
        ray.kill(job)
        ray.shutdown()
    assert {n.state for n in nodes.values()} == {"reported"}
    why = {name: node.proof.why.key for name, node in nodes.items() if node.proof and node.proof.why}
    assert why == dict.fromkeys(nodes, "fleet-busy") | {"h100": "fleet-busy-ray"}


def test_the_picture_is_whole_though_one_node_dies_and_one_hangs(
    cluster: Any, target: Path, marks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = left_behind()
    (marks / "armed").touch()

    def spoil() -> None:
        os.kill(wait_for(marks / "hangs"), signal.SIGSTOP)
        wait_for(marks / "dies")
        cluster.remove_node(cluster.own["dies"], allow_graceful=False)

    spoiler = threading.Thread(target=spoil, daemon=True)
    spoiler.start()
    began = time.monotonic()
    words = ["fleet", "check", "--ray", cluster.address, "--target", str(target), "--timeout", str(LIMIT_SECONDS)]
    code = run([*words, "--json", "-o", str(tmp_path / "fleet.json")])
    assert time.monotonic() - began < LIMIT_SECONDS + 60
    spoiler.join(1)
    out = capsys.readouterr()
    document = json.loads(out.out)
    rows = {node["name"]: node for node in document["nodes"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "login": "reported",
        "v100": "reported",
        "h100": "reported",
        "dies": "dead",
        "hangs": "silent",
    }
    assert code == ExitCode.PROBLEMS or code == ExitCode.UNDECIDED
    told = rows["v100"]["report"]
    assert [g["name"] for g in told["gpus"]] == ["V100"]
    assert told["driver"]["release"] == "535.104.05"
    assert (told["torch"], told["target"]) == ({"version": "2.4.1", "cuda": "12.1"}, str(target))
    assert rows["h100"]["report"]["status"] == "ok"
    assert rows["dies"]["why"] == "it left the cluster, or was ended while it was asked"
    assert rows["hangs"]["why"] == f"it did not answer within {LIMIT_SECONDS:g} s"
    (choice,) = [c for c in document["plan"]["choices"] if c["kind"] == "smallest"]
    assert [(b["torch"], b["cuda"], b["nodes"]) for b in choice["builds"]] == [("2.4.1", "12.1", ["h100", "v100"])]
    assert "hangs: no answer" in out.err
    end = time.monotonic() + 30
    while (left_behind() - before or still_running(marks)) and time.monotonic() < end:
        time.sleep(0.2)
    assert (left_behind() - before, still_running(marks)) == (set(), [])


def test_a_cluster_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fleet", "check", "--ray", "127.0.0.1:1"]) == ExitCode.UNDECIDED
    assert capsys.readouterr().err.startswith("error: the Ray cluster at 127.0.0.1:1 cannot be reached: ")
