// Switches, copying, and what a heat map's cells hold. Everything but these works without this script.
"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const kept = {
    get(key) { try { return localStorage.getItem("archfit-" + key); } catch { return null; } },
    set(key, value) { try { localStorage.setItem("archfit-" + key, value); } catch { /* it works as well without */ } },
  };

  // --- language and theme
  function speak(language) {
    const sheets = all("[data-sheet]");
    const before = sheets.find((sheet) => !sheet.hidden);
    const after = sheets.find((sheet) => sheet.dataset.sheet === language);
    if (!after) return;
    if (before && before !== after) { // what was unfolded stays unfolded
      const folds = all("details", after);
      all("details", before).forEach((fold, n) => { if (folds[n]) folds[n].open = fold.open; });
    }
    sheets.forEach((sheet) => { sheet.hidden = sheet !== after; });
    all(".scroll:has(th.here)", after).forEach((box) => { // on a phone the GPU of this machine is what one wants to see
      const column = box.querySelector("th.here");
      box.scrollLeft = column.offsetLeft + column.offsetWidth - box.clientWidth;
    });
    root.lang = after.lang;
    document.title = after.dataset.title;
    document.dispatchEvent(new CustomEvent("speak", { detail: language }));
  }
  function turn(language) {
    kept.set("language", language);
    speak(language);
    document.querySelector(`[data-sheet="${language}"] [data-speak="${language}"]`).focus();
  }
  function paint(theme) {
    if (theme) root.dataset.theme = theme;
    const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    all("[data-theme-switch]").forEach((b) => b.setAttribute("aria-pressed", String(dark)));
    return dark;
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.speak) { turn(button.dataset.speak); }
    if ("themeSwitch" in button.dataset) {
      const theme = paint(root.dataset.theme) ? "light" : "dark";
      kept.set("theme", theme);
      paint(theme);
    }
    if ("copy" in button.dataset) copy(button);
  });
  paint(kept.get("theme"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(root.dataset.theme));

  // --- copying
  async function copy(button) {
    const source = button.parentElement.querySelector("pre");
    let done = true;
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch { // a page opened from a file may not use the clipboard: select, so that Ctrl-C does it
      getSelection().selectAllChildren(source);
      try { done = document.execCommand("copy"); } catch { done = false; }
    }
    const label = button.querySelector("[data-label]");
    const said = label.textContent;
    if (button.dataset.busy) return;
    button.dataset.busy = "yes";
    label.textContent = done ? button.dataset.done : button.dataset.failed;
    setTimeout(() => { label.textContent = said; delete button.dataset.busy; }, 1600);
  }

  // --- heat maps: hover, tap, or walk with the arrow keys
  const tip = document.getElementById("tip");
  function show(cell) {
    if (!tip) return;
    if (!cell) { tip.hidden = true; return; }
    tip.textContent = cell.dataset.tip;
    tip.hidden = false;
    const box = cell.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - own.width / 2), innerWidth - own.width - 8);
    const above = box.top - own.height - 6;
    tip.style.left = left + "px";
    tip.style.top = (above > 8 ? above : box.bottom + 6) + "px";
  }
  const cellOf = (event) => event.target instanceof Element ? event.target.closest("td[data-tip]") : null;
  document.addEventListener("pointerover", (event) => show(cellOf(event)));
  document.addEventListener("focusin", (event) => show(cellOf(event)));
  document.addEventListener("scroll", () => show(null), true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { show(null); return; }
    const cell = cellOf(event);
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!cell || !step) return;
    const rows = all("tr:has(td[data-tip])", cell.closest("table"));
    const row = rows[rows.indexOf(cell.parentElement) + step[1]] || cell.parentElement;
    const next = row.cells[Math.min(Math.max(1, cell.cellIndex + step[0]), row.cells.length - 1)];
    event.preventDefault();
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  // --- on paper everything is unfolded
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    folded.forEach((fold) => { fold.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((fold) => { fold.open = false; }));

  speak(kept.get("language") || root.dataset.language);
})();
