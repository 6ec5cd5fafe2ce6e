"""What conda installed is planned for with conda's commands. That conda takes them is tried in tests/e2e/test_conda.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from archfit.model import CondaPrefix, Environment, LockedPackage, Option, Plan, Text
from archfit.planner.conda import conda_commands, left_to_conda
from worlds import diagnosis_of, plan_of, vision, world
from worlds import torch as torch_of

OWNS = {"torch": "pytorch", "torchvision": "torchvision", "typing-extensions": "typing_extensions"}


def in_conda(*held: str, owns: dict[str, str] = OWNS) -> Environment:
    """torch 2.4.1 and torchvision in a prefix whose packages conda installed, `held` among them."""
    conda = CondaPrefix(frozenset({*owns.values(), *held}), owns)
    return world(torch_of(), vision(), release="580.65.06", conda=conda)


def best_commands(plan: Plan) -> tuple[str, ...]:
    best = plan.options[0]
    assert (best.kind, best.pip) == ("upgrade", best.uv)
    return best.pip


def test_a_torch_of_condas_is_changed_by_conda() -> None:
    place = "conda install --prefix /env --channel conda-forge"
    specs = "'pytorch-gpu>=2.8.0' 'pytorch>=2.8.0' torchvision 'cuda-version>=12.8,<13'"
    plan = plan_of(in_conda())
    assert best_commands(plan) == (f"{place} {specs}",)
    best = plan.options[0]
    assert best.risks[0].key == "risk-conda"
    assert (best.torch.index, best.locked, best.requires.download_bytes) == ("conda-forge", (), None)
    assert {step.index for step in best.steps} == {"conda-forge"}


def test_one_option_for_each_major_release_of_cuda() -> None:
    """Which release it becomes is conda's to choose: torch 2.7.1 from an index of wheels is no other way."""
    options = [option for option in plan_of(in_conda()).options if option.kind == "upgrade"]
    majors = [option.torch.cuda.split(".")[0] for option in options]
    assert majors == ["12", "13"]


def test_the_way_out_is_the_plan_and_not_an_upgrade_that_would_be_refused() -> None:
    primary = diagnosis_of(in_conda()).primary
    assert primary is not None
    assert primary.fix.startswith("archfit plan ")


@pytest.mark.parametrize("holder", ["pytorch-cuda", "cudatoolkit", "pytorch-cpu"])
def test_what_holds_the_old_cuda_goes_first(holder: str) -> None:
    remove, _ = best_commands(plan_of(in_conda(holder, "numpy")))
    assert remove == f"conda remove --force --prefix /env {holder}"


def test_no_way_puts_wheels_over_what_conda_installed() -> None:
    plan = plan_of(in_conda())
    assert [o.kind for o in plan.options if any("pip install torch" in c for c in (*o.pip, *o.uv))] == []
    assert "nightly" not in [o.kind for o in plan.options]
    assert "conda-no-nightly" in [r.why.key for r in plan.rejected]


def test_a_torch_of_pips_in_a_conda_environment_is_pips() -> None:
    inside = plan_of(in_conda(owns={"typing-extensions": "typing_extensions"}))
    outside = plan_of(world(torch_of(), vision(), release="580.65.06"))
    assert inside.options == outside.options
    assert inside.rejected == outside.rejected


def test_what_conda_must_change_before_pip_is_said() -> None:
    """torch is pip's, and the resolver found that it needs another typing-extensions, which is conda's."""
    package = LockedPackage("typing-extensions", "4.9.0", "4.16.0", 1, "0", ("0",), "PyPI")
    option = Option("upgrade", Text("none"), locked=(package,))
    env = in_conda(owns={"typing-extensions": "typing_extensions"})
    (left,) = left_to_conda([option], env)
    values = {
        "packages": "typing-extensions",
        "command": "conda install --prefix /env --channel conda-forge typing_extensions=4.16.0",
    }
    assert left == replace(option, risks=(Text("risk-conda-first", values),))


@pytest.mark.parametrize(
    ("wanted", "cuda", "specs"),
    [
        ({"typing-extensions": "4.16.0", "demo": "2"}, "12.8", "typing_extensions=4.16.0"),
        ({"torchvision": "0.19.1"}, None, "torchvision=0.19.1"),
        ({"torch": "2.8.0+cu128"}, None, "'pytorch-gpu>=2.8.0' 'pytorch>=2.8.0'"),
        ({"torch": "2.15.0"}, "13.2", "'pytorch-gpu>=2.15.0' 'pytorch>=2.15.0' 'cuda-version>=13.2,<14'"),
    ],
)
def test_the_words_for_conda(wanted: dict[str, str | None], cuda: str | None, specs: str) -> None:
    (command,) = conda_commands(in_conda(), wanted, cuda)
    assert command == f"conda install --prefix /env --channel conda-forge {specs}"


def test_conda_must_let_go_of_torch_before_pip_even_where_only_the_resolver_moves_it() -> None:
    package = LockedPackage("torch", "2.4.1", "2.8.0", 1, "0", ("0",), "PyPI")
    (left,) = left_to_conda([Option("upgrade", Text("none"), locked=(package,))], in_conda("pytorch-cuda"))
    assert str(left.risks[0].values["command"]).startswith(
        "conda remove --force --prefix /env pytorch-cuda && conda install --prefix /env"
    )
