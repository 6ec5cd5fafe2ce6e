"""What pages say, whole and in both languages; that nothing in them comes from outside or gets out of its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from reports import EXPLANATION, SEED, SEED_550, WHEN, pages

from archfit.model import Distribution, Finding, Severity
from archfit.planner import PlanWish, plan
from archfit.report.html import Page, render_page
from archfit.report.messages import Language, Messages
from worlds import CATALOG, diagnosis_of, library, world

TEMPLATES = Path(__file__).parents[2] / "src" / "archfit" / "report" / "templates"
CLI = TEMPLATES.parents[1] / "cli"
LANGUAGES: tuple[Language, ...] = ("en", "zh")
PAGES = pages()


def page(name: str, language: Language = "en") -> str:
    return render_page(PAGES[name], Messages(language), WHEN)


def sheet(text: str, language: str) -> str:
    """What a page holds in one language."""
    parts = re.split(r'(?=<div data-sheet=")|(?=<div id="tip")', text)
    return next(part for part in parts if part.startswith(f'<div data-sheet="{language}"'))


def words(text: str) -> str:
    """What a reader sees of some HTML, without the tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_whole(golden: Callable[[str, str], None], name: str, language: Language) -> None:
    golden(f"page-{name}.{language}.html", sheet(page(name), language).replace(" hidden>", ">", 1))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_in_the_language_of_the_run_and_holds_both(name: str) -> None:
    english, chinese = page(name, "en"), page(name, "zh")
    assert [sheet(english, each) for each in LANGUAGES] == [
        sheet(chinese, each).replace(" hidden>", ">", 1) if each == "en" else hidden(sheet(chinese, each))
        for each in LANGUAGES
    ]
    assert '<html lang="en" data-language="en">' in english
    assert '<html lang="zh-Hans" data-language="zh">' in chinese


def hidden(text: str) -> str:
    return text.replace('lang="zh-Hans">', 'lang="zh-Hans" hidden>', 1)


class Tags(HTMLParser):
    """The tags of a page with their attributes, and whether each that was opened was closed."""

    VOID = frozenset({"meta", "link", "br", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_file_that_loads_nothing(name: str) -> None:
    text = page(name)
    found = Tags(text)
    assert found.open == []
    loading = [(tag, key) for tag, attributes in found.tags for key in attributes if key in ("src", "action", "srcset")]
    assert loading == []
    links = [attributes.get("href") or "" for tag, attributes in found.tags if tag in ("a", "link")]
    assert {link for link in links if not link.startswith(("#", "data:,"))} == set()
    assert "@import" not in text
    assert "url(" not in text


@pytest.mark.parametrize("name", PAGES)
def test_ids_are_there_once_and_what_names_them_finds_them(name: str) -> None:
    tags = Tags(page(name)).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert sorted(ids, key=str) == sorted(set(ids), key=str)
    named = {attributes["aria-labelledby"] for _, attributes in tags if "aria-labelledby" in attributes}
    named |= {(attributes["href"] or "")[1:] for tag, attributes in tags if tag == "a"}
    assert named <= set(ids)


# --- hostile names ---------------------------------------------------------------------------------------------------

EVIL = "x</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{7*7}}{% raw %}"


def test_hostile_names_are_text() -> None:
    from archfit.model import Known

    code = library("evil/_C.so", "libpartial.so")
    bad = replace(code, path=f"evil/{EVIL}.so")
    env = world(Distribution(EVIL, EVIL, libraries=(bad,)), on="RTX 5090")
    assert isinstance(env.interpreter, Known)
    env = replace(
        env,
        root=Path(f"/{EVIL}"),
        interpreter=replace(env.interpreter, value=replace(env.interpreter.value, version=EVIL)),
    )
    finding = Finding(
        "torch-missing", Severity.ERROR, EVIL, {"python": EVIL, "target": EVIL}, fix=f"archfit plan '{EVIL}'"
    )
    diagnosis = replace(diagnosis_of(env), primary=finding)
    quote = replace(EXPLANATION.causes[0].evidence[0], text=EVIL)
    cause = replace(EXPLANATION.causes[0], evidence=(quote,))
    for made in (
        Page("doctor", diagnosis=diagnosis),
        Page("explain", explanation=replace(EXPLANATION, causes=(cause,))),
    ):
        text = render_page(made, Messages("en"), WHEN)
        assert [tag for tag, _ in Tags(text).tags if tag in ("script", "img")] == ["script"]
        assert "49" not in re.findall(r"\{\{7\*7\}\}|(?<=&#39;&amp;)49", text)
        assert "{{7*7}}{% raw %}" in text


# --- a stranger finds the fix ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_fix_for_the_seed_situation_stands_on_the_page(language: Language) -> None:
    made = Page("doctor", diagnosis=diagnosis_of(SEED), plan=plan(diagnosis_of(SEED), CATALOG, PlanWish()))
    told = words(sheet(render_page(made, Messages(language), WHEN), language))
    for said in ("sm_120", "CUDA 12.8", "cu124", "archfit upgrade /env --gpu &#39;GeForce RTX 5090&#39;"):
        assert said in told


@pytest.mark.parametrize("language", LANGUAGES)
def test_with_an_old_driver_both_steps_stand_in_order(language: Language) -> None:
    """The driver comes first, and a driver alone is not enough."""
    made = Page("doctor", diagnosis=diagnosis_of(SEED_550), plan=plan(diagnosis_of(SEED_550), CATALOG, PlanWish()))
    text = sheet(render_page(made, Messages(language), WHEN), language)
    steps = re.findall(r"<li>(.*?)</li>", text[text.index('<ol class="steps">') :], re.DOTALL)[:2]
    assert "nvidia-driver-580-open" in steps[0]
    assert "archfit upgrade /env" in steps[1]
    assert "--driver 570.86.16" in steps[1]


# --- every sentence is used ------------------------------------------------------------------------------------------


def test_templates_and_sentences_agree() -> None:
    """Every sentence of the pages is named in a template, a script or the source, and none is named that is not there."""
    import tomllib

    folder = TEMPLATES.parent / "texts" / "en"
    keys = {key for path in folder.glob("*.toml") for key in tomllib.loads(path.read_text("utf-8")).get("page", {})}
    paths = [
        *TEMPLATES.iterdir(),
        *TEMPLATES.parent.glob("html*.py"),
        *TEMPLATES.parent.glob("matrix*.py"),
        CLI / "matrix.py",
    ]
    source = "\n".join(path.read_text("utf-8") for path in paths)
    named = set(re.findall(r"""\bpage\(f?["']([a-z][a-z-]*[a-z])["']""", source))
    families = (
        "title-",
        "status-",
        "fact-",
        "kind-",
        "mark-",
        "verdict-",
        "filter-",
        "column-",
        "confidence-",
        "means-",
        "word-",
    )
    written = set(re.findall(r"""["']([a-z][a-z-]*[a-z])["']""", source))
    assert named - keys == set()
    assert {key for key in keys if key not in written and not key.startswith(families)} == set()
