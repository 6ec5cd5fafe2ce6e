"""The sources of extensions that nobody knows are read while the resolver is asked, and never waited for."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from archfit import api
from archfit.api import planning
from archfit.buildscript import BuildScript, read_build_files
from archfit.errors import ObserveError
from archfit.model import Plan, Unknown
from archfit.planner import PlanWish
from archfit.scan import look
from worlds import diagnosis_of, extension, torch, vision, world

LISTED = "extra = ['-gencode=arch=compute_80,code=sm_80']\n"


@pytest.fixture(autouse=True)
def empty_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", tmp_path.as_uri())
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def planned(name: str) -> Plan:
    env = world(torch(), vision(), extension(name), interpreter=Unknown("not asked"))
    return api.make_plan(diagnosis_of(env), PlanWish(python_tag="cp311", platform="linux_x86_64"), ask=True)


def reasons(plan: Plan, name: str) -> set[str]:
    """All that is said of a package, in every option."""
    return {text.key for option in plan.options for way in option.extensions if way.package == name for text in way.why}


def test_what_they_say_is_in_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def read(requirement: str, most_bytes: int) -> BuildScript | None:
        asked.append(requirement)
        return read_build_files("nobody-knows-it", "2.2.0", {"setup.py": LISTED}, sources=1)

    monkeypatch.setattr(look, "read_source", read)
    said = reasons(planned("nobody-knows-it"), "nobody-knows-it")
    assert {"way-fixed-append", "way-seen"} <= said
    assert asked == ["nobody-knows-it==2.2.0"]


@pytest.mark.parametrize("problem", [ObserveError("index-unreachable", url="-", cause="-"), OSError("cut")])
def test_sources_that_cannot_be_read_leave_the_advice(problem: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(requirement: str, most_bytes: int) -> BuildScript | None:
        raise problem

    monkeypatch.setattr(look, "read_source", read)
    assert "way-unknown" in reasons(planned("nobody-knows-it"), "nobody-knows-it")


def test_a_slow_server_holds_no_plan_up(monkeypatch: pytest.MonkeyPatch) -> None:
    never = Event()
    monkeypatch.setattr(planning, "_SOURCE_GRACE_S", 0)
    monkeypatch.setattr(look, "read_source", lambda requirement, most_bytes: never.wait() and None)
    assert "way-unknown" in reasons(planned("nobody-knows-it"), "nobody-knows-it")
    never.set()


def test_nothing_is_read_of_what_is_known_or_where_nothing_is_to_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(look, "read_source", lambda requirement, most_bytes: asked.append(requirement))
    planned("mmcv")
    fine = world(torch(), vision(), extension("nobody-knows-it"), on="RTX 4090", release="550.54.14")
    assert api.make_plan(diagnosis_of(fine), PlanWish(), ask=True).options[0].kind == "none"
    assert asked == []
