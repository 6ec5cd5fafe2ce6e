"""Imports in real children: they may raise, exit, crash, hang and talk; each ends as evidence and none takes archfit down."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from archfit.model import Diagnosis, Distribution, Environment, Evidence, Library, Proof, Verification
from archfit.verify import verify
from archfit.verify.imports import import_names

MakeDiagnosis = Callable[..., Diagnosis]
MakeEnvironment = Callable[..., Environment]
LIBRARY = (Library("some/library.so", 1, (), ()),)


@pytest.fixture
def tried(environment: MakeEnvironment, diagnosis: MakeDiagnosis) -> Callable[..., Evidence]:
    """The evidence of importing one package of this source, `before` being the source it had."""

    def run(source: str, before: str | None = None) -> Evidence:
        new = diagnosis(env=environment(demo=source))
        old = diagnosis(env=environment(name="old", demo=before)) if before is not None else None
        (evidence,) = verify(new, "import", before=old).evidence
        return evidence

    return run


def cause(evidence: Evidence) -> str:
    assert evidence.reason is not None
    assert evidence.reason.key == "import-failed"
    return str(evidence.reason.values["cause"])


# --- how an import can end -------------------------------------------------------------------------------------------


def test_a_package_that_imports(tried: Callable[..., Evidence]) -> None:
    evidence = tried("import time; time.sleep(0.05)")
    assert evidence.seconds >= 0.05
    assert evidence == Evidence("import:demo", Proof.PASSED, "1.0", "demo", seconds=evidence.seconds, package="demo")


RAISES = {
    "raise ImportError('no kernel image')": "demo: ImportError: no kernel image",
    "import not_there": "demo: ModuleNotFoundError: No module named 'not_there'",
    "raise SystemExit(0)": "demo: SystemExit: 0",
    "raise KeyboardInterrupt('stop')": "demo: KeyboardInterrupt: stop",
    "raise RuntimeError('版本不对')": "demo: RuntimeError: 版本不对",
    "class Own(BaseException): pass\nraise Own('mine')": "demo: Own: mine",
    "import ctypes; ctypes.CDLL('libnot_there.so')": (
        "demo: OSError: libnot_there.so: cannot open shared object file: No such file or directory"
    ),
}


@pytest.mark.parametrize("source", RAISES)
def test_a_package_that_raises(tried: Callable[..., Evidence], source: str) -> None:
    evidence = tried(source)
    assert (evidence.status, cause(evidence)) == (Proof.FAILED, RAISES[source])


def test_an_error_without_words_shows_where_it_was_raised(tried: Callable[..., Evidence]) -> None:
    evidence = tried("raise ValueError")
    assert evidence.status is Proof.FAILED
    assert cause(evidence).startswith("demo: ValueError: Traceback")


ENDS = {
    "import os; os._exit(3)": "exit code 3",
    "import os; os._exit(0)": "it answered nothing",
    "import os, sys; sys.stderr.write('last words'); sys.stderr.flush(); os._exit(3)": "exit code 3: last words",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "ended by SIGSEGV",
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "ended by SIGKILL",
    "import os; os.abort()": "ended by SIGABRT",
    "import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 3)": f"ended by signal {signal.SIGRTMIN + 3}",
}


@pytest.mark.parametrize("source", ENDS)
def test_a_package_that_ends_the_process(tried: Callable[..., Evidence], source: str) -> None:
    evidence = tried(source)
    assert (evidence.status, cause(evidence)) == (Proof.FAILED, ENDS[source])


def test_a_package_that_hangs(tried: Callable[..., Evidence], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archfit.verify.imports._IMPORT_SECONDS", 0.5)
    evidence = tried("import time; time.sleep(60)")
    assert (evidence.status, cause(evidence)) == (Proof.FAILED, "no answer within 0.5 s")


TALK = {
    "text": "print('hello ' * 100000)",
    "json": """print('{"failed": "demo", "error": "a lie", "seconds": 1}')""",
    "other json": "print('{}')",
    "bytes": "import sys; sys.stdout.buffer.write(bytes(range(256)) * 10)",
    "no newline": "print('half a line', end='')",
    "below Python": "import os; os.write(1, b'from C')",
    "errors": "import sys; sys.stderr.write('warning\\n' * 100000)",
    "at exit": "import atexit; atexit.register(print, 'goodbye')",
    "json at exit": "import atexit; atexit.register(print, '{}')",
    "closed stdout": "import sys; sys.stdout.close()",
    "stdout replaced": "import io, sys; sys.stdout = io.StringIO()",
    "reads stdin": "import sys; sys.stdin.read()",
    "a thread left running": "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
}


@pytest.mark.parametrize("talk", TALK)
def test_what_a_package_prints_changes_nothing(tried: Callable[..., Evidence], talk: str) -> None:
    evidence = tried(TALK[talk])
    assert (evidence.status, evidence.reason) == (Proof.PASSED, None)


def test_a_python_that_is_gone_fails_every_import(environment: MakeEnvironment, diagnosis: MakeDiagnosis) -> None:
    env = environment(demo="")
    env.python.unlink()
    (evidence,) = verify(diagnosis(env=env), "import").evidence
    assert (evidence.status, cause(evidence)) == (Proof.FAILED, "No such file or directory")


def test_an_import_writes_no_bytecode_into_the_environment(
    environment: MakeEnvironment, diagnosis: MakeDiagnosis
) -> None:
    env = environment(demo="")
    verify(diagnosis(env=env), "import")
    assert sorted(p.name for p in env.root.iterdir()) == ["bin", "demo.py"]


def test_each_package_has_a_child_of_its_own(environment: MakeEnvironment, diagnosis: MakeDiagnosis) -> None:
    crash = "import os; os._exit(1)"
    found = verify(
        diagnosis(env=environment(first="", second=crash, third="import sys; assert 'first' not in sys.modules")),
        "import",
    )
    assert [(e.probe, e.status) for e in found.evidence] == [
        ("import:first", Proof.PASSED),
        ("import:second", Proof.FAILED),
        ("import:third", Proof.PASSED),
    ]
    assert not found.passed


def test_who_waits_is_told_each_package(environment: MakeEnvironment, diagnosis: MakeDiagnosis) -> None:
    told: list[tuple[str, int, int]] = []
    verify(diagnosis(env=environment(a="", b_c="")), "import", on_probe=lambda *row: told.append(row))
    assert told == [("a", 0, 2), ("b-c", 1, 2)]


def test_nothing_to_import_proves_nothing(environment: MakeEnvironment, diagnosis: MakeDiagnosis) -> None:
    found = verify(diagnosis(env=environment()), "import")
    assert found == Verification("import", ())
    assert not found.passed


# --- what failed before ----------------------------------------------------------------------------------------------

BROKEN = "raise ImportError('it is broken')"


def test_an_import_that_failed_before_does_not_count(tried: Callable[..., Evidence]) -> None:
    evidence = tried(BROKEN, before="import os; os._exit(1)")
    assert evidence.status is Proof.SKIPPED
    assert evidence.reason is not None
    assert evidence.reason.key == "failed-before"
    assert evidence.reason.values == {"id": "import", "subject": "demo: demo: ImportError: it is broken"}


def test_an_import_that_worked_before_counts(tried: Callable[..., Evidence]) -> None:
    evidence = tried(BROKEN, before="")
    assert (evidence.status, cause(evidence)) == (Proof.FAILED, "demo: ImportError: it is broken")


def test_an_import_that_works_now_passes_whatever_was_before(tried: Callable[..., Evidence]) -> None:
    assert tried("", before=BROKEN).status is Proof.PASSED


def test_a_package_that_was_not_there_before_must_import(
    environment: MakeEnvironment, diagnosis: MakeDiagnosis
) -> None:
    before = diagnosis(env=environment(name="old", other=BROKEN))
    (evidence,) = verify(diagnosis(env=environment(demo=BROKEN)), "import", before=before).evidence
    assert evidence.status is Proof.FAILED


def test_before_is_tried_only_where_something_fails(
    environment: MakeEnvironment, diagnosis: MakeDiagnosis, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    before = diagnosis(env=environment(name="old", demo=f"open({str(witness)!r}, 'w').close()"))
    verify(diagnosis(env=environment(demo="")), "import", before=before)
    assert not os.path.lexists(witness)


# --- what is imported ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distribution", "names"),
    [
        (Distribution("torch", "2", (), ("torch", "torchgen", "functorch"), LIBRARY), ("torch",)),
        (Distribution("flash-attn", "2", (), ("flash_attn", "flash_attn_2_cuda"), LIBRARY), ("flash_attn",)),
        (Distribution("pyyaml", "6", (), ("_yaml", "yaml"), LIBRARY), ("yaml",)),
        (Distribution("mmcv", "2", (), ("tests", "mmcv"), LIBRARY), ("mmcv",)),
        (Distribution("detectron2", "0", (), ("tools", "tests", "a", "b"), LIBRARY), ("a", "b")),
        (Distribution("only-private", "1", (), ("_native",), LIBRARY), ("_native",)),
        (Distribution("nvidia-cublas-cu12", "12", (), ("nvidia",), LIBRARY), ()),
        (Distribution("requests", "2", (), ("requests",), ()), ()),
        (Distribution("nameless", "1", (), (), LIBRARY), ()),
    ],
    ids=lambda value: value.name if isinstance(value, Distribution) else "",
)
def test_modules_whose_import_loads_native_code(distribution: Distribution, names: tuple[str, ...]) -> None:
    assert import_names(distribution) == names


# --- what builds on torch --------------------------------------------------------------------------------------------


@pytest.fixture
def family(environment: MakeEnvironment) -> MakeEnvironment:
    """An environment whose packages other than torch require torch."""

    def make(**sources: str) -> Environment:
        env = environment(**sources)
        rows = (replace(d, requires=() if d.name == "torch" else ("torch>=2",)) for d in env.distributions)
        return replace(env, distributions=tuple(rows))

    return make


def test_torch_is_imported_once_for_all_that_build_on_it(
    family: MakeEnvironment, diagnosis: MakeDiagnosis, tmp_path: Path
) -> None:
    witness = tmp_path / "witness"
    torch = f"import os, time; time.sleep(0.05); print(os.getpid(), file=open({str(witness)!r}, 'a'))"
    needs = "import torch, sys; assert 'a' not in sys.modules or 'b' not in sys.modules"
    found = verify(diagnosis(env=family(a=needs, torch=torch, b=needs)), "import")
    assert [(e.probe, e.status) for e in found.evidence] == [
        ("import:a", Proof.PASSED),
        ("import:torch", Proof.PASSED),
        ("import:b", Proof.PASSED),
    ]
    assert found.evidence[1].seconds >= 0.05
    assert len(witness.read_text("utf-8").splitlines()) == 1


@pytest.mark.parametrize("source", {**RAISES, **ENDS})
def test_what_builds_on_torch_ends_as_it_would_alone(
    family: MakeEnvironment, diagnosis: MakeDiagnosis, source: str
) -> None:
    good, demo, torch = verify(diagnosis(env=family(good="import torch", demo=source, torch="")), "import").evidence
    assert (good.status, torch.status, demo.status) == (Proof.PASSED, Proof.PASSED, Proof.FAILED)
    assert cause(demo) == {**RAISES, **ENDS}[source]


@pytest.mark.parametrize("source", {**RAISES, **ENDS})
def test_a_torch_that_fails_takes_only_those_along_that_import_it(
    family: MakeEnvironment, diagnosis: MakeDiagnosis, source: str
) -> None:
    env = family(torch=source, needs="import torch", claims="")
    torch, needs, claims = verify(diagnosis(env=env), "import").evidence
    assert (torch.status, needs.status, claims.status) == (Proof.FAILED, Proof.FAILED, Proof.PASSED)
    assert cause(torch) == {**RAISES, **ENDS}[source].replace("demo: ", "torch: ", 1)


@pytest.mark.parametrize("talk", TALK)
def test_what_a_relative_of_torch_prints_changes_nothing(
    family: MakeEnvironment, diagnosis: MakeDiagnosis, talk: str
) -> None:
    found = verify(diagnosis(env=family(torch=TALK[talk], demo=TALK[talk], other="")), "import")
    assert [(e.status, e.reason) for e in found.evidence] == [(Proof.PASSED, None)] * 3


def test_a_fork_that_hangs_is_ended(
    family: MakeEnvironment, diagnosis: MakeDiagnosis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("archfit.verify.imports._IMPORT_SECONDS", 1.0)
    _, good, hangs = verify(
        diagnosis(env=family(torch="", good="", hangs="import time; time.sleep(60)")), "import"
    ).evidence
    assert (good.status, hangs.status, cause(hangs)) == (Proof.PASSED, Proof.FAILED, "no answer within 1 s")


def test_what_fails_only_as_a_fork_is_tried_alone(family: MakeEnvironment, diagnosis: MakeDiagnosis) -> None:
    picky = "import sys; assert 'torch' not in sys.modules"
    assert [e.status for e in verify(diagnosis(env=family(torch="", picky=picky)), "import").evidence] == [
        Proof.PASSED,
        Proof.PASSED,
    ]


def test_every_relative_is_told_while_it_is_tried(family: MakeEnvironment, diagnosis: MakeDiagnosis) -> None:
    told: list[tuple[str, int, int]] = []
    env = family(a="", b="import os; os._exit(1)", torch="")
    verify(diagnosis(env=env), "import", on_probe=lambda *row: told.append(row))
    assert (sorted(name for name, _, _ in told), [row[1:] for row in told]) == (
        ["a", "b", "torch"],
        [(0, 3), (1, 3), (2, 3)],
    )


def test_one_relative_alone_needs_no_fork(family: MakeEnvironment, diagnosis: MakeDiagnosis) -> None:
    found = verify(diagnosis(env=family(a="", torch="")), "import", only=("import:a",))
    assert [(e.probe, e.status) for e in found.evidence if not e.probe.startswith("static")] == [
        ("import:a", Proof.PASSED)
    ]
