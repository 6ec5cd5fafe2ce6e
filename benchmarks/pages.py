"""How fast the matrix page is in a real browser: first paint, and filtering to the next painted frame.

    ./run pages-test --get-browser      # once: Playwright and Chromium
    .venv/bin/python benchmarks/pages.py --builds 5000 --turns 15

Each turn opens the page in a fresh context. A filter's time runs from the input event until the next frame is painted, so it
holds choosing, drawing, layout, paint, and the wait for that frame (up to 16.7 ms at 60 per second).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "pages")]

from browser import chromium, open_file  # noqa: E402
from builds import many  # noqa: E402

from archfit import api  # noqa: E402
from archfit.report.matrix_page import render_matrix_page  # noqa: E402
from archfit.report.messages import Messages  # noqa: E402

FILTERS = (
    ("q", "package-07"),
    ("q", "5.2.1"),
    ("q", ""),
    ("gpu", "RTX 5090"),
    ("driver", "550.54.14"),
    ("driver", "580.65.06"),
    ("gpu", "V100, RTX 5090"),
    ("gpu", ""),
    ("cuda", "12.8"),
    ("python", "3.11"),
    ("platform", "linux_x86_64"),
)
APPLY = """async ([name, value]) => {
  const form = document.querySelector("[data-sheet]:not([hidden]) form.filters");
  const input = form.elements[name];
  await new Promise((go) => requestAnimationFrame(go));
  const began = performance.now();
  input.value = value;
  input.dispatchEvent(new Event("input", { bubbles: true }));
  const chosen = performance.now();
  await new Promise((go) => requestAnimationFrame(() => { // a message is delivered after the frame was painted
    const channel = new MessageChannel();
    channel.port1.onmessage = go;
    channel.port2.postMessage(0);
  }));
  return [chosen - began, performance.now() - began];
}"""
PAINT = """() => new Promise((go) => new PerformanceObserver((list) => {
  const entry = list.getEntriesByName("first-contentful-paint")[0];
  if (entry) go(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""


def measure(browser: Any, path: Path, turns: int) -> tuple[list[float], list[float], list[float]]:
    """First paints, times in our script and times to the painted frame, all in ms."""
    paints, choosing, painted = [], [], []
    for _ in range(turns):
        opened = open_file(browser, path)
        paints.append(opened.page.evaluate(PAINT))
        for step in FILTERS:
            own, whole = opened.page.evaluate(APPLY, list(step))
            choosing.append(own)
            painted.append(whole)
        opened.page.context.close()
        assert opened.faults == []
    return paints, choosing, painted


def said(name: str, times_ms: Sequence[float]) -> str:
    return f"| {name} | {median(times_ms):.1f} ms ({min(times_ms):.1f} to {max(times_ms):.1f}) |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builds", type=int, default=5000, help="how many made-up builds; 0: those of the catalog")
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    matrix = many(arguments.builds) if arguments.builds else api.matrix()
    text = render_matrix_page(matrix, Messages("en"), datetime.now(UTC))
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder) / "matrix.html"
        path.write_text(text, "utf-8")
        measure(browser, path, 1)  # the first page of a browser pays for its start
        paints, choosing, painted = measure(browser, path, arguments.turns)
        version = browser.version
    print(f"{len(matrix.rows):,} builds, {len(text.encode()) / 1e6:.2f} MB, Chromium {version}, ", end="")
    print(f"{arguments.turns} turns, load {os.getloadavg()[0]:.1f}\n\n| | median (least to most) |\n|---|---|")
    print(said("first paint, the table in it", paints))
    print(said("filtering, to the painted frame", painted))
    print(said("filtering, our script's part", choosing))


if __name__ == "__main__":
    main()
