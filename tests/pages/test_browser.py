"""The pages in a real browser: what a reader clicks, types, folds, copies, prints; on a phone, in the dark, by keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from browser import Opened, chromium, find_chromium, open_file
from builds import many
from reports import EXPLANATION, SEED, SEED_550, pages

from archfit import api
from archfit.arch import CudaVersion
from archfit.matrix import Filter, Matrix, answers, choose
from archfit.model import DriverRelease
from archfit.planner import PlanWish, plan
from archfit.report.html import Page, render_page
from archfit.report.matrix_page import render_matrix_page
from archfit.report.matrix_screen import say_answer
from archfit.report.messages import Language, Messages
from worlds import CATALOG, diagnosis_of

pytestmark = pytest.mark.browser
pytest.importorskip("playwright", reason="playwright is not installed; see ./run pages-test")
if find_chromium() is None:
    pytest.skip("no Chromium on this machine; see ./run pages-test --get-browser", allow_module_level=True)

WHEN = datetime(2026, 11, 25, 11, 0, tzinfo=UTC)
PAGES = pages()
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
MANY = many(5000)
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Language], Path]:
    """Every page as a file, written when first asked for."""
    folder = tmp_path_factory.mktemp("pages")

    def written(name: str, language: Language = "en") -> Path:
        path = folder / f"{name}.{language}.html"
        if not path.exists():
            path.write_text(text_of(name, Messages(language)), "utf-8")
        return path

    return written


def text_of(name: str, messages: Messages) -> str:
    if name == "many":
        return render_matrix_page(MANY, messages, WHEN)
    if name == "matrix":
        return render_matrix_page(api.matrix(), messages, WHEN)
    if name.startswith("seed"):
        diagnosis = diagnosis_of(SEED_550 if name == "seed-550" else SEED)
        return render_page(
            Page("doctor", diagnosis=diagnosis, plan=plan(diagnosis, CATALOG, PlanWish())), messages, WHEN
        )
    return render_page(PAGES[name], messages, WHEN)


@pytest.fixture
def open_page(browser: Any, files: Callable[[str, Language], Path]) -> Iterator[Open]:
    """Open a page; when the test ends, it must have asked for nothing and complained of nothing."""
    opened: list[Opened] = []

    def open_(name: str, language: Language = "en", **more: Any) -> Any:
        opened.append(open_file(browser, files(name, language), **more))
        return opened[-1].page

    yield open_
    faults = [fault for each in opened for fault in each.faults]
    for each in opened:
        each.page.context.close()
    assert faults == []


def seen(page: Any, selector: str = "") -> Any:
    """Something in the sheet of the language that is shown."""
    return page.locator(f"[data-sheet]:not([hidden]) {selector}".strip())


EVERY = [*PAGES, "seed", "seed-550", "matrix"]


# --- every page ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_on_a_phone_nothing_sticks_out(open_page: Open, name: str) -> None:
    page = open_page(name, **PHONE)
    for language in ("en", "zh"):
        seen(page, f"[data-speak={language}]").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("name", EVERY)
def test_the_language_switch_shows_the_other_sheet(open_page: Open, name: str) -> None:
    page = open_page(name)
    english = page.title()
    folds = seen(page, "details:not([open]) > summary")
    if folds.count():
        folds.first.click()
    opened = seen(page, "details[open]").count()
    seen(page, "[data-speak=zh]").click()
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert page.title() != english
    assert seen(page, "[data-speak=zh]").get_attribute("aria-pressed") == "true"
    assert page.evaluate("document.activeElement.dataset.speak") == "zh"
    assert seen(page, "details[open]").count() == opened
    page.reload()
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"  # the reader's choice is kept


def test_a_chinese_run_opens_in_chinese(open_page: Open) -> None:
    page = open_page("doctor", "zh")
    assert seen(page, "h1").inner_text() == "/env 的诊断"


def background(page: Any) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_dark_follows_the_system_and_the_switch(open_page: Open) -> None:
    light, dark = open_page("doctor", color_scheme="light"), open_page("doctor", color_scheme="dark")
    day, night = background(light), background(dark)
    assert sum(map(int, day[4:-1].split(","))) > 600 > 150 > sum(map(int, night[4:-1].split(",")))
    switch = seen(light, "[data-theme-switch]")
    assert switch.get_attribute("aria-pressed") == "false"
    switch.click()
    assert (background(light), switch.get_attribute("aria-pressed")) == (night, "true")
    light.reload()
    assert background(light) == night
    seen(light, "[data-theme-switch]").click()
    assert background(light) == day


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", EVERY)
def test_axe_finds_no_serious_fault(open_page: Open, name: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(name, color_scheme=scheme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
    if name == "matrix":
        seen(page, "[name=gpu]").fill("RTX 5090")
    for language in ("en", "zh"):
        seen(page, f"[data-speak={language}]").click()
        found = Axe().run(page).response["violations"]
        told = [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in found if v["impact"] in ("serious", "critical")]
        assert told == []


def test_axe_would_find_a_fault(open_page: Open) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = open_page("doctor", bypass_csp=True)
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert "button-name" in [v["id"] for v in Axe().run(page).response["violations"]]


@pytest.mark.parametrize("name", ["doctor", "matrix"])
def test_on_paper_everything_is_unfolded_and_dark_is_light(open_page: Open, name: str) -> None:
    page = open_page(name, color_scheme="dark")
    folded = page.locator("details:not([open])").count()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert background(page) == "rgb(255, 255, 255)"
    assert not seen(page, ".bar").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == folded
    assert page.pdf()[:5] == b"%PDF-"


# --- the report ------------------------------------------------------------------------------------------------------


def test_copying_a_command(open_page: Open) -> None:
    page = open_page("seed", permissions=["clipboard-read", "clipboard-write"])
    button = seen(page, ".card [data-copy]").first
    button.click()
    button.get_by_text("Copied").wait_for()
    told = page.evaluate("navigator.clipboard.readText()")
    assert told == "archfit upgrade /env --gpu 'GeForce RTX 5090' --driver 580.65.06"
    button.get_by_text("Copy", exact=True).wait_for()


def test_copying_where_the_clipboard_is_forbidden_selects_the_command(open_page: Open) -> None:
    page = open_page("seed")
    page.evaluate("navigator.clipboard.writeText = async () => { throw new Error('no'); }; 0")
    seen(page, ".card [data-copy]").first.click()
    page.wait_for_function("getSelection().toString().startsWith('archfit upgrade')")


@pytest.mark.parametrize("name", ["doctor", "scan"])
def test_the_words_are_explained_to_who_has_only_a_keyboard(open_page: Open, name: str) -> None:
    page = open_page(name)
    assert not seen(page, ".words dd").first.is_visible()
    seen(page, ".words > summary").focus()
    page.keyboard.press("Enter")
    assert [word.split()[0] for word in seen(page, ".words dt").all_inner_texts()] == [
        "sm_120",
        "SASS,",
        "PTX,",
        "Code",
    ]
    assert seen(page, ".words dd").last.is_visible()


def test_evidence_unfolds_by_keyboard(open_page: Open) -> None:
    page = open_page("seed")
    summary = seen(page, "section:has(h2:text('Also found')) summary").first
    evidence = seen(page, "section:has(h2:text('Also found')) details").first.locator("ul.evidence")
    assert not evidence.is_visible()
    summary.focus()
    page.keyboard.press("Enter")
    assert evidence.is_visible()
    assert "sm_120" in evidence.inner_text()


def test_a_heat_map_tells_the_containers_on_hovering_tapping_and_by_arrow_keys(open_page: Open) -> None:
    page = open_page("seed")
    table = seen(page, "details table.heat")
    cell = table.locator("tr", has_text="libtorch_cuda.so").locator("td").nth(14)
    cell.hover()
    tip = page.locator("#tip")
    assert tip.inner_text().startswith("torch/lib/libtorch_cuda.so · sm_120")
    assert "none 2" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    first = table.locator("td").first
    first.focus()
    for key, column in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("ArrowLeft", 1), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.cellIndex") == column
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.parentElement.rowIndex") == 2
    assert tip.is_visible()
    assert seen(page, "details table.heat td[tabindex='0']").count() == 1

    phone = open_page("seed", **PHONE)
    here = seen(phone, "table.heat").first.locator("td").nth(14)
    assert here.evaluate("cell => cell.getBoundingClientRect().right") <= 360  # the GPU of the machine is in sight
    here.tap()
    assert "sm_120" in phone.locator("#tip").inner_text()


def test_hostile_names_run_nothing(browser: Any, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>\"'"
    quote = replace(EXPLANATION.causes[0].evidence[0], text=evil)
    causes = (replace(EXPLANATION.causes[0], evidence=(quote,)),)
    made = Page("explain", explanation=replace(EXPLANATION, causes=causes))
    rows = tuple(replace(r, package=evil, source=evil, index=evil) for r in MANY.rows[:20])
    texts = {
        "explain": render_page(made, Messages("en"), WHEN),
        "matrix": render_matrix_page(replace(MANY, rows=rows), Messages("en"), WHEN),
    }
    for name, text in texts.items():
        path = tmp_path / f"{name}.html"
        path.write_text(text, "utf-8")
        opened = open_file(browser, path)
        if name == "matrix":
            seen(opened.page, "[data-row]").first.click()
        assert evil in opened.page.inner_text("body")
        assert opened.faults == []
        assert opened.page.locator("img").count() == 0
        opened.page.context.close()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_stranger_sees_the_fix_without_scrolling(open_page: Open, language: Language) -> None:
    """On a laptop the cause and the command stand on the first screen; with an old driver both steps do, in order."""
    page = open_page("seed", language, viewport={"width": 1280, "height": 900})
    command = seen(page, ".card pre").first
    assert command.inner_text() == "archfit upgrade /env --gpu 'GeForce RTX 5090' --driver 580.65.06"
    assert command.bounding_box()["y"] < 800
    page = open_page("seed-550", language, viewport={"width": 1280, "height": 900})
    steps = [seen(page, "ol.steps > li").nth(n).locator("pre").first for n in range(2)]
    assert "nvidia-driver-580-open" in steps[0].inner_text()
    assert steps[1].inner_text().startswith("archfit upgrade /env")
    assert steps[1].bounding_box()["y"] < 900


# --- the matrix ------------------------------------------------------------------------------------------------------


def shown(page: Any) -> int:
    """How many builds the page says it shows."""
    text = seen(page, ".count").inner_text()
    return int(text.split(" ")[0].replace(",", "")) if text[0].isdigit() else 0


def test_five_thousand_builds_are_few_rows_and_all_can_be_reached(open_page: Open) -> None:
    page = open_page("many")
    assert shown(page) == len(choose(MANY, Filter(runs=True)).rows)
    seen(page, "[name=runs]").uncheck()
    assert shown(page) == 5000
    rows = seen(page, "tbody tr:not(.filler)")
    assert rows.count() < 80
    assert seen(page, ".matrix").get_attribute("aria-rowcount") == "5001"
    seen(page, ".grid").evaluate("box => { box.scrollTop = box.scrollHeight; }")
    last = MANY.rows[-1]
    page.locator('[aria-rowindex="5001"]').wait_for(state="attached")
    assert rows.last.locator("th").inner_text().startswith(f"{last.package} {last.version}")


FILTERS = [
    ("", Filter(), ()),
    ("gpu=RTX+5090", Filter(), ("RTX 5090",)),
    ("gpu=sm_70", Filter(), ("sm_70",)),
    ("gpu=12.0,+V100", Filter(), ("12.0", "V100")),
    ("q=package-07", Filter(("package-07",)), ()),
    ("q=package-07+package-31", Filter(("package-07", "package-31")), ()),
    ("cuda=12.8", Filter(cuda=CudaVersion(12, 8)), ()),
    ("driver=535.54.03", Filter(driver=DriverRelease.parse("535.54.03")), ()),
    ("driver=550.54.14&gpu=RTX+5090", Filter(driver=DriverRelease.parse("550.54.14")), ("RTX 5090",)),
    ("driver=590.44.01&gpu=V100", Filter(driver=DriverRelease.parse("590.44.01")), ("V100",)),
    ("driver=570.86.16&gpu=RTX+5070", Filter(driver=DriverRelease.parse("570.86.16")), ("RTX 5070",)),
    ("python=3.8", Filter(python="3.8"), ()),
    ("python=3.13", Filter(python="3.13"), ()),
    ("platform=win_amd64", Filter(platform="win_amd64"), ()),
    (
        "q=package-10&gpu=RTX+4090&cuda=13.0&driver=580.65.06&python=3.11&platform=linux_aarch64",
        Filter(("package-10",), CudaVersion(13, 0), DriverRelease.parse("580.65.06"), "3.11", "linux_aarch64"),
        ("RTX 4090",),
    ),
]


def on(matrix: Matrix, whole: Matrix) -> Matrix:
    """The rows of `whole`, judged for the columns of `matrix`."""
    places = [[c.capability for c in whole.columns].index(c.capability) for c in matrix.columns]
    rows = tuple(
        replace(
            row,
            verdicts=tuple(row.verdicts[n] for n in places),
            drivers=tuple(
                max(d, knows) if (d := row.drivers[n]) and (knows := c.driver_on(row.platform)) else d
                for n, c in zip(places, matrix.columns, strict=True)
            ),
        )
        for row in whole.rows
    )
    return replace(matrix, rows=rows)


@pytest.mark.parametrize("everything", [False, True], ids=["runs", "all"])
def test_the_page_chooses_the_same_builds_as_the_command(open_page: Open, everything: bool) -> None:
    """Two programs, in two languages, must agree on every filter; the address alone says what is shown."""
    page = open_page("many")
    told, expected = {}, {}
    for hash_, wanted, gpus in FILTERS:
        page.goto(page.url.partition("#")[0] + f"#{hash_}{'&all=1' if everything else ''}&")
        whole = on(api.matrix(gpus), MANY) if gpus else MANY
        told[hash_], expected[hash_] = shown(page), len(choose(whole, replace(wanted, runs=not everything)).rows)
    assert told == expected


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    "gpus", [("RTX 5090",), ("V100",), ("GTX 1080 Ti",), ("V100", "RTX 5090"), ("GTX 1080 Ti", "RTX 5090"), ("GB10",)]
)
def test_the_page_answers_in_the_same_words_as_the_command(
    open_page: Open, gpus: tuple[str, ...], language: Language
) -> None:
    messages = Messages(language)
    matrix = api.matrix(gpus)
    chosen = choose(matrix, Filter(("torch",), runs=True))
    page = open_page("matrix", language, hash_=f"#q=torch&gpu={','.join(gpus)}")
    told = seen(page, ".answers p > span:last-child").all_inner_texts()
    expected = [say_answer(messages, answer, matrix) for answer in answers(chosen, matrix, ["torch"])]
    assert told[-len(expected) :] == expected


def test_typing_filters_and_the_address_keeps_it(open_page: Open) -> None:
    page = open_page("matrix")
    everything = shown(page)
    seen(page, "[name=q]").fill("torch 2.8.0")
    seen(page, "[name=gpu]").fill("rtx5090")
    seen(page, "[name=python]").select_option("3.11")
    narrowed = shown(page)
    assert 0 < narrowed < everything
    assert page.evaluate("location.hash") == "#q=torch+2.8.0&gpu=rtx5090&python=3.11"
    assert seen(page, "thead th.here").inner_text() == "GeForce RTX 5090"
    assert set(seen(page, "tbody td[class^=v-]").all_inner_texts()) == {"native"}
    page.reload()
    assert (shown(page), seen(page, "[name=gpu]").input_value()) == (narrowed, "rtx5090")
    seen(page, "[data-speak=zh]").click()
    assert seen(page, "[name=q]").input_value() == "torch 2.8.0"
    seen(page, "[data-reset]").click()
    assert (page.evaluate("location.hash"), seen(page, "[name=q]").input_value()) == ("", "")


@pytest.mark.parametrize(
    ("hash_", "said"),
    [
        (
            "#gpu=RTX 5090&driver=550.54.14",
            "Driver 550.54.14 does not know GeForce RTX 5090: it takes 570.86.16 or newer",
        ),
        ("#gpu=GTX 1080 Ti&driver=590.44.01", "R580 is the last branch that does."),
        ("#gpu=V100, RTX 5090", "On Linux no single driver installation serves all of these GPUs."),
        ("#gpu=RTX 9090", "No GPU is known by the name RTX 9090"),
        ("#gpu=RTX 4000", "or several are"),
        ("#driver=abc", "abc is no driver release"),
        ("#q=torch&gpu=RTX 5090&cuda=12.4", "No torch that fits runs on GeForce RTX 5090."),
    ],
)
def test_the_page_says_what_is_in_the_way(open_page: Open, hash_: str, said: str) -> None:
    assert said in seen(open_page("matrix", hash_=hash_), ".answers").inner_text()


def test_a_build_in_full_with_its_command(open_page: Open) -> None:
    page = open_page(
        "matrix",
        hash_="#q=torch+2.8.0&gpu=RTX+5090&cuda=12.8&platform=linux_x86_64&python=3.11",
        permissions=["clipboard-read", "clipboard-write"],
    )
    button = seen(page, "[data-row]").first
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.get_by_role("heading").inner_text() == "torch 2.8.0"
    assert "12.0 Blackwell" in dialog.locator("tr", has_text="12.0").inner_text()
    dialog.locator("[data-copy]").click()
    dialog.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "pip install torch==2.8.0"
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("'row' in document.activeElement.dataset")


def test_the_matrix_prints_what_is_chosen(open_page: Open) -> None:
    page = open_page("many", hash_="#q=package-07")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert seen(page, "tbody tr").count() == shown(page)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert seen(page, "tbody tr.filler").count() == 2


def test_data_that_came_with_the_page_is_what_the_catalog_says(open_page: Open) -> None:
    page = open_page("matrix")
    data = json.loads(page.locator("#data").inner_text())
    assert len(data["rows"]) == len(api.matrix().rows)
