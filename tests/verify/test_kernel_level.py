"""The kernels level with faults planted in probes: each is caught, by name, and takes nothing else down.

torch is a stand-in here, just able to launch its first "kernel"; the faults are probes of an installed project.
"""

from __future__ import annotations

import ast
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from archfit.catalog.probes import load_probes
from archfit.child import run_child, stop_children
from archfit.model import Distribution, Environment, Evidence, Proof, Unknown, Verification
from archfit.report.messages import Messages
from archfit.verify import default_level, kernels, verify
from archfit.verify.judge import judge, judge_health
from archfit.verify.kernels import prove_kernels
from archfit.verify.lanes import side_by_side
from worlds import world

MakeEnvironment = Callable[..., Environment]
Prove = Callable[..., dict[str, Evidence]]

TORCH = """
class version:
    cuda = None

__version__ = "0.0"

class _Numbers(list):
    def __mul__(self, factor):
        return _Numbers(x * factor for x in self)
    def __add__(self, term):
        return _Numbers(x + term for x in self)

def arange(count):
    return _Numbers(range(count))

def manual_seed(_):
    pass
"""

PLANTED = """
import ctypes, json, os, signal, sys, time

def right(kit):
    kit.compare("a sum", [1.0, 2.0 + 1e-9], [1.0, 2.0], 1e-6, "made up")

def wrong(kit):
    kit.compare("a sum", [1.0, 2.1], [1.0, 2.0], 1e-6, "made up")

def one_of_many_wrong(kit):
    right(kit)
    wrong(kit)
    right(kit)

def nan(kit):
    kit.compare("a sum", [1.0, float("nan")], [1.0, 2.0], 1e-6, "made up")

def infinite(kit):
    kit.compare("a sum", [1.0, float("inf")], [1.0, 2.0], 1e-6, "made up")

def nan_tolerance(kit):
    kit.compare("a sum", [1.0], [1.0], float("nan"), "made up")

def other_shape(kit):
    kit.compare("a sum", [1.0, 2.0, 3.0], [1.0, 2.0], 1e-6, "made up")

def no_elements(kit):
    kit.exact("nothing", [], [])

def nothing(kit):
    pass

def claims(kit):
    print(json.dumps({"comparisons": [{"what": "x", "error": 0, "tolerance": 1}], "name": "plugin:claims"}))
    sys.stdout.flush()

def raises(kit):
    raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

def raises_after(kit):
    right(kit)
    raise RuntimeError("an illegal memory access was encountered")

def leaves(kit):
    sys.exit(0)

def leaves_hard(kit):
    os._exit(0)

def leaves_with_code(kit):
    os._exit(7)

def crashes(kit):
    ctypes.string_at(0)

def aborts(kit):
    os.abort()

def hangs(kit):
    time.sleep(600)

def hangs_deaf(kit):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    while True:
        time.sleep(1)

def closes_everything(kit):
    os.closerange(3, 200)
    os._exit(0)

def ends_its_parent(kit):
    if json.loads(sys.argv[1])["fork"]:
        os.kill(os.getppid(), signal.SIGKILL)  # else the parent is whoever runs these tests
    time.sleep(600)

def dislikes_forks(kit):
    if json.loads(sys.argv[1])["fork"]:
        ctypes.string_at(0)
    right(kit)

def skips(kit):
    from probe_kit import Skip
    raise Skip("skip-not-here", what="a thing")

def skips_as_it_likes(kit):
    from probe_kit import Skip
    raise Skip("no-such-sentence")

missing_function = None
"""


@pytest.fixture
def prove(environment: MakeEnvironment, monkeypatch: pytest.MonkeyPatch) -> Prove:
    """The evidence of these functions of the planted project, by name."""

    def run(*names: str, seconds: float = 20.0) -> dict[str, Evidence]:
        monkeypatch.setattr(kernels, "load_probes", lambda: load_probes()[:1])
        monkeypatch.setattr(kernels, "_PLUGIN_SECONDS", seconds)
        env = planted(environment, names)
        return {e.probe.partition(":")[2]: e for e in prove_kernels(env, "cpu")}

    return run


def planted(
    environment: MakeEnvironment, names: tuple[str, ...], source: str = PLANTED, name: str = "env"
) -> Environment:
    env = environment(name=name, torch=TORCH, planted=source)
    mine = Distribution("planted", "1.0", (), ("planted",), probes=tuple((n, f"planted:{n}") for n in names))
    return replace(env, distributions=(mine, Distribution("torch", "0.0", (), ("torch",))))


def why(evidence: Evidence) -> str:
    return Messages("en").because(evidence)


def test_a_right_probe_passes_with_what_was_measured(prove: Prove) -> None:
    found = prove("right")
    assert found["device"].status is Proof.PASSED
    assert replace(found["right"], seconds=0) == Evidence(
        "plugin:right", Proof.PASSED, "5e-10", "float64", "1e-06 (made up)", "CPU", package="planted"
    )


