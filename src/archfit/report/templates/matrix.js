// The matrix: thousands of builds, filtered in the browser; only the rows in sight are in the page.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const ROW_PX = 36, SPARE_ROWS = 10, MOST_ANSWERS = 8, MOST_PRINTED = 3000;
  const WORDS = { n: "native", c: "compatible", j: "jit", p: "partial", x: "none", "-": "no-gpu-code" };
  const RANK = { n: 0, c: 0, j: 1, p: 2, x: 3, "-": 3 }; // which code answers a question best
  const [PACKAGE, VERSION, VARIANT, CUDA, PLATFORM, TAGS, INDEX, CONFIDENCE, SOURCE, DRIVER, VERDICTS, DRIVERS] = Array(12).keys();
  const FIELDS = ["q", "gpu", "driver", "cuda", "python", "platform"];

  // --- numbers and names
  const numbers = (text) => text.split(".").map(Number);
  const branch = (text) => numbers(text)[0];
  const isDriver = (text) => /^\d{2,4}(\.\d{1,4}){0,2}$/.test(text);
  function compare(a, b) {
    const left = numbers(a), right = numbers(b);
    for (let n = 0; n < 3; n++) {
      const step = (left[n] ?? 0) - (right[n] ?? 0);
      if (step) return step;
    }
    return 0;
  }
  // Of two drivers the newer; if one of them is not known, the answer is not.
  const newer = (a, b) => !a || !b ? null : compare(a, b) < 0 ? b : a;
  const NOISE = /^(nvidia|geforce|tesla|gpu|graphics|card|generation|edition|pcie|sxm\d?|\d+gb|hbm\w*)$/;
  const nameWords = (name) => name.toLowerCase().replace(/(rtx|gtx|gt|tesla|quadro)(?=\d)/g, "$1 ").split(/[\s()\-_/]+/).filter((w) => w && !NOISE.test(w));
  const products = data.products.map(([name, column, driver]) => ({ name, column, driver, words: new Set(nameWords(name)) }));
  const packages = new Map(data.packages.map((name, n) => [name, n]));
  const hay = data.rows.map((r) => `${data.packages[r[PACKAGE]]} ${r[VERSION]} ${r[VARIANT]} ${data.indexes[r[INDEX]]}`.toLowerCase());

  // A GPU as a person writes it: a name, sm_120, 12.0. Null where it is unknown or could be several.
  function findGpu(text) {
    const code = /^(?:sm_|compute_)?(\d{1,2})\.?(\d)[af]?$/i.exec(text.trim());
    if (code) {
      const column = data.columns.findIndex((c) => c.capability === `${code[1]}.${code[2]}`);
      return column < 0 ? null : { name: data.columns[column].capability, column, driver: data.columns[column].driver };
    }
    const words = nameWords(text);
    if (!words.length) return null;
    const fits = products.filter((p) => words.every((w) => p.words.has(w)));
    const exact = fits.filter((p) => p.words.size === words.length);
    const found = exact.length ? exact : fits;
    if (new Set(found.map((p) => p.column)).size !== 1) return null;
    return found.reduce((best, p) => (p.name.length < best.name.length ? p : best));
  }

  // --- the question, kept in the address: a link to a view is the address of the view
  let state = {};
  function read() {
    const hash = new URLSearchParams(location.hash.slice(1));
    const given = location.hash.length > 1 ? Object.fromEntries(hash) : data.wanted;
    state = Object.fromEntries(FIELDS.map((name) => [name, given[name] ?? ""]));
    state.runs = given.all !== "1";
  }
  function write() {
    const hash = new URLSearchParams();
    FIELDS.forEach((name) => { if (state[name]) hash.set(name, state[name]); });
    if (!state.runs) hash.set("all", "1");
    history.replaceState(null, "", "#" + hash);
  }

  // --- the answer
  let shown = [], gpus = [], unknown = [], columns = [];
  function filter() {
    const asked = state.gpu.split(/[,;]/).map((t) => t.trim()).filter(Boolean);
    gpus = asked.map(findGpu).filter(Boolean);
    unknown = asked.filter((text) => !findGpu(text));
    columns = gpus.length ? gpus.map((g) => g.column) : data.columns.map((_, n) => n);
    const wanted = named();
    const others = words().filter((w) => !packages.has(w)).map((w) => w.replace("==", " "));
    const driver = isDriver(state.driver) ? state.driver : "";
    const floors = data.drivers.map((text) => !driver || !text || compare(text, driver) <= 0);
    // numbers differ between systems, branches do not: R550 knows no RTX 50 anywhere
    const knows = columns.map((c, n) => {
      const own = gpus[n]?.driver ?? data.columns[c].driver, last = data.columns[c].last;
      return !driver || ((!own || branch(own) <= branch(driver)) && (!last || branch(driver) <= last));
    });
    const exactly = columns.map((c, n) => gpus[n]?.driver ?? null).map((own) => !driver || !own || compare(own, driver) <= 0);
    const cuda = state.cuda ? data.cudas.indexOf(state.cuda) : null;
    const platform = state.platform ? data.platforms.indexOf(state.platform) : null;
    const tags = data.tags.map((t) => !state.python || t.pythons.includes(state.python));
    const every = gpus.length > 0;
    shown = [];
    data.rows.forEach((row, n) => {
      if (wanted.size && !wanted.has(row[PACKAGE])) return;
      if (cuda !== null && row[CUDA] !== cuda) return;
      if (platform !== null && row[PLATFORM] !== platform) return;
      if (!tags[row[TAGS]]) return;
      if (others.some((w) => !hay[n].includes(w))) return;
      const needs = data.driverSets[row[DRIVERS]], verdicts = row[VERDICTS];
      let fine = every;
      for (let k = 0; k < columns.length; k++) {
        const letter = verdicts[columns[k]], runs = letter !== "x" && letter !== "-";
        const need = needs[columns[k]];
        const ok = runs ? knows[k] && (need < 0 || (floors[need] && exactly[k])) : !state.runs;
        if (ok !== every) { fine = ok; break; }
      }
      if (fine) shown.push(row);
    });
  }
  const words = () => state.q.toLowerCase().split(/[\s,]+/).filter(Boolean);
  const named = () => new Set(words().filter((w) => packages.has(w)).map((w) => packages.get(w)));
  // The oldest driver with which a row runs on all GPUs that were asked for; without any, the one that loads its code.
  function driverOf(row) {
    if (!gpus.length) return data.drivers[row[DRIVER]] ?? null;
    const set = data.driverSets[row[DRIVERS]];
    return gpus.map((g) => { const own = data.drivers[set[g.column]] ?? null; return g.driver ? newer(own, g.driver) : own; }).reduce(newer);
  }

  // --- words
  const sheet = () => document.querySelector("[data-sheet]:not([hidden])");
  const say = (key, values = {}) => data.texts[sheet().dataset.sheet][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  function make(tag, values = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(values)) {
      if (value !== null && value !== undefined) name === "class" ? (element.className = value) : element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  const hiddenText = (text) => make("span", { class: "vh" }, text);
  const verdictText = (letter) => (letter === "-" ? say("no-gpu-code") : WORDS[letter]);
  function cell(letter, wide) {
    const sign = make("span", { "aria-hidden": "true" }, data.signs[WORDS[letter]]);
    return make("td", { class: "v-" + WORDS[letter] }, sign, wide ? ` ${verdictText(letter)}` : hiddenText(verdictText(letter)));
  }

  // --- the table: only the rows in sight
  let drawn = "";
  function head(table) {
    const gpuHeads = columns.map((c, n) => {
      const own = data.columns[c];
      return make("th", { scope: "col", class: gpus.length ? "here" : null, title: own.label },
        gpus.length ? gpus[n].name : own.capability, gpus.length ? null : hiddenText(" " + own.label));
    });
    const heads = ["cuda", "driver", "python", "platform", "confidence", "source"].map((key) => make("th", { scope: "col", class: "text" }, say("column-" + key)));
    table.tHead.replaceChildren(make("tr", {}, make("th", { scope: "col" }, say("column-build")), ...gpuHeads, ...heads));
  }
  function line(row, place) {
    const wide = gpus.length > 0 && gpus.length < 4;
    const button = make("button", { type: "button", class: "link", "data-row": place }, `${data.packages[row[PACKAGE]]} ${row[VERSION]}`, make("small", {}, row[VARIANT] && !row[VERSION].includes(row[VARIANT]) ? ` ${row[VARIANT]}` : ""));
    const source = data.sources[row[SOURCE]];
    return make("tr", { "aria-rowindex": place + 2 },
      make("th", { scope: "row" }, button),
      ...columns.map((c) => cell(row[VERDICTS][c], wide)),
      make("td", { class: "text" }, data.cudas[row[CUDA]] || "–"),
      make("td", { class: "text" }, driverOf(row) ?? say("unknown")),
      make("td", { class: "text" }, data.tags[row[TAGS]].text),
      make("td", { class: "text" }, data.platformNames[row[PLATFORM]]),
      make("td", { class: "text" }, say("confidence-" + row[CONFIDENCE])),
      make("td", { class: "text source", title: source }, source));
  }
  function spacer(rows, width) {
    const filler = make("td", { colspan: width });
    filler.style.height = rows * ROW_PX + "px";
    return make("tr", { "aria-hidden": "true", class: "filler" }, filler);
  }
  function draw(force, everything = false) {
    const box = sheet().querySelector(".grid"), table = box.querySelector("table");
    const first = everything ? 0 : Math.max(0, Math.floor(box.scrollTop / ROW_PX) - SPARE_ROWS);
    const seen = Math.ceil((box.clientHeight || 600) / ROW_PX) + 2 * SPARE_ROWS;
    const last = Math.min(shown.length, everything ? MOST_PRINTED : first + seen);
    const key = `${first}-${last}`;
    if (!force && key === drawn) return;
    drawn = key;
    const width = columns.length + 7;
    const rows = shown.slice(first, last).map((row, n) => line(row, first + n));
    const fillers = everything ? [] : [spacer(first, width), spacer(shown.length - last, width)];
    table.setAttribute("aria-rowcount", shown.length + 1);
    table.tBodies[0].replaceChildren(...(everything ? rows : [fillers[0], ...rows, fillers[1]]));
  }

  // --- the answer in words, for the packages in sight
  function answers() {
    const box = sheet().querySelector(".answers"), lines = [];
    unknown.forEach((text) => lines.push(["warn", say("gpu-unknown", { gpu: text })]));
    if (state.driver && !isDriver(state.driver)) lines.push(["warn", say("driver-unknown", { driver: state.driver })]);
    gpus.forEach((gpu) => {
      const own = data.columns[gpu.column], values = { gpu: gpu.name, driver: gpu.driver ?? own.driver, asked: state.driver, branch: own.last };
      const old = isDriver(state.driver) && values.driver && compare(state.driver, values.driver) < 0;
      const late = isDriver(state.driver) && own.last && branch(state.driver) > own.last;
      const keys = [old ? "driver-too-old" : late ? "driver-too-new" : values.driver && "gpu-needs", own.last && !late && "gpu-last", own.open ? "gpu-open" : own.closed && "gpu-closed"];
      const said = keys.filter(Boolean).map((key) => say(key, values)).join(say("and-then"));
      if (said) lines.push([old || late ? "bad" : "none", said]);
    });
    const own = gpus.map((g) => ({ ...data.columns[g.column], driver: g.driver ?? data.columns[g.column].driver }));
    const first = Math.max(0, ...own.filter((c) => c.driver).map((c) => branch(c.driver)));
    if ((own.some((c) => c.open) && own.some((c) => c.closed)) || own.some((c) => c.last && c.last < first)) lines.push(["bad", say("gpus-apart")]);
    const groups = new Map([...named()].map((name) => [name, []]));
    shown.forEach((row) => { groups.has(row[PACKAGE]) ? groups.get(row[PACKAGE]).push(row) : groups.set(row[PACKAGE], [row]); });
    if (gpus.length && groups.size <= MOST_ANSWERS) groups.forEach((rows, name) => lines.push(...ranges(rows, name)));
    box.replaceChildren(...lines.map(([kind, text]) => make("p", {}, make("span", { class: "mark " + kind, "aria-hidden": "true" }, { good: "✓", bad: "✗", warn: "!", none: "·" }[kind]), make("span", {}, text))));
  }
  // One answer for the platforms that share it; one alone where nothing runs anywhere.
  function ranges(rows, name) {
    const values = { package: data.packages[name], gpu: gpus.map((g) => g.name).join(" + "), newest: data.newest[name] }, found = new Map();
    for (const platform of new Set(rows.map((row) => row[PLATFORM]))) {
      const answer = range(rows.filter((row) => row[PLATFORM] === platform));
      if (!answer) continue;
      const key = [answer.first, answer.last, answer.rank].join();
      const same = found.get(key) ?? { ...answer, platforms: [] };
      same.platforms.push(data.platformNames[platform]);
      if (!same.driver || (answer.driver && compare(answer.driver, same.driver) < 0)) same.driver = answer.driver;
      found.set(key, same);
    }
    if (!found.size) return [["bad", say("runs-nowhere", values)]];
    return [...found.values()].map((answer) => {
      const all = { ...values, ...answer, platforms: answer.platforms.join(say("listed")) };
      const more = [answer.driver && "runs-driver", answer.last !== values.newest && "runs-ended", ["", "runs-jit", "runs-partial"][answer.rank]];
      const key = answer.first === answer.last ? "runs-one" : "runs-range";
      return [answer.rank ? "warn" : "good", [key, ...more].filter(Boolean).map((each) => say(each, all)).join(say("and-then"))];
    });
  }
  function range(rows) {
    const rankOf = (row) => Math.max(...gpus.map((g) => RANK[row[VERDICTS][g.column]]));
    const rank = Math.min(...rows.map(rankOf));
    if (rank > 2) return null;
    const running = rows.filter((row) => rankOf(row) === rank), drivers = running.map(driverOf).filter(Boolean);
    const driver = drivers.length ? drivers.reduce((a, b) => (compare(a, b) <= 0 ? a : b)) : "";
    return { rank, driver, first: running.at(-1)[VERSION], last: running[0][VERSION] };
  }

  // --- one build, in full
  const dialog = document.getElementById("build");
  function open(row) {
    const name = `${data.packages[row[PACKAGE]]} ${row[VERSION]}`;
    const fact = (key, value) => make("div", {}, make("dt", {}, say(key)), make("dd", {}, value));
    const index = data.indexes[row[INDEX]];
    const command = `pip install ${data.packages[row[PACKAGE]]}==${row[VERSION]}` + (index === "PyPI" ? "" : ` --index-url ${index}`);
    const copy = make("button", { type: "button", "data-copy": "", "data-done": say("copied"), "data-failed": say("copy-failed") }, make("span", { "data-label": "", "aria-live": "polite" }, say("copy")));
    const drivers = data.driverSets[row[DRIVERS]];
    const lines = data.columns.map((own, c) => {
      const letter = row[VERDICTS][c];
      const needed = data.drivers[drivers[c]] ?? (letter === "x" || letter === "-" ? "–" : say("unknown"));
      return make("tr", {}, make("th", { scope: "row" }, `${own.capability} ${own.label}`), cell(letter, true), make("td", { class: "text" }, needed));
    });
    const table = make("table", { class: "heat" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "GPU"), make("th", { scope: "col" }, say("column-verdict")), make("th", { scope: "col", class: "text" }, say("column-driver")))), make("tbody", {}, ...lines));
    dialog.lang = document.documentElement.lang;
    dialog.replaceChildren(
      make("form", { method: "dialog" }, make("button", {}, say("close"))),
      make("h2", { id: "build-title", class: "first" }, name),
      make("div", { class: "command" }, make("pre", {}, make("code", {}, command)), copy),
      make("dl", { class: "facts" }, fact("column-cuda", data.cudas[row[CUDA]] || "–"), fact("column-driver", driverOf(row) ?? say("unknown")),
        fact("column-python", data.tags[row[TAGS]].text), fact("column-platform", data.platformNames[row[PLATFORM]]), fact("column-confidence", say("confidence-" + row[CONFIDENCE]))),
      make("p", {}, make("b", {}, say("column-source") + ": "), data.sources[row[SOURCE]]),
      make("div", { class: "scroll" }, table));
    dialog.showModal();
  }

  // --- wiring
  function fill() {
    const form = sheet().querySelector("form.filters");
    FIELDS.forEach((name) => { form.elements[name].value = state[name]; });
    form.elements.runs.checked = state.runs;
  }
  function update() {
    const began = performance.now();
    filter();
    const box = sheet().querySelector(".grid");
    box.scrollTop = 0;
    head(box.querySelector("table"));
    draw(true);
    answers();
    sheet().querySelector(".count").textContent = say(shown.length ? "count" : "count-none", { count: shown.length.toLocaleString("en"), total: data.rows.length.toLocaleString("en") });
    document.documentElement.dataset.updateMs = (performance.now() - began).toFixed(2);
  }
  function listen(form) {
    form.addEventListener("input", (event) => {
      state[event.target.name] = event.target.type === "checkbox" ? event.target.checked : event.target.value.trim();
      write();
      update();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelector("[data-reset]").addEventListener("click", () => {
      state = { ...Object.fromEntries(FIELDS.map((name) => [name, ""])), runs: true };
      write();
      fill();
      update();
    });
  }
  document.querySelectorAll("form.filters").forEach(listen);
  document.querySelectorAll(".grid").forEach((box) => {
    box.addEventListener("scroll", () => requestAnimationFrame(() => draw(false)), { passive: true });
    box.addEventListener("click", (event) => {
      const button = event.target.closest("[data-row]");
      if (button) open(shown[Number(button.dataset.row)]);
    });
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  addEventListener("hashchange", () => { read(); fill(); update(); });
  addEventListener("resize", () => draw(false));
  document.addEventListener("speak", () => { fill(); update(); });
  addEventListener("beforeprint", () => draw(true, true));
  addEventListener("afterprint", () => draw(true));
  read();
  fill();
  update();
})();
