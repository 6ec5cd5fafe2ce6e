"""A plan goes through its document and back, and is refused where it does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from archfit.errors import UsageError
from archfit.model import Distribution, Environment, Plan, Text
from archfit.planner import plan_from_document
from archfit.report.json_v1 import plan_document
from archfit.report.messages import Language, Messages
from worlds import extension, plan_of, torch, vision, world

ENV = world(torch(), vision(), extension(), release="550.54.14")


def document(env: Environment = ENV, language: Language = "en") -> Any:
    return json.loads(json.dumps(plan_document(plan_of(env), Messages(language))))


def spoken(plan: Plan, messages: Messages) -> Plan:
    """The plan as its document keeps it: every text is a plain sentence, and only the options are there."""

    def plain(text: Text) -> Text:
        return Text("plain", {"text": messages.text(text)})

    options = tuple(
        replace(
            o,
            summary=plain(o.summary),
            risks=tuple(map(plain, o.risks)),
            steps=tuple(replace(s, why=tuple(map(plain, s.why))) for s in o.steps),
            extensions=tuple(replace(w, why=tuple(map(plain, w.why))) for w in o.extensions),
        )
        for o in plan.options
    )
    return Plan(plan.environment, options, (), ())


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("env", [ENV, world(release="580.65.06"), world(on="H200", release="580.65.06")])
def test_there_and_back(env: Environment, language: Language) -> None:
    read = plan_from_document(document(env, language), env, "plan.json")
    assert read == spoken(plan_of(env), Messages(language))


STALE = [
    (world(torch("2.8.0"), release="550.54.14"), "2.8.0"),
    (world(torch("2.4.1+cu124"), release="550.54.14"), "2.4.1+cu124"),
    (world(Distribution("numpy", "2.0"), release="550.54.14"), None),
]


@pytest.mark.parametrize(("env", "found"), STALE)
def test_a_plan_for_another_torch_is_refused(env: Environment, found: str | None) -> None:
    with pytest.raises(UsageError) as error:
        plan_from_document(document(), env, "plan.json")
    assert error.value.key == "plan-stale"
    assert error.value.values == {"planned": "2.4.1", "found": found, "target": env.root}


def change(path: str, value: object) -> Callable[[Any], Any]:
    """The document with one value replaced: ``options.0.kind``."""

    def changed(whole: Any) -> Any:
        *way, last = (int(word) if word.isdigit() else word for word in path.split("."))
        place = whole
        for step in way:
            place = place[step]
        place[last] = value
        return whole

    return changed


def without(key: str) -> Callable[[Any], Any]:
    return lambda whole: {name: value for name, value in whole.items() if name != key}


GARBAGE: list[Callable[[Any], Any]] = [
    lambda _: None,
    lambda _: [],
    lambda _: "archfit.plan/1",
    lambda _: {},
    lambda _: {"schema": "archfit.plan/1"},
    change("schema", "archfit.doctor/1"),
    change("schema", "archfit.plan/2"),
    without("torch"),
    without("options"),
    change("torch", None),
    change("options", None),
    change("options", []),
    change("options", 7),
    change("options", [7]),
    change("options.0", {}),
    change("options.0.steps", [{}]),
    change("options.0.steps", None),
    change("options.0.requires", None),
    change("options.0.requires.driver", "new"),
    change("options.0.requires.driver", 570),
    change("options.0.torch", "2.8.0"),
    change("options.0.commands", None),
]


@pytest.mark.parametrize("spoil", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_plan_is_refused(spoil: Callable[[Any], Any]) -> None:
    with pytest.raises(UsageError) as error:
        plan_from_document(spoil(document()), ENV, "plan.json")
    assert (error.value.key, error.value.values["path"]) == ("plan-unreadable", "plan.json")