FAULTS = {
    "wrong": "a sum: off by 0.05, allowed 1e-06 (made up)",
    "one_of_many_wrong": "a sum: off by 0.05, allowed 1e-06 (made up)",
    "nan": "a sum: not a number",
    "infinite": "a sum: not a number",
    "nan_tolerance": "a sum: off by 0, allowed nan (made up)",
    "other_shape": "ValueError: shape (3,), expected (2,)",
    "no_elements": "ValueError: nothing to compare: no elements",
    "nothing": "the probe compared nothing, so nothing is proven",
    "claims": "the probe compared nothing, so nothing is proven",
    "raises": "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    "raises_after": "RuntimeError: an illegal memory access was encountered",
    "leaves": "SystemExit: 0",
    "leaves_hard": "it answered nothing",
    "leaves_with_code": "exit code 7",
    "crashes": "ended by SIGSEGV",
    "aborts": "ended by SIGABRT",
    "closes_everything": "it answered nothing",
    "skips_as_it_likes": "the probe compared nothing, so nothing is proven",
    "missing_function": "TypeError: 'NoneType' object is not callable",
    "never_written": "AttributeError: module 'planted' has no attribute 'never_written'",
}


def test_every_fault_is_caught_by_name_and_takes_nothing_else_down(prove: Prove) -> None:
    found = prove(*FAULTS, "right")
    assert {name: why(found[name]).partition(": Fatal")[0] for name in FAULTS} == FAULTS
    assert {found[name].status for name in FAULTS} == {Proof.FAILED}
    assert found["right"].status is Proof.PASSED


