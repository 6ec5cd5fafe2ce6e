"""What travels to a node: archfit in one zip, and the script that runs it there and leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from archfit.cli import run
from archfit.errors import ExitCode
from archfit.fleet.carry import node_script, pack, write_program
from worlds import TORCH_2_4_1, build_environment


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_environment(tmp_path_factory.mktemp("carry") / "env", TORCH_2_4_1)


def request(target: Path, **changes: Any) -> bytes:
    words = {
        "target": str(target),
        "host": "node-7",
        "pretend": ["--gpu", "RTX 5090"],
        "level": None,
        "busy_gpus": False,
        "limit_s": 60,
        "drop": ["CUDA_VISIBLE_DEVICES"],
        "environ": {},
    }
    return json.dumps(words | changes).encode() + b"\n"


def on_node(asked: bytes, tmp_path: Path, script: str = "", **environ: str) -> Any:
    """What a bare Python answers: no packages of its own, its own folder for temporary files."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script or node_script()],
        input=asked + pack(),
        capture_output=True,
        check=False,
        env={"PATH": os.defpath, "TMPDIR": str(tmp_path), "HOME": str(tmp_path), **environ},
    )
    assert done.returncode == 0, done.stderr.decode()
    assert list(tmp_path.glob("archfit-*")) == []
    return json.loads(done.stdout)


def test_what_travels_is_pure_python_and_small() -> None:
    names = zipfile.ZipFile(io.BytesIO(pack())).namelist()
    assert {"archfit/__main__.py", "archfit/catalog/builds.json", "cyclopts/__init__.py", "pynvml.py"} <= set(names)
    assert [name for name in names if name.endswith((".so", ".pyd", ".pyc"))] == []
    assert len(pack()) < 4_000_000


def test_a_node_with_nothing_but_python_runs_the_doctor(target: Path, tmp_path: Path) -> None:
    """Neither compiled packages nor any others are needed: what doctor imports must not need them."""
    answer = on_node(request(target), tmp_path, CUDA_VISIBLE_DEVICES="")
    assert (answer["state"], answer["doctor"]["code"], answer["doctor"]["err"]) == ("done", 4, "")
    report = json.loads(answer["doctor"]["out"])
    assert (report["host"]["name"], report["primary"], report["target"]) == (
        "node-7",
        "arch-missing-torch",
        str(target),
    )


def test_a_node_verifies_too(target: Path, tmp_path: Path) -> None:
    answer = on_node(request(target, level="static"), tmp_path)
    assert json.loads(answer["verify"]["out"])["schema"] == "archfit.verify/1"


def test_kernels_wait_for_a_gpu_that_is_known_to_be_free(target: Path, tmp_path: Path) -> None:
    answer = on_node(request(target, level="kernels"), tmp_path)
    assert answer["verify"] == {"code": None, "out": "", "err": "busy"}


def test_a_python_that_is_too_old_says_so(target: Path, tmp_path: Path) -> None:
    script = node_script().replace("OLDEST = (3, 11)", "OLDEST = (3, 99)")
    answer = on_node(request(target), tmp_path, script, PATH=str(tmp_path))
    assert (answer["state"], answer["python"]) == ("unfit", ".".join(map(str, sys.version_info[:3])))


