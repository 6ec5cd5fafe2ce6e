"""What puzzled readers: commands that are one of several, packages that are compiled, words that nobody had explained."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from archfit.logs import explain
from archfit.model import Evidence, Known, LockedPackage, Plan, Proof, Verification
from archfit.report.alternatives import Alternative, alternatives_of, archfit_does, as_shell, by_hand_of
from archfit.report.doctor_screen import show_diagnosis
from archfit.report.explanation import plain_explanation
from archfit.report.html import Page, render_page
from archfit.report.markdown import render_diagnosis
from archfit.report.messages import Language, Messages
from archfit.report.plan_screen import show_changes, show_plan
from archfit.report.proof_screen import show_verification
from archfit.report.record import render_plan
from archfit.report.screen import Screen
from archfit.report.ways_screen import way_title
from worlds import audio, diagnosis_of, extension, interpreter, plan_of, torch, vision, world

EN = Messages("en")
STORY = world(torch(), vision(), extension(), release="580.65.06")
PLAN = plan_of(STORY)
MIXED = world(torch(), vision("0.20.1", "torch==2.5.1"), audio(), extension(), on=("V100", "RTX 5090"))


def on_screen(draw: Callable[[Screen], None], language: Language = "en") -> str:
    console = Console(file=io.StringIO(), width=200, no_color=True, highlight=False, markup=False, emoji=False)
    draw(Screen(Messages(language), console, console))
    return console.file.getvalue()  # type: ignore[attr-defined]


def page_of(plan: Plan, language: Language = "en") -> str:
    page = Page("plan", diagnosis=diagnosis_of(plan.environment), plan=plan)
    return render_page(page, Messages(language), datetime(2026, 11, 25, tzinfo=UTC))


# --- either ... or ---------------------------------------------------------------------------------------------------


def test_what_archfit_does_stands_first_and_the_rest_are_alternatives() -> None:
    found = alternatives_of(EN, PLAN.options[0], PLAN)
    assert [way.label for way in found] == [
        "either archfit does it; archfit rollback undoes it:",
        "or by hand, with pip:",
        "or by hand, with uv:",
    ]
    assert found[0].commands == (STORY.command("upgrade"),)


def test_only_the_first_option_is_what_archfit_does() -> None:
    assert [option.kind for option in PLAN.options if archfit_does(PLAN, option)] == ["upgrade"]
    assert [way.label.split()[0] for way in alternatives_of(EN, PLAN.options[1], PLAN)] == ["either", "or"]


def test_one_way_is_no_choice() -> None:
    cpu = PLAN.options[-1]
    assert (cpu.kind, [way.label for way in alternatives_of(EN, cpu, PLAN)]) == ("cpu", [""])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_python_that_archfit_does_not_change_has_only_ways_by_hand(language: Language) -> None:
    base = replace(interpreter(), is_virtual=False)
    plan = plan_of(replace(STORY, interpreter=Known(base, "/usr/bin/python3")))
    assert not archfit_does(plan, plan.options[0])
    assert "archfit upgrade" not in "\n".join(as_shell(alternatives_of(Messages(language), plan.options[0], plan)))


@pytest.mark.parametrize(("language", "words"), [("en", ("either", "or")), ("zh", ("可以", "或者"))])
def test_every_report_marks_the_alternatives(language: Language, words: tuple[str, str]) -> None:
    messages = Messages(language)
    shown = [
        on_screen(lambda s: show_plan(s, PLAN), language),
        on_screen(lambda s: show_diagnosis(s, diagnosis_of(STORY), plan=PLAN), language),
        render_plan(messages, PLAN),
        render_diagnosis(messages, diagnosis_of(STORY), PLAN),
    ]
    assert [all(f"# {word}" in text for word in words) for text in shown] == [True] * 4
    assert all(f">{word}" in page_of(PLAN, language) for word in words)


def test_the_next_command_is_still_the_last_line() -> None:
    said = on_screen(lambda s: show_diagnosis(s, diagnosis_of(STORY), plan=PLAN))
    assert said.splitlines()[-1] == f"Next: {STORY.command('upgrade')}"


# --- compiled anew ---------------------------------------------------------------------------------------------------


def test_what_archfit_compiles_is_no_unsolved_matter() -> None:
    shown = (on_screen(lambda s: show_plan(s, PLAN)), render_plan(EN, PLAN), page_of(PLAN))
    assert ["2.2.0, compiled anew for 12.0" in text for text in shown] == [True] * 3
    assert [EN.ui("unsolved") in text for text in shown] == [False] * 3
    assert "2.2.0 -> mmcv 2.2.0" not in "".join(shown)


def test_what_stays_unsolved_is_told() -> None:
    plan = plan_of(world(torch(), vision(), on=("GTX 1080 Ti", "RTX 5090"), release="580.65.06"))
    assert all(EN.ui("unsolved") in text for text in (on_screen(lambda s: show_plan(s, plan)), render_plan(EN, plan)))


def test_who_compiles_is_said() -> None:
    way = next(way for way in PLAN.options[0].extensions if way.package == "mmcv")
    assert way_title(EN, PLAN, way) == "mmcv 2.2.0, compiled anew for 12.0 (archfit upgrade does it)"
    assert [by_hand.label for by_hand in by_hand_of(EN, PLAN, way)] == ["or by hand, with pip:", "or by hand, with uv:"]


def test_what_is_used_in_place_is_left_to_its_owner() -> None:
    env = PLAN.environment
    rows = (
        replace(d, libraries=tuple(replace(lib, path=f"/home/you/{lib.path}") for lib in d.libraries))
        if d.name == "mmcv"
        else d
        for d in env.distributions
    )
    plan = replace(PLAN, environment=replace(env, distributions=tuple(rows)))
    way = next(way for way in plan.options[0].extensions if way.package == "mmcv")
    assert way_title(EN, plan, way) == "mmcv 2.2.0, compiled anew for 12.0"


def test_a_table_of_changes_says_what_was_compiled() -> None:
    change = LockedPackage("mmcv", "2.2.0", "2.2.0", 5_000_000, "a" * 64, compiled_for="12.0")
    assert "2.2.0, compiled anew for 12.0" in on_screen(lambda s: show_changes(s, [change]))


# --- one next step, explained words ----------------------------------------------------------------------------------


def test_no_other_finding_offers_another_command_for_the_same() -> None:
    diagnosis = diagnosis_of(MIXED)
    offered = [diagnosis.fix_beside(f) for f in diagnosis.findings if f is not diagnosis.primary]
    assert [fix for fix in offered if fix.startswith(("archfit plan", "archfit upgrade"))] == []
    texts = (render_diagnosis(EN, diagnosis), on_screen(lambda s: show_diagnosis(s, diagnosis)))
    assert [text.count("archfit plan") + text.count("archfit upgrade") for text in texts] == [1, 1]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("verbose", [False, True])
def test_sass_and_ptx_are_explained_once(language: Language, verbose: bool) -> None:
    diagnosis, legend = diagnosis_of(MIXED), Messages(language).ui("code-words")
    assert on_screen(lambda s: show_diagnosis(s, diagnosis, verbose=verbose), language).count(legend) == 1
    assert render_diagnosis(Messages(language), diagnosis).count(legend) == 1


def test_both_spellings_of_a_gpu_are_said_to_be_one() -> None:
    both = "compute capability 12.0 = sm_120"
    diagnosis = diagnosis_of(STORY)
    shown = (
        on_screen(lambda s: show_diagnosis(s, diagnosis)),
        on_screen(lambda s: show_plan(s, PLAN)),
        render_diagnosis(EN, diagnosis),
        render_plan(EN, PLAN),
    )
    assert [text.count(both) > 0 for text in shown] == [True] * 4
    assert "12.0 = sm_120" in page_of(PLAN)


def test_what_is_at_hand_is_not_asked_for() -> None:
    alone = explain("RuntimeError: CUDA error: no kernel image is available for execution on the device\n")
    joined = replace(alone, joined=STORY.root)
    surer = EN.ui("explain-surer-architecture")
    assert [surer in plain_explanation(EN, explanation) for explanation in (alone, joined)] == [True, False]


def test_what_passed_with_a_finding_is_marked() -> None:
    finding = next(f for f in diagnosis_of(STORY).findings)
    rows = (
        Evidence("static:torch", Proof.PASSED, measured="2.8.0"),
        Evidence("static:x", Proof.PASSED, finding=finding),
    )
    said = on_screen(lambda s: show_verification(s, Verification("static", rows))).splitlines()
    assert [line[0] for line in said[:2]] == ["✓", "!"]


def test_a_label_is_one_line_of_a_shell_however_narrow_the_terminal() -> None:
    console = Console(file=io.StringIO(), width=40, no_color=True, highlight=False, markup=False, emoji=False)
    Screen(EN, console, console).alternatives([Alternative("either " + "by hand, with pip, " * 5, ("true",))])
    assert [line[:5] for line in console.file.getvalue().splitlines()] == ["   # ", "   $ "]  # type: ignore[attr-defined]