def test_a_probe_that_hangs_is_ended(prove: Prove, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_IMPORT_SECONDS", 2.0)
    found = prove("hangs", "hangs_deaf", "right", seconds=1.0)
    for fault in ("hangs", "hangs_deaf"):
        assert (found[fault].status, why(found[fault])) == (Proof.FAILED, "no answer within 3 s")
    assert found["right"].status is Proof.PASSED


def test_the_process_that_forks_may_die_too(prove: Prove, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_IMPORT_SECONDS", 3.0)
    monkeypatch.setattr(kernels, "lanes", lambda: 1)
    found = prove("right", "ends_its_parent", "wrong", seconds=2.0)
    states = {name: found[name].status for name in ("right", "ends_its_parent", "wrong")}
    assert states == {"right": Proof.PASSED, "ends_its_parent": Proof.FAILED, "wrong": Proof.FAILED}
    assert "off by" in why(found["wrong"])


def test_what_only_forking_breaks_is_asked_again_in_a_fresh_process(prove: Prove) -> None:
    assert prove("dislikes_forks")["dislikes_forks"].status is Proof.PASSED


def test_a_reason_to_skip_is_told(prove: Prove) -> None:
    found = prove("skips")["skips"]
    assert (found.status, why(found)) == (Proof.SKIPPED, "a thing is not installed")


def test_a_torch_that_does_not_import_fails_one_probe_and_the_rest_is_not_judged(
    environment: MakeEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "load_probes", lambda: load_probes()[:3])
    env = planted(environment, ("right",))
    (env.root / "torch.py").write_text("raise ImportError('libcudnn.so.9: cannot open shared object file')")
    found = {e.probe: e for e in prove_kernels(env, "cpu")}
    cause = "ImportError: libcudnn.so.9: cannot open shared object file"
    assert {name: (e.status, why(e)) for name, e in found.items()} == {
        "kernel:device": (Proof.FAILED, cause),
        "kernel:elementwise": (Proof.SKIPPED, f"torch cannot use the GPU ({cause})"),
        "kernel:reduction": (Proof.SKIPPED, f"torch cannot use the GPU ({cause})"),
        "plugin:right": (Proof.SKIPPED, f"torch cannot use the GPU ({cause})"),
    }


# --- a pass is earned ------------------------------------------------------------------------------------------------


def test_without_its_body_every_probe_fails(tmp_path: Path) -> None:
    """Each probe's function is emptied in turn; all run for real, and none of them may pass."""
    source = Path(str(resources.files("archfit.target")))
    functions = {row.entry for row in load_probes()}
    for page in source.glob("*.py"):
        (tmp_path / page.name).write_text(emptied(page, functions), "utf-8")
    probes = [{"name": row.id, "entry": row.entry, "seconds": 20} for row in load_probes()]
    order = json.dumps({"device": "cpu", "fork": True, "probes": probes})
    child = [sys.executable, str(tmp_path / "run_probes.py"), order]
    lines = subprocess.run(child, capture_output=True, text=True, check=True).stdout.splitlines()
    told = {answer["name"]: answer for answer in map(json.loads, lines)}
    assert told.keys() == {row.id for row in load_probes()}
    evidence = [
        judge_health(row, told[row.id], "GPU", None, None) if row.kind == "health" else judge(row, told[row.id], "GPU")
        for row in load_probes()
    ]
    assert {(e.status, e.reason and e.reason.key) for e in evidence} == {(Proof.FAILED, "probe-proved-nothing")}


def emptied(page: Path, functions: set[str]) -> str:
    """The file with the bodies of its probes taken out."""
    tree = ast.parse(page.read_text("utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and f"{page.stem}:{node.name}" in functions:
            node.body = [ast.Pass()]
    return ast.unparse(tree)


def test_without_a_gpu_nothing_of_this_level_passes() -> None:
    for env in (world(on=()), world(on="RTX 5090")):
        evidence = prove_kernels(env, "cuda")
        assert {row.id for row in load_probes() if not row.packages} <= {e.probe for e in evidence}
        assert {e.status for e in evidence} == {Proof.SKIPPED}
        assert all(why(e) for e in evidence)
        passed = Evidence("static:torch", Proof.PASSED)
        assert Verification("import", (passed, *evidence)).reached
        assert not Verification("kernels", (passed, *evidence)).reached
        assert not Verification("train", (passed, Evidence("kernel:device", Proof.PASSED))).reached


def test_the_default_is_as_far_as_the_machine_allows() -> None:
    assert default_level(world(on="RTX 5090")) == "import"
    assert default_level(world(on=())) == "import"
    assert default_level(world(on=()), ("import:torch", "kernel:matmul-*")) == "kernels"
    assert default_level(world(on=()), ("train:run",)) == "train"
    from worlds import gpus

    assert default_level(world(gpus=gpus("H200", seen=True))) == "kernels"


# --- in front of an upgrade ------------------------------------------------------------------------------------------

NEW_FAULT = "def probe(kit):\n    raise RuntimeError('undefined symbol')\n"
NO_IMAGE = "def probe(kit):\n    raise RuntimeError('CUDA error: no kernel image is available')\n"
FINE = "def probe(kit):\n    kit.exact('one', [1], [1])\n"


@pytest.mark.parametrize(
    ("before", "after", "options", "ending"),
    [
        (FINE, NEW_FAULT, {}, (Proof.FAILED, "import-failed")),
        (NEW_FAULT, NEW_FAULT, {}, (Proof.SKIPPED, "failed-before")),
        (NO_IMAGE, NO_IMAGE, {}, (Proof.FAILED, "import-failed")),
        (FINE, NEW_FAULT, {"to_rebuild": frozenset({"planted"})}, (Proof.SKIPPED, "to-rebuild")),
        (NEW_FAULT, NEW_FAULT, {"rebuilt": frozenset({"planted"})}, (Proof.FAILED, "import-failed")),
        (FINE, NEW_FAULT, {"allowed": frozenset({"planted"})}, (Proof.SKIPPED, "allowed-broken")),
    ],
    ids=["broken by it", "broken before", "what it is for", "to be rebuilt", "rebuilt", "allowed"],
)
def test_a_failure_counts_if_the_change_is_to_blame(
    environment: MakeEnvironment,
    diagnosis: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    after: str,
    options: dict[str, frozenset[str]],
    ending: tuple[Proof, str],
) -> None:
    monkeypatch.setattr(kernels, "load_probes", lambda: load_probes()[:1])
    old = planted(environment, ("probe",), before, "old")
    new = planted(environment, ("probe",), after, "new")
    proof = verify(diagnosis(env=new), "kernels", before=diagnosis(env=old), device="cpu", **options)  # type: ignore[arg-type]
    found = next(e for e in proof.evidence if e.probe == "plugin:probe")
    assert (found.status, found.reason and found.reason.key) == ending


def test_whoever_gives_up_leaves_no_child_running(environment: MakeEnvironment) -> None:
    env = planted(environment, ("hangs",))

    class GaveUp(Exception):
        pass

    def give_up(name: str) -> None:
        if name.startswith("plugin"):
            raise GaveUp

    with pytest.raises(GaveUp):
        prove_kernels(env, "cpu", give_up)
    stop_children()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(env.root) not in running


def test_giving_up_does_not_wait_for_children_that_are_started_late(environment: MakeEnvironment) -> None:
    env = environment(slow="import time; time.sleep(60)")

    class GaveUp(Exception):
        pass

    ends: list[str] = []

    def work(task: int) -> None:
        if task == 0:
            raise GaveUp
        for _ in range(3):
            answer = run_child(env.python, "import_names.py", ["slow"], timeout_s=60)
            ends.append(answer.reason if isinstance(answer, Unknown) else "")

    with pytest.raises(GaveUp):
        side_by_side(work, [1, 0], 2)
    assert ends == ["ended by SIGKILL"] * 3


def test_signals_have_names() -> None:
    told = {"ended": {"signal": int(signal.SIGBUS), "said": "Fatal Python error: Bus error\n\nCurrent thread"}}
    assert why(judge(load_probes()[0], told, "GPU")) == "ended by SIGBUS Fatal Python error: Bus error"
