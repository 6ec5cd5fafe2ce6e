"""The real uv is asked about a change, with all that is installed: what moves, what does not, and who is in the way."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from shelf import WHEELS, digest, write_wheel

from archfit.model import Distribution, Pin, Question, Resolution
from archfit.resolver import Ground, ask_all
from archfit.resolver import ask as asking
from archfit.standin import own_tag, python_for

TORCH_2_8 = Question(("torch==2.8.0",))
FAMILY_2_8 = Question(("torch==2.8.0", "torchvision==0.23.0"))


def installed(*names: str) -> tuple[Distribution, ...]:
    """What is there, with the metadata that the index has for it; ``name==1:wants`` has its own."""
    found = []
    for word in names:
        spec, _, wants = word.partition(":")
        name, version = spec.split("==")
        found.append(Distribution(name, version, (wants,) if wants else WHEELS.get(spec, ())))
    return tuple(found)


def ask(question: Question, *names: str, **where: str) -> Resolution:
    ground = Ground(
        Path(sys.executable),
        installed(*names),
        {"extra": ""},
        where.get("python"),
        where.get("platform"),
        own_tag=where.get("own", own_tag()),
    )
    return ask_all(ground, [question])[question]


def changes(answer: Resolution) -> dict[str, tuple[str | None, str]]:
    return {package.name: (package.current, package.wanted) for package in answer.locked}


# --- what moves ------------------------------------------------------------------------------------------------------


def test_the_family_moves_in_step_and_what_it_needs() -> None:
    answer = ask(FAMILY_2_8, "torch==2.4.1", "torchvision==0.19.1", "maths==1.0")
    assert answer.state == "resolved"
    assert changes(answer) == {
        "torch": ("2.4.1", "2.8.0"),
        "torchvision": ("0.19.1", "0.23.0"),
        "maths": ("1.0", "2.0"),
    }


def test_what_can_stay_stays() -> None:
    assert "maths" not in changes(ask(TORCH_2_8, "torch==2.4.1", "maths==1.1"))


def test_it_moves_only_as_far_as_the_others_admit() -> None:
    """torch 2.8.0 wants maths 1.1 or newer; another package wants it below 2: so 1.1, and the other one stays."""
    answer = ask(TORCH_2_8, "torch==2.4.1", "maths==1.0", "bounded==1.0")
    assert changes(answer) == {"torch": ("2.4.1", "2.8.0"), "maths": ("1.0", "1.1")}
    assert answer.moved == ()


def test_a_package_that_pins_torch_moves_to_a_version_that_fits() -> None:
    answer = ask(TORCH_2_8, "torch==2.4.1", "maths==1.1", "follower==1.0")
    assert answer.state == "resolved"
    assert changes(answer) == {"torch": ("2.4.1", "2.8.0"), "follower": ("1.0", "2.0")}
    assert answer.moved == (Pin("follower", "1.0", "torch==2.4.1", "torch 2.8.0"),)


def test_a_package_that_moves_takes_along_who_pins_it() -> None:
    answer = ask(TORCH_2_8, "torch==2.4.1", "maths==1.1", "follower==1.0", "second==1.0")
    assert answer.state == "resolved"
    assert changes(answer)["second"] == ("1.0", "2.0")
    assert [pin.package for pin in answer.moved] == ["follower", "second"]


def test_what_is_unmet_already_is_in_nobodys_way() -> None:
    answer = ask(TORCH_2_8, "torch==2.4.1", "maths==1.1", "other==1.0:torch==1.13.1", "lonely==1.0:nothere>=3")
    assert answer.state == "resolved"
    assert set(changes(answer)) == {"torch"}


def test_a_package_that_no_index_has_may_stay() -> None:
    assert ask(TORCH_2_8, "torch==2.4.1", "maths==1.1", "private==1.0:torch>=2").state == "resolved"


def test_a_release_that_stays_is_installed_again_where_another_build_is_wanted() -> None:
    question = Question(("torch==2.8.0",), reinstall=("torch",))
    assert changes(ask(question, "torch==2.8.0", "maths==1.1")) == {"torch": ("2.8.0", "2.8.0")}


def test_every_change_has_the_hashes_of_its_files(wheels: Path) -> None:
    (torch,) = ask(TORCH_2_8, "torch==2.4.1", "maths==1.1").locked
    found = digest(wheels / "torch" / "torch-2.8.0-py3-none-any.whl")
    assert (torch.sha256, torch.hashes, torch.index) == (found, (found,), "PyPI")


# --- what does not ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("requires", ["torch==2.4.1", "torch<2.5", "torch~=2.4.0"])
def test_who_is_in_the_way_is_named_with_what_it_wants(requires: str) -> None:
    answer = ask(TORCH_2_8, "torch==2.4.1", "maths==1.1", f"private==1.0:{requires}")
    pin = Pin("private", "1.0", str(requires), "torch 2.8.0")
    assert (answer.state, answer.broken) == ("conflict", (pin,))


def test_only_who_has_no_way_out_is_named() -> None:
    """follower could move to 2.0; stubborn has one version, and bounded is not concerned."""
    answer = ask(TORCH_2_8, "torch==2.4.1", "maths==1.0", "follower==1.0", "stubborn==1.0", "bounded==1.0")
    assert answer.state == "conflict"
    assert [pin.package for pin in answer.broken] == ["stubborn"]


def test_a_build_that_contradicts_itself_is_a_conflict_in_the_words_of_the_resolver() -> None:
    answer = ask(Question(("torch==2.9.1",)), "torch==2.4.1", "maths==1.0")
    assert (answer.state, answer.broken) == ("conflict", ())
    assert "maths>=3" in answer.detail


@pytest.mark.parametrize("spec", ["torch==2.99.0", "nosuchpackage==1.0"])
def test_what_the_index_has_not_is_absent(spec: str) -> None:
    assert ask(Question((spec,)), "maths==1.0").state == "absent"


def test_another_build_under_the_same_number_is_caught() -> None:
    """``==1.0`` is met by ``1.0+cpu``, too: a resolver takes it where an index offers it."""
    answer = ask(Question(("swapped==1.0",)), "maths==1.0")
    assert (answer.state, answer.detail) == ("swapped", "swapped 1.0+cpu")


def test_no_network_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    answer = ask(TORCH_2_8, "torch==2.4.1")
    assert answer.state == "unreachable"
    assert answer.detail


def test_a_network_that_is_forbidden_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_OFFLINE", "1")
    assert ask(TORCH_2_8, "torch==2.4.1").state == "unreachable"


def test_a_package_called_network_is_no_network() -> None:
    answer = ask(TORCH_2_8, "torch==2.4.1", "maths==1.1", "networkx==1.0:torch==2.4.1")
    assert (answer.state, [pin.package for pin in answer.broken]) == ("conflict", ["networkx"])


# --- another Python, another platform --------------------------------------------------------------------------------


def test_a_pretended_python_and_platform_decide_which_wheels_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "index").as_uri())
    write_wheel(tmp_path / "index", "torch", "2.8.0", tag="cp39-cp39-win_amd64")
    fits = ask(TORCH_2_8, "torch==2.4.1", python="cp39", platform="win_amd64")
    assert fits.state == "resolved"
    assert ask(TORCH_2_8, "torch==2.4.1", python="cp310", platform="win_amd64").state == "absent"
    assert ask(TORCH_2_8, "torch==2.4.1", python="cp39", platform="linux_aarch64").state == "absent"


@pytest.mark.parametrize("own", ["cp313", "cp313t"])
@pytest.mark.parametrize("python", ["cp313", "cp313t", "cp314", "cp314t"])
def test_a_free_threaded_python_gets_its_own_wheels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str, own: str
) -> None:
    """Whether the Python that answers is of the same kind or not. (No Python here is really another one: uv is told so.)"""
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "index").as_uri())
    abis = ("cp313-cp313", "cp313-cp313t", "cp314-cp314", "cp314-cp314t")
    made = {abi: write_wheel(tmp_path / "index", "torch", "2.8.0", tag=f"{abi}-manylinux_2_28_x86_64") for abi in abis}
    if own.endswith("t") == python.endswith("t"):
        with python_for("cp313t" if own.endswith("t") else None, Path(sys.executable), own_tag()) as there:
            ground = Ground(there, (), {"extra": ""}, python, "linux_x86_64", own_tag=own)
            answer = ask_all(ground, [TORCH_2_8])[TORCH_2_8]
    else:
        answer = ask(TORCH_2_8, python=python, platform="linux_x86_64", own=own)
    assert [package.hashes for package in answer.locked] == [(digest(made[f"{python.rstrip('t')}-{python}"]),)]


# --- answers that are kept -------------------------------------------------------------------------------------------


def counted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    runs: list[object] = []
    real = asking.run_uv

    def run(*arguments: object, **options: object) -> object:
        runs.append(arguments)
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asking, "run_uv", run)
    return runs


def test_an_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = counted(monkeypatch)
    first = ask(FAMILY_2_8, "torch==2.4.1", "torchvision==0.19.1", "follower==1.0")
    asked = len(runs)
    assert ask(FAMILY_2_8, "torch==2.4.1", "torchvision==0.19.1", "follower==1.0") == first
    assert len(runs) == asked > 0


@pytest.mark.parametrize("change", ["packages", "settings", "age", "damage"])
def test_an_answer_is_asked_anew_where_what_it_stood_on_has_changed(
    change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ["torch==2.4.1", "maths==1.1"]
    ask(TORCH_2_8, *names)
    runs = counted(monkeypatch)
    (kept,) = (tmp_path / "cache").rglob("*.json")
    if change == "packages":
        names.append("bounded==1.0")
    if change == "settings":
        monkeypatch.setenv("UV_EXCLUDE_NEWER", "2099-01-01")
    if change == "age":
        os.utime(kept, (0, time.time() - 601))
    if change == "damage":
        kept.write_text("{")
    assert ask(TORCH_2_8, *names).state == "resolved"
    assert runs


def test_silence_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_OFFLINE", "1")
    ask(TORCH_2_8, "torch==2.4.1")
    assert list((tmp_path / "cache").rglob("*.json")) == []
