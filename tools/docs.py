"""Build the documentation site, in both languages, strict: a link that leads nowhere ends it.

    ./run docs                    # writes build/docs/site
    ./run docs --serve            # and shows it on http://127.0.0.1:8000

Pages written by hand stand in docs/site/, guides in docs/ (NAME.md and its twin NAME.zh.md); the reference is made here, from
what the program itself says.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import tomllib

from archfit.cli import COMMANDS, app
from archfit.cli.manuals import command_paths, manual_of
from archfit.report.messages import Language, Messages
from archfit.schemas import load_schema, schema_names

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "site"
LANGUAGES: tuple[Language, ...] = ("en", "zh")
HOW_TO = ("old-gpus", "conda", "docker", "offline", "clusters", "wheel-authors")
EXPLANATION = ("how-a-gpu-finds-its-code", "why-cuda-12-4")
REFERENCE = ("commands", "findings", "causes", "exit-codes", "schemas")
NOT_GUIDES = frozenset({"terms", "design"})  # for those who work on archfit
_TWIN = re.compile(r"^\[(?:中文|English)\]\([^)]*\)\n\n", re.MULTILINE)  # the site has a switch of its own
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")

Words = Mapping[str, str]


def main() -> int:
    """Build, and serve if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs", help="default: build/docs")
    parser.add_argument("--serve", action="store_true", help="show the site on http://127.0.0.1:8000")
    given = parser.parse_args()
    words = tomllib.loads((PAGES / "site.toml").read_text("utf-8"))
    site = given.out / "site"
    shutil.rmtree(given.out, ignore_errors=True)
    site.mkdir(parents=True)
    for language in LANGUAGES:
        source = given.out / "source" / language
        stage(source / "pages", language, words[language])
        config = configuration(source / "pages", language, words[language])
        # JSON is YAML, and the generator reads this name
        (source / "mkdocs.yml").write_text(json.dumps(config, ensure_ascii=False, indent=1), "utf-8")
        generator = Path(sys.executable).with_name("zensical")
        done = subprocess.run([generator, "build", "--clean", "--strict", "-f", source / "mkdocs.yml"], check=False)
        if done.returncode:
            return done.returncode
        shutil.move(source / "site", site / language)
    (site / "index.html").write_text(_front_door(), "utf-8")
    print(site / "index.html")
    if given.serve:
        _serve(site)
    return 0


def stage(pages: Path, language: Language, words: Words) -> None:
    """Put everything that becomes a page into one folder."""
    shutil.copytree(PAGES / language, pages)
    guides = {path.name.partition(".")[0]: path for path in guide_files(language)}
    (pages / "guides").mkdir()
    for name, path in guides.items():
        text = linked_inside(_TWIN.sub("", path.read_text("utf-8")), guides.keys())
        (pages / "guides" / f"{name}.md").write_text(text, "utf-8")
    for picture in (ROOT / "docs").glob("*.png"):
        shutil.copy(picture, pages / "guides")
    (pages / "reference").mkdir()
    for name, text in reference(language, words).items():
        (pages / "reference" / f"{name}.md").write_text(text, "utf-8")


def guide_files(language: Language) -> list[Path]:
    """The guides of one language; what has no twin is in English only."""
    found = sorted((ROOT / "docs").glob("*.md"))
    twins = [path for path in found if path.name.endswith(".zh.md")]
    plain = [path for path in found if path not in twins]
    chosen = twins if language == "zh" else plain
    return [path for path in chosen if path.name.partition(".")[0] not in NOT_GUIDES]


def linked_inside(text: str, guides: object) -> str:
    """Links between files of the repository as links between pages; what is no page of the site is named, not linked."""

    def moved(match: re.Match[str]) -> str:
        bang, label, target, anchor = match[1], match[2], match[3], match[4] or ""
        name = target.removesuffix(".zh.md").removesuffix(".md")
        if bang or "://" in target or not target:
            return match[0]
        if target.endswith(".md") and name in guides:  # type: ignore[operator]
            return f"[{label}]({name}.md{anchor})"
        if name == "findings":
            return f"[{label}](../reference/findings.md{anchor})"
        return label

    return _LINK.sub(moved, text)


