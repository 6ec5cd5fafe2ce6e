"""A real Chromium for the tests and the benchmark of the pages: found on this machine, never fetched by itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The browser named by ARCHFIT_CHROMIUM, or the first on PATH."""
    return os.environ.get("ARCHFIT_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser of Playwright; raises LookupError where there is none."""
    path = find_chromium()
    if path is None:
        raise LookupError(f"none of {', '.join(NAMES)} is on PATH; see ./run pages-test --get-browser")
    from playwright.sync_api import sync_playwright

    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium's sandbox refuses to run as root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=sandbox)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Opened:
    """A page, and everything it should not do: errors on the console, requests beside its own file, dialogs."""

    page: Any
    faults: list[str] = field(default_factory=list)


def open_file(browser: Any, path: Path, *, hash_: str = "", **context: Any) -> Opened:
    """Open a file as a person does by a double click; the network is cut."""
    made = browser.new_context(**{"viewport": {"width": 1100, "height": 800}, **context})
    made.set_offline(True)
    opened = Opened(made.new_page())
    page, faults = opened.page, opened.faults
    own = path.as_uri()
    page.on("console", lambda m: faults.append(f"console: {m.text}") if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("request", lambda r: None if r.url.partition("#")[0] == own else faults.append(f"request: {r.url}"))
    page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.goto(own + hash_)
    return opened
