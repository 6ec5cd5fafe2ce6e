"""Libraries compiled against torch are loaded beside the torch that is there: real files, real child processes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from archfit.binary.library import read_library
from archfit.child import run_child
from archfit.model import Distribution, Environment, Evidence, Interpreter, Known, Proof
from archfit.verify import levels

DATA = Path(__file__).parents[1] / "data"
TORCH = """
import ctypes, os
ctypes.CDLL(os.path.join(os.path.dirname(__file__), "lib", "libtorch_cpu.so"), mode=ctypes.RTLD_GLOBAL)
"""

MakeDiagnosis = Callable[..., levels.Diagnosis]
World = Callable[[str], Environment]


@pytest.fixture
def world(environment: Callable[..., Environment]) -> World:
    """An environment with this torch and an extension that was compiled against the old one."""

    def make(torch: str) -> Environment:
        env = environment(name=torch)
        site = env.root
        for folder in ("torch/lib", "mine"):
            (site / folder).mkdir(parents=True)
        (site / "torch/__init__.py").write_text(TORCH, "utf-8")
        shutil.copy(DATA / f"lib{torch}.so", site / "torch/lib/libtorch_cpu.so")
        shutil.copy(DATA / "libextension.so", site / "mine/_ext.so")
        extension = read_library(site / "mine/_ext.so", "mine/_ext.so")
        python = Interpreter(env.python, site, "3.11", "cp311", "linux_x86_64", True, site, (site,), None)
        rows = (Distribution("mine", "1.0", libraries=(extension,)), Distribution("torch", "1.0"))
        return replace(env, interpreter=Known(python, "made"), distributions=rows)

    return make


def load_probe(proof: levels.Verification) -> Evidence:
    return next(e for e in proof.evidence if e.probe == "load:mine")


def test_an_extension_loads_beside_its_own_torch(world: World, diagnosis: MakeDiagnosis) -> None:
    found = load_probe(levels.verify(diagnosis(env=world("torch_old")), "import"))
    assert (found.status, found.measured, found.expected, found.reason) == (Proof.PASSED, "1.0", "_ext.so", None)


def test_another_torch_misses_the_symbol(world: World, diagnosis: MakeDiagnosis) -> None:
    found = load_probe(levels.verify(diagnosis(env=world("torch_new")), "import"))
    assert found.status is Proof.FAILED
    assert "undefined symbol: old_symbol" in str(found.reason)


def test_what_the_plan_named_is_told_and_does_not_count(world: World, diagnosis: MakeDiagnosis) -> None:
    proof = levels.verify(diagnosis(env=world("torch_new")), "import", to_rebuild=frozenset({"mine"}))
    found = load_probe(proof)
    assert (found.status, found.reason and found.reason.key) == (Proof.SKIPPED, "to-rebuild")


def test_what_the_person_allowed_to_break_does_not_count(world: World, diagnosis: MakeDiagnosis) -> None:
    proof = levels.verify(diagnosis(env=world("torch_new")), "import", allowed=frozenset({"mine"}))
    found = load_probe(proof)
    assert (found.status, found.reason and found.reason.key) == (Proof.SKIPPED, "allowed-broken")


def test_a_library_may_need_another_of_its_own_package(world: World, diagnosis: MakeDiagnosis) -> None:
    """torchaudio's _torchaudio.so needs its libtorchaudio.so, which only its package knows where to find."""
    env = world("torch_old")
    shutil.copy(DATA / "libsecond.so", env.root / "mine/a_second.so")
    second = read_library(env.root / "mine/a_second.so", "mine/a_second.so")
    mine = env.distributions[0]
    rows = (replace(mine, libraries=(second, *mine.libraries)), *env.distributions[1:])
    found = load_probe(levels.verify(diagnosis(env=replace(env, distributions=rows)), "import"))
    assert (found.status, found.expected) == (Proof.PASSED, "a_second.so, _ext.so")


def test_what_did_not_load_before_does_not_count(world: World, diagnosis: MakeDiagnosis) -> None:
    broken = world("torch_new")
    before = replace(broken, root=broken.root)
    found = load_probe(levels.verify(diagnosis(env=broken), "import", before=diagnosis(env=before)))
    assert (found.status, found.reason and found.reason.key) == (Proof.SKIPPED, "failed-before")


def test_what_was_compiled_for_the_change_must_load_whatever_the_old_one_did(
    world: World, diagnosis: MakeDiagnosis
) -> None:
    broken = world("torch_new")
    proof = levels.verify(diagnosis(env=broken), "import", before=diagnosis(env=broken), rebuilt=frozenset({"mine"}))
    assert load_probe(proof).status is Proof.FAILED


def test_without_torch_the_reason_is_torch(world: World, diagnosis: MakeDiagnosis) -> None:
    env = world("torch_old")
    shutil.rmtree(env.root / "torch")
    found = load_probe(levels.verify(diagnosis(env=env), "import"))
    assert found.status is Proof.FAILED
    assert "No module named 'torch'" in str(found.reason)


def test_a_library_for_something_that_is_not_here_does_not_count(world: World) -> None:
    """torchaudio 2.1 to 2.8 has one for each FFmpeg; none of them loads where there is no FFmpeg, and all is well."""
    env = world("torch_old")
    path = env.root / "mine/_ffmpeg.so"
    path.write_bytes((DATA / "libextension.so").read_bytes().replace(b"libtorch_cpu.so", b"libavutil_58.so"))
    told = run_child(env.python, "load_libraries.py", [str(path)], timeout_s=60)
    assert isinstance(told, Known)
    assert told.value["failed"] is None
