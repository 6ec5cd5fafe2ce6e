"""What the resolver says decides: which ways are open, in which order, and what is told of those that are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from archfit.model import Distribution, LockedPackage, Pin, Plan, Question, Resolution, Text, Unsolved
from archfit.planner import PlanWish, plan, questions
from archfit.planner.builds import MOST_ASKED
from worlds import CATALOG, diagnosis_of, extension, torch, vision, world

Resolver = Callable[[Question], Resolution]
WORLD = (torch(), vision(), Distribution("numpy", "1.26.4"), Distribution("private", "1.0", ("torch==2.4.1",)))


def ask(
    resolver: Resolver, *packages: Distribution, strategy: str = "nearest", **where: str
) -> tuple[Plan, list[Question]]:
    """The plan when this resolver answers, and all that it was asked."""
    diagnosis = diagnosis_of(world(*(packages or WORLD), release="580.65.06", **where))  # type: ignore[arg-type]
    wish = PlanWish(strategy)  # type: ignore[arg-type]
    answers: dict[Question, Resolution] = {}
    asked: list[Question] = []
    while fresh := questions(diagnosis, CATALOG, wish, answers):
        assert not answers.keys() & set(fresh), "asked twice"
        asked += fresh
        answers |= {question: resolver(question) for question in fresh}
    return plan(diagnosis, CATALOG, wish, answers), asked


def lock(*names: str, size: int | None = 10) -> tuple[LockedPackage, ...]:
    """``numpy==2.0<1.26.4``: numpy 2.0 comes in place of 1.26.4."""
    rows = []
    for word in names:
        spec, _, current = word.partition("<")
        name, wanted = spec.split("==")
        rows.append(LockedPackage(name, current or None, wanted, size, "ab", ("ab", "cd"), "PyPI"))
    return tuple(rows)


def resolved(question: Question, *more: str) -> Resolution:
    return Resolution("resolved", lock(*(f"{spec}<0" for spec in question.specs), *more))


def torch_in(question: Question) -> str:
    return question.specs[0].partition("==")[2]


def upgrades(found: Plan) -> list[str]:
    return [f"{o.torch.version} {o.torch.index == 'PyPI'}" for o in found.options if o.kind == "upgrade" and o.torch]


# --- yes -------------------------------------------------------------------------------------------------------------


def test_an_option_carries_what_it_changes_and_what_that_costs() -> None:
    found, _ = ask(resolved)
    best = found.options[0]
    assert {p.name: p.wanted for p in best.locked} == {"torch": "2.8.0", "torchvision": "0.23.0"}
    assert (best.requires.download_bytes, best.requires.disk_bytes) == (20, 34)
    assert found.notices == ()


def test_a_size_that_is_not_told_is_not_known() -> None:
    found, _ = ask(lambda q: Resolution("resolved", lock("torch==2.8.0", size=None)))
    assert found.options[0].requires.download_bytes is None


def test_few_questions_are_enough() -> None:
    """The best, the newest, and one from the PyTorch index."""
    _, asked = ask(resolved)
    assert [(torch_in(q), q.index) for q in asked] == [
        ("2.8.0", None),
        ("2.15.0", None),
        ("2.7.1", "https://download.pytorch.org/whl/cu128"),
    ]


def test_a_package_that_moves_is_a_step_with_its_reason() -> None:
    pin = Pin("private", "1.0", "torch==2.4.1", "torch 2.8.0")

    def resolver(question: Question) -> Resolution:
        return Resolution("resolved", lock("torch==2.8.0<2.4.1", "private==2.0<1.0"), (pin,))

    best = ask(resolver)[0].options[0]
    step = next(s for s in best.steps if s.package == "private")
    told = {"package": "private 1.0", "requirement": "torch==2.4.1", "found": "torch 2.8.0"}
    assert (step.action, step.current, step.wanted, step.why) == ("install", "1.0", "2.0", (Text("moved", told),))
    assert all("private==2.0" in command for command in (best.pip[-1], best.uv[-1]))


def test_an_extension_that_comes_anew_is_not_compiled_again() -> None:
    pin = Pin("xformers", "0.0.28", "torch==2.4.1", "torch 2.8.0")
    old = extension("xformers", "0.0.28", requires=("torch==2.4.1",))

    def resolver(question: Question) -> Resolution:
        return Resolution("resolved", lock("torch==2.8.0<2.4.1", "xformers==0.0.32<0.0.28"), (pin,))

    found, _ = ask(resolver, torch(), old)
    assert [s.action for s in found.options[0].steps if s.package == "xformers"] == ["install"]
    assert [u for u in found.unsolved if u.text.key == "needs-rebuild"] == []


def test_what_changes_fewer_other_packages_comes_first() -> None:
    """numpy has to change for 2.8.0, and for nothing else."""

    def resolver(question: Question) -> Resolution:
        return resolved(question, *(["numpy==2.0<1.26.4"] if torch_in(question) == "2.8.0" else []))

    found, _ = ask(resolver)
    assert upgrades(found)[0] != "2.8.0 True"
    assert "numpy" not in {p.name for p in found.options[0].locked}


def test_packages_of_torchs_own_family_do_not_count() -> None:
    family = ("nvidia-cublas-cu12==12.8<12.1", "triton==3.4.0<3.0.0")
    found, _ = ask(lambda q: resolved(q, *(family if torch_in(q) == "2.8.0" else ())))
    assert upgrades(found)[0] == "2.8.0 True"
    assert [r.key for r in found.options[0].risks] == ["risk-weights-only"]


def test_other_packages_that_change_are_told() -> None:
    best = ask(lambda q: resolved(q, "numpy==2.0<1.26.4", "new==1.0"))[0].options[0]
    assert Text("risk-others", {"count": "1", "packages": "numpy"}) in best.risks


# --- no --------------------------------------------------------------------------------------------------------------


def refusing(*releases: str, state: str = "conflict", detail: str = "because") -> Resolver:
    pin = Pin("private", "1.0", "torch==2.4.1", "torch 2.8.0")

    def resolver(question: Question) -> Resolution:
        if releases and torch_in(question) not in releases:
            return resolved(question)
        return Resolution(state, broken=(pin,) if state == "conflict" else (), detail=detail)  # type: ignore[arg-type]

    return resolver


@pytest.mark.parametrize("state", ["conflict", "absent", "swapped"])
def test_what_the_resolver_refuses_is_no_option_and_says_why(state: str) -> None:
    found, _ = ask(refusing("2.8.0", state=state, detail="torch 2.8.0+cpu"))
    assert "2.8.0 True" not in upgrades(found)
    assert upgrades(found)[0].endswith("True")
    row = next(r for r in found.rejected if r.option == Text("plain", {"text": "torch 2.8.0+cu128"}))
    why = Text(f"resolver-{state}", {"detail": "torch 2.8.0+cpu"})
    assert row.why == (Text("conflict-pins", {"pins": "private 1.0: torch==2.4.1"}) if state == "conflict" else why)


def test_a_package_that_forbids_every_build_is_named_with_what_would_help() -> None:
    found, asked = ask(refusing())
    assert len(asked) <= MOST_ASKED
    assert upgrades(found) == []
    told = {"package": "private 1.0", "requirement": "torch==2.4.1", "found": "torch 2.8.0"}
    assert Unsolved(Text("pinned", told)) in found.unsolved
    (row,) = (r for r in found.rejected if r.why.key == "conflict-pins")
    assert "torch 2.8.0+cu128" in str(row.option.values["text"])


def test_what_is_refused_is_not_offered_under_another_strategy() -> None:
    found, _ = ask(refusing("2.15.0"), strategy="latest")
    assert upgrades(found)[0].split()[0] == "2.14.1"


# --- no answer -------------------------------------------------------------------------------------------------------


def silent(*indexes: str | None) -> Resolver:
    return lambda q: Resolution("unreachable", detail="no route") if q.index in indexes else resolved(q)


def test_what_nobody_confirmed_stands_behind_what_was_confirmed() -> None:
    """A package wants torch<2.8: 2.7.1+cu128 on the PyTorch index would do without moving it, but that does not answer."""
    picky = Distribution("picky", "1.0", ("torch<2.8",))
    index = "https://download.pytorch.org/whl/cu128"

    def moving(question: Question) -> Resolution:
        return resolved(question, *([] if torch_in(question) == "2.7.1" else ["picky==2.0<1.0"]))

    assert upgrades(ask(moving, torch(), picky)[0])[0] == "2.7.1 False"
    found, _ = ask(lambda q: silent(index)(q) if q.index else moving(q), torch(), picky)
    assert upgrades(found)[0] == "2.8.0 True"
    assert found.notices == (Text("notice-unreachable", {"index": index, "cause": "no route"}),)


def test_who_had_no_way_out_has_none_where_nobody_answers() -> None:
    found, _ = ask(lambda q: Resolution("unreachable", detail="no route") if q.index else refusing()(q))
    assert upgrades(found) == []
    assert any("2.7.1" in str(r.option.values) for r in found.rejected if r.why.key == "conflict-pins")


def test_without_any_network_the_catalog_answers_and_says_so() -> None:
    indexes = {b.index for b in CATALOG.builds}
    found, asked = ask(silent(None, *indexes))
    assert upgrades(found) == ["2.8.0 True", "2.15.0 True", "2.7.1 False"]
    assert len(asked) == 3  # nobody waits for the same silence again
    assert Text("notice-unreachable", {"index": "PyPI", "cause": "no route"}) in found.notices
    assert "risk-unconfirmed" in [r.key for r in found.options[0].risks]


def test_who_did_not_ask_says_so_and_names_the_pins() -> None:
    found = plan(diagnosis_of(world(*WORLD, release="580.65.06")), CATALOG, PlanWish())
    assert found.notices == (Text("notice-not-asked"),)
    told = {"package": "private 1.0", "requirement": "torch==2.4.1", "found": "torch 2.8.0"}
    assert Text("risk-pinned", told) in found.options[0].risks


def test_another_python_is_told() -> None:
    diagnosis = diagnosis_of(world(*WORLD, release="580.65.06"))
    told = {"python": "3.12", "platform": "linux_x86_64"}
    assert plan(diagnosis, CATALOG, PlanWish(python_tag="cp312")).notices[0] == Text("notice-pretended", told)
    assert plan(diagnosis, CATALOG, PlanWish(python_tag="cp311")).notices[0].key == "notice-not-asked"


# --- nothing to ask --------------------------------------------------------------------------------------------------


def test_an_environment_that_is_fine_asks_nothing() -> None:
    found, asked = ask(resolved, on="H200")
    assert asked == []
    assert [o.kind for o in found.options] == ["none"]


def test_companions_that_are_out_of_step_are_asked_about_with_torch_held() -> None:
    _, asked = ask(resolved, torch(), vision("0.20.1", "torch==2.5.1"), on="H200")
    assert asked == [Question(("torch==2.4.1", "torchvision==0.19.1"))]