def test_another_python_on_path_is_taken(target: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.19").symlink_to(sys.executable)
    script = node_script().replace("if sys.version_info[:2] >= OLDEST:", "if False:")
    answer = on_node(request(target), tmp_path, script, PATH=str(tmp_path / "bin"))
    assert answer["doctor"]["code"] == 4


def test_a_doctor_that_is_too_slow_has_no_code(target: Path, tmp_path: Path) -> None:
    assert on_node(request(target, limit_s=0), tmp_path)["doctor"]["code"] is None


def test_what_comes_is_no_zip(target: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", node_script()],
        input=request(target) + b"no zip",
        capture_output=True,
        check=True,
        env={"PATH": os.defpath, "TMPDIR": str(tmp_path)},
    )
    assert json.loads(done.stdout) == {"state": "failed", "why": "BadZipFile: File is not a zip file"}
    assert list(tmp_path.iterdir()) == []


def test_one_file_is_the_whole_program(target: Path, tmp_path: Path) -> None:
    program = tmp_path / "archfit.pyz"
    assert run(["fleet", "carry", str(program)]) == ExitCode.OK
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    words = ["doctor", str(target), "--gpu", "RTX 5090"]
    environ = {"PATH": os.defpath, "TMPDIR": str(temporary), "HOME": str(tmp_path), "ARCHFIT_HOST": "n1"}
    bare = [sys.executable, "-I", "-S", str(program), *words]
    done = subprocess.run([*bare, "--json"], capture_output=True, check=False, env=environ)
    assert (done.returncode, done.stderr) == (4, b"")
    assert json.loads(done.stdout)["host"]["name"] == "n1"
    said = subprocess.run(bare, capture_output=True, check=False, env=environ, text=True).stdout
    assert f"Next: {Path(sys.executable).name} {program} upgrade" in said  # as this reader can run it
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["--help"], ExitCode.OK, ""),
        (["fleet", "merge", "reports"], ExitCode.USAGE, "fleet needs packages with compiled parts"),
        (["explain", "train.log"], ExitCode.USAGE, "explain needs packages with compiled parts"),
        (["upgrade", "--help"], ExitCode.USAGE, "upgrade needs packages with compiled parts"),
    ],
)
def test_one_file_says_what_it_cannot_do(tmp_path: Path, words: list[str], code: int, expected: str) -> None:
    """In a Python that has nothing: not that of the tests, which has it all."""
    bare = getattr(sys, "_base_executable", sys.executable)
    if subprocess.run([bare, "-c", "import msgspec"], capture_output=True, check=False).returncode == 0:
        pytest.skip(f"{bare} has msgspec")
    program = tmp_path / "archfit.pyz"
    write_program(program)
    environ = {"PATH": os.defpath, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run([bare, str(program), *words], capture_output=True, check=False, env=environ, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (code, 2 if expected else 0)
    assert expected in done.stderr


def test_a_file_that_cannot_be_written_is_a_mistake(tmp_path: Path) -> None:
    assert run(["fleet", "carry", str(tmp_path / "none" / "archfit.pyz")]) == ExitCode.USAGE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_whoever_ends_it_leaves_nothing_behind(number: int, target: Path, tmp_path: Path) -> None:
    """Ray kills what a task started: then the one that works is told by Linux."""
    marks = tmp_path / "marks"
    marks.mkdir()
    slow = tmp_path / "python"
    slow.write_text(f'#!/bin/sh\necho $$ > "{marks}/pid.new"; mv "{marks}/pid.new" "{marks}/pid"; exec sleep 300\n')
    slow.chmod(0o755)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", node_script()],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={"PATH": os.defpath, "TMPDIR": str(temporary), "HOME": str(tmp_path)},
    )
    assert child.stdin
    with child.stdin:
        child.stdin.write(request(slow) + pack())
    until(lambda: (marks / "pid").exists())
    sleeper = Path("/proc") / (marks / "pid").read_text().strip()
    child.send_signal(number)
    child.wait()
    until(lambda: not sleeper.exists() and not list(temporary.iterdir()))


def until(happened: Any) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


IDLE = {"name": "H100", "free_bytes": 79_500_000_000, "total_bytes": 80_000_000_000, "busy_percent": 0, "processes": 0}


@pytest.mark.parametrize(
    ("states", "free"),
    [
        ([IDLE, IDLE], "0,1"),
        ([IDLE | {"processes": 1}, IDLE], "1"),
        ([IDLE, IDLE | {"busy_percent": 40}], "0"),
        ([IDLE | {"free_bytes": 60_000_000_000}], ""),  # somebody in another container, whose processes are not told
        ([], ""),
    ],
)
def test_a_gpu_is_free_if_nobody_is_on_it(states: list[dict[str, object]], free: str) -> None:
    space: dict[str, Any] = {"__name__": "node"}
    exec(compile(node_script(), "run_archfit.py", "exec"), space)
    assert space["idle_gpus"](json.dumps({"environment": {"gpu_states": states}})) == free