def configuration(pages: Path, language: Language, words: Words) -> dict[str, Any]:
    """What the generator is told: order, look, languages, and that every link must lead somewhere."""
    other = "zh" if language == "en" else "en"
    return {
        "site_name": "archfit",
        "site_description": words["description"],
        "docs_dir": "pages",
        "site_dir": "site",
        "use_directory_urls": False,
        "nav": [
            {words["start"]: [page(pages, "index"), page(pages, "tutorial")]},
            {words["howto"]: [page(pages, f"howto/{name}") for name in HOW_TO]},
            {words["explanation"]: [page(pages, f"explanation/{name}") for name in EXPLANATION]},
            {words["reference"]: [page(pages, f"reference/{name}") for name in REFERENCE]},
            {words["guides"]: [page(pages, f"guides/{path.stem}") for path in sorted((pages / "guides").glob("*.md"))]},
        ],
        "theme": {
            "language": language,
            "features": ["navigation.sections", "content.code.copy", "search.highlight", "navigation.footer"],
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate"},
            ],
            "font": False,  # nothing is loaded from elsewhere
        },
        "extra": {
            "alternate": [
                {"name": {"en": "English", "zh": "中文"}[lang], "link": f"../{lang}/index.html", "lang": lang}
                for lang in (language, other)
            ]
        },
        "markdown_extensions": ["tables", "fenced_code", {"toc": {"permalink": True}}],
        "validation": {"invalid_links": True, "invalid_link_anchors": True},
    }


def page(pages: Path, name: str) -> dict[str, str]:
    """One page of the navigation, called as its own first heading."""
    text = (pages / f"{name}.md").read_text("utf-8")
    title = next(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    return {title.replace("`", ""): f"{name}.md"}


def reference(language: Language, words: Words) -> dict[str, str]:
    """Pages about the program, from the program."""
    messages = Messages(language)
    made = {
        "commands": _commands(messages, words),
        "findings": _table_of(messages.section("finding"), ("title", "detail"), words),
        "causes": _table_of(messages.section("cause"), ("title", "means", "fix"), words),
        "exit-codes": _exit_codes(messages, words),
        "schemas": _schemas(words),
    }
    return {name: f"# {words[name]}\n\n{words[f'{name}-text']}\n\n" + "\n".join(lines) for name, lines in made.items()}


def _commands(messages: Messages, words: Words) -> Iterator[str]:
    for path in command_paths(app, COMMANDS):
        manual = manual_of(app, path, messages)
        yield f"## `archfit {path}`\n"
        yield f"{manual.summary}\n"
        yield f"```\n{manual.usage}\n```\n"
        if manual.text:
            yield f"{manual.text.strip()}\n"
        if manual.examples:
            yield f"**{words['examples']}**\n\n```"
            yield from (f"{e.command}   # {e.text}" if e.text else e.command for e in manual.examples)
            yield "```\n"
        for title, entries in manual.parts:
            yield f"| {messages.help(title)} | {words['meaning']} |\n|---|---|"
            yield from (f"| `{_cell(entry.spelling)}` | {_cell(entry.text)} |" for entry in entries)
            yield ""


def _table_of(rows: Mapping[str, Mapping[str, str]], parts: tuple[str, ...], words: Words) -> Iterator[str]:
    """A section for each id, so that others can link to it; what is filled in stands in italics."""
    for name in sorted(rows):
        yield f"## {name}\n"
        for part in parts:
            sentence = re.sub(r"\{(\w+)\}", r"*\1*", rows[name][part]).replace("<", "&lt;")
            label = f"**{words[part]}.** " if part in words else ""
            yield (f"**{sentence}**\n" if part == "title" else f"{label}{sentence}\n")


def _exit_codes(messages: Messages, words: Words) -> Iterator[str]:
    yield f"| {words['code']} | {words['meaning']} |\n|---|---|"
    yield from (f"| {code} | {_cell(text)} |" for code, text in messages.exit_codes().items())


def _schemas(words: Words) -> Iterator[str]:
    for name in schema_names():
        schema = load_schema(name)
        yield f"## {name}\n\n{schema.get('description', '')}\n"
        yield f"| {words['key']} | {words['schema']} |\n|---|---|"
        for key, row in schema["properties"].items():
            kind = row.get("const") or row.get("type") or row.get("$ref", "").rpartition("/")[2] or "any"
            said = f": {row['description']}" if "description" in row else ""
            yield f"| `{key}` | {_cell(f'{kind}{said}')} |"
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _front_door() -> str:
    """Leads to the reader's language."""
    return (
        '<!doctype html><meta charset="utf-8"><title>archfit</title>'
        "<script>location.replace((navigator.language.startsWith('zh') ? 'zh' : 'en') + '/index.html')</script>"
        '<p><a href="en/index.html">English</a> · <a href="zh/index.html" lang="zh">中文</a></p>\n'
    )


def _serve(site: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 8000), handler) as server:
        print("http://127.0.0.1:8000", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    sys.exit(main())
