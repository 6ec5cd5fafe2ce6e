// Finds nodes: every word must be in the row. Without this script the table shows rows of nodes that look alike.
"use strict";
(() => {
  const { nodes, strings } = JSON.parse(document.getElementById("fleet").textContent);
  const MOST = 200;
  const SIGNS = { good: "✓", bad: "✗", warn: "!", none: "·" };
  const all = (selector) => [...document.querySelectorAll(selector)];
  const words = (node, language) => [
    node[0], strings.hardware[node[2]], strings.driver[node[3]], strings.python[node[4]], strings.torch[node[5]],
    [strings.causes[node[6]], strings.said[language][node[7]]].filter(Boolean).join(" "),
  ];
  const rows = {};
  const original = new Map();

  function rowsOf(language) {
    rows[language] ??= nodes.map((node) => {
      const cells = words(node, language);
      return { kind: node[1], cells, text: cells.join(" ").toLowerCase() };
    });
    return rows[language];
  }
  function draw(sheet, asked) {
    const body = sheet.querySelector("[data-nodes] tbody"), status = sheet.querySelector("[data-found]");
    if (!original.has(body)) original.set(body, [...body.children]);
    if (!asked.length) {
      body.replaceChildren(...original.get(body));
      status.textContent = "";
      return;
    }
    const found = rowsOf(sheet.dataset.sheet).filter((row) => asked.every((word) => row.text.includes(word)));
    body.replaceChildren(...found.slice(0, MOST).map((row) => {
      const line = document.createElement("tr");
      row.cells.forEach((text, number) => {
        const cell = line.insertCell();
        if (number === 0) {
          const mark = document.createElement("span");
          mark.className = `mark ${row.kind}`;
          mark.textContent = SIGNS[row.kind];
          cell.append(mark, " ");
        }
        cell.append(text || "-");
      });
      return line;
    }));
    status.textContent = status.dataset.text.replace("@", Math.min(MOST, found.length)).replace("#", found.length);
  }
  function find(text) {
    const asked = text.toLowerCase().split(/\s+/).filter(Boolean);
    all("[data-find]").forEach((field) => { if (field.value !== text) field.value = text; });
    all("[data-sheet]").forEach((sheet) => draw(sheet, asked));
  }
  let waiting = 0;
  all("[data-find]").forEach((field) => field.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => find(field.value), 120);
  }));
})();
