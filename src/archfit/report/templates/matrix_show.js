// The matrix, shown: thousands of builds, of which only the rows in sight are in the page.
"use strict";
(() => {
  const { data, rows, runs, ask, answers, driverOf } = matrix;
  const ROW_PX = 36, SPARE_ROWS = 5, MOST_PRINTED = 3000, MOST_WORDED = 3;
  const COLUMNS = ["cuda", "driver", "python", "platform", "confidence", "source"];
  const FIELDS = ["q", "gpu", "driver", "cuda", "python", "platform"];
  const WORDS = { n: "native", c: "compatible", j: "jit", p: "partial", x: "none", "-": "no-gpu-code" };
  const MARKS = { good: "✓", bad: "✗", warn: "!", none: "·" };

  // --- words and elements
  const sheet = () => document.querySelector("[data-sheet]:not([hidden])");
  function say(key, values = {}) {
    return data.texts[sheet().dataset.sheet][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  }
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => {
      if (value !== null) element.setAttribute(name, value);
    });
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  const head = (text, kind = null) => make("th", { scope: "col", class: kind }, text);
  const text = (value, kind = "text", title = null) => make("td", { class: kind, title }, value);
  const unseen = (words) => make("span", { class: "vh" }, words);
  // The sign comes from the style sheet, so that a cell is one word: hundreds of them must be laid out at once.
  function cell(letter, worded) {
    const words = letter === "-" ? say("no-gpu-code") : WORDS[letter];
    return make("td", { class: `v-${WORDS[letter]} ${worded ? "worded" : "sign"}` }, words);
  }
  const driven = (row) => /[^-]/.test(row.verdicts);
  const driverText = (row) => driverOf(row, answer.gpus) ?? (driven(row) ? say("unknown") : "–");

  // --- the question, kept in the address: a link to a view is the address of the view
  let question = {}, answer = null, drawn = "";
  function read() {
    const given = location.hash.length > 1 ? Object.fromEntries(new URLSearchParams(location.hash.slice(1))) : data.wanted;
    question = Object.fromEntries(FIELDS.map((name) => [name, given[name] ?? ""]));
    question.runs = given.all !== "1";
  }
  function write() {
    const hash = new URLSearchParams(FIELDS.filter((name) => question[name]).map((name) => [name, question[name]]));
    if (!question.runs) hash.set("all", "1");
    history.replaceState(null, "", `#${hash}`);
  }
  function fill() {
    const form = sheet().querySelector("form.filters");
    FIELDS.forEach((name) => { form.elements[name].value = question[name]; });
    form.elements.runs.checked = question.runs;
  }

  // --- the table
  // Widths are given, not found: a table that measures its cells costs more than all the rest.
  const WIDTHS_REM = {
    name: matchMedia("(max-width: 40rem)").matches ? 10 : 13.5, sign: 2.75, worded: 9.5,
    cuda: 5.5, driver: 7.5, python: 7.5, platform: 10, confidence: 7.5, source: 16,
  };
  function drawWidths(table, worded) {
    const kinds = ["name", ...answer.columns.map(() => (worded ? "worded" : "sign")), ...COLUMNS];
    const widths = kinds.map((kind) => WIDTHS_REM[kind]);
    const columns = widths.map((width) => {
      const column = make("col");
      column.style.width = `${width}rem`;
      return column;
    });
    table.querySelector("colgroup").replaceChildren(...columns);
    table.style.minWidth = `${widths.reduce((a, b) => a + b)}rem`;
  }
  const isWorded = () => answer.gpus.length > 0 && answer.gpus.length <= MOST_WORDED;
  function drawHead(table) {
    drawWidths(table, isWorded());
    const heads = answer.gpus.length
      ? answer.gpus.map((gpu) => head(gpu.name, "here"))
      : data.columns.map((column) => {
        const made = head(column.capability);
        made.append(unseen(` ${column.label}`));
        made.title = column.label;
        return made;
      });
    const texts = COLUMNS.map((key) => head(say(`column-${key}`), "text"));
    table.tHead.replaceChildren(make("tr", {}, head(say("column-build")), ...heads, ...texts));
  }
  function line(row, place) {
    const variant = row.variant && !row.version.includes(row.variant) ? make("small", {}, ` ${row.variant}`) : null;
    const name = make("button", { type: "button", class: "link", "data-row": place }, `${row.name} ${row.version}`, variant);
    const worded = isWorded();
    return make(
      "tr", { "aria-rowindex": place + 2 },
      make("th", { scope: "row" }, name),
      ...answer.columns.map((column) => cell(row.verdicts[column], worded)),
      text(row.cuda || "–"),
      text(driverText(row)),
      text(row.tags.text),
      text(row.platform),
      text(say(`confidence-${row.confidence}`)),
      text(row.source, "text source", row.source),
    );
  }
  function spacer(count) {
    const filler = make("td", { colspan: answer.columns.length + 7 });
    filler.style.height = `${count * ROW_PX}px`;
    return make("tr", { "aria-hidden": "true", class: "filler" }, filler);
  }
  function draw({ anew = false, everything = false } = {}) {
    const box = sheet().querySelector(".grid"), table = box.querySelector("table"), total = answer.shown.length;
    const first = everything ? 0 : Math.max(0, Math.floor(box.scrollTop / ROW_PX) - SPARE_ROWS);
    const inSight = Math.ceil((box.clientHeight || 600) / ROW_PX) + 2 * SPARE_ROWS;
    const last = Math.min(total, everything ? MOST_PRINTED : first + inSight);
    if (!anew && drawn === `${first}-${last}`) return;
    drawn = `${first}-${last}`;
    const lines = answer.shown.slice(first, last).map((row, n) => line(row, first + n));
    table.setAttribute("aria-rowcount", total + 1);
    table.tBodies[0].replaceChildren(...(everything ? lines : [spacer(first), ...lines, spacer(total - last)]));
  }

  function update() {
    answer = ask(question);
    const box = sheet().querySelector(".grid"), count = answer.shown.length;
    box.scrollTop = 0;
    drawHead(box.querySelector("table"));
    draw({ anew: true });
    const lines = answers(answer, say).map(([kind, said]) => {
      const mark = make("span", { class: `mark ${kind}`, "aria-hidden": "true" }, MARKS[kind]);
      return make("p", {}, mark, make("span", {}, said));
    });
    sheet().querySelector(".answers").replaceChildren(...lines);
    const values = { count: count.toLocaleString("en"), total: rows.length.toLocaleString("en") };
    sheet().querySelector(".count").textContent = say(count ? "count" : "count-none", values);
  }

  // --- one build, in full
  const dialog = document.getElementById("build");
  function open(row) {
    const fact = (key, value) => make("div", {}, make("dt", {}, say(`column-${key}`)), make("dd", {}, value));
    const command = `pip install ${row.name}==${row.version}${row.index === "PyPI" ? "" : ` --index-url ${row.index}`}`;
    const label = make("span", { "data-label": "", "aria-live": "polite" }, say("copy"));
    const words = { type: "button", "data-copy": "", "data-done": say("copied"), "data-failed": say("copy-failed") };
    const lines = data.columns.map((column, n) => {
      const driver = data.drivers[row.needs[n]] ?? (runs(row.verdicts[n]) ? say("unknown") : "–");
      const name = make("th", { scope: "row" }, `${column.capability} ${column.label}`);
      return make("tr", {}, name, cell(row.verdicts[n], true), text(driver));
    });
    const heads = make("tr", {}, head("GPU"), head(say("column-verdict")), head(say("column-driver"), "text"));
    dialog.lang = document.documentElement.lang;
    dialog.replaceChildren(
      make("form", { method: "dialog" }, make("button", {}, say("close"))),
      make("h2", { id: "build-title", class: "first" }, `${row.name} ${row.version}`),
      make("div", { class: "command" }, make("pre", {}, make("code", {}, command)), make("button", words, label)),
      make(
        "dl", { class: "facts" },
        fact("cuda", row.cuda || "–"),
        fact("driver", driverText(row)),
        fact("python", row.tags.text),
        fact("platform", row.platform),
        fact("confidence", say(`confidence-${row.confidence}`)),
      ),
      make("p", {}, make("b", {}, `${say("column-source")}: `), row.source),
      make("div", { class: "scroll" }, make("table", { class: "heat" }, make("thead", {}, heads), make("tbody", {}, ...lines))),
    );
    dialog.showModal();
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // --- wiring
  document.querySelectorAll("form.filters").forEach((form) => {
    form.addEventListener("input", ({ target }) => {
      question[target.name] = target.type === "checkbox" ? target.checked : target.value.trim();
      write();
      update();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelector("[data-reset]").addEventListener("click", () => {
      question = { ...Object.fromEntries(FIELDS.map((name) => [name, ""])), runs: true };
      write();
      fill();
      update();
    });
  });
  document.querySelectorAll(".grid").forEach((box) => {
    box.addEventListener("scroll", () => requestAnimationFrame(() => draw()), { passive: true });
    box.addEventListener("click", (event) => {
      const button = event.target.closest("[data-row]");
      if (button) open(answer.shown[Number(button.dataset.row)]);
    });
  });
  addEventListener("hashchange", () => { read(); fill(); update(); });
  addEventListener("resize", () => draw());
  addEventListener("beforeprint", () => draw({ anew: true, everything: true }));
  addEventListener("afterprint", () => draw({ anew: true }));
  document.addEventListener("speak", () => { fill(); update(); });
  read();
  fill();
  update();
})();
