// The matrix, asked: which builds fit a question, and what the answer is in words. Nothing here touches the page.
"use strict";
const matrix = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const RANK = { n: 0, c: 0, j: 1, p: 2, x: 3, "-": 3 }; // which code answers a question best; 3 does not run
  const MOST_ANSWERS = 8;

  // --- the builds, with names for what is only numbers in the file
  const rows = data.rows.map((values) => {
    const row = Object.fromEntries(data.fields.map((name, n) => [name, values[n]]));
    const index = data.indexes[row.index];
    return {
      ...row,
      name: data.packages[row.package],
      cuda: data.cudas[row.cuda],
      tags: data.tags[row.tags],
      place: data.platforms[row.platform],
      platform: data.platformNames[row.platform],
      windows: data.platforms[row.platform].startsWith("win"),
      index,
      source: data.sources[row.source],
      driver: data.drivers[row.driver] ?? null,
      needs: data.driverSets[row.drivers],
      hay: `${data.packages[row.package]} ${row.version} ${row.variant} ${index}`.toLowerCase(),
    };
  });
  const packages = new Map(data.packages.map((name, n) => [name, n]));
  const runs = (letter) => RANK[letter] < 3;

  // --- drivers
  const isDriver = (text) => /^\d{2,4}(\.\d{1,4}){0,2}$/.test(text);
  function branch(text) { // on Windows the releases of R580 go on as 581 and 582
    const front = Number(text.split(".")[0]);
    return data.branches.findLast((known) => known <= front) ?? front;
  }
  function compare(a, b) {
    const left = a.split(".").map(Number), right = b.split(".").map(Number);
    for (let n = 0; n < 3; n++) {
      const step = (left[n] ?? 0) - (right[n] ?? 0);
      if (step) return step;
    }
    return 0;
  }
  const newest = (a, b) => (compare(a, b) < 0 ? b : a);
  const oldest = (a, b) => (compare(a, b) < 0 ? a : b);
  // The oldest driver that knows a GPU: rows of single GPUs are of Linux, on Windows their branch counts.
  function knownFrom(gpu, windows) {
    if (!windows || !gpu.windows || !gpu.driver) return windows ? gpu.windows : gpu.driver;
    return newest(gpu.windows, String(branch(gpu.driver)));
  }

  // --- a GPU as a person writes it: a name, sm_120, 12.0; null where it is unknown or could be several
  const NOISE = /^(nvidia|geforce|tesla|gpu|graphics|card|generation|edition|pcie|sxm\d?|\d+gb|hbm\w*)$/;
  function wordsOf(name) {
    const spaced = name.toLowerCase().replace(/(rtx|gtx|gt|tesla|quadro)(?=\d)/g, "$1 ");
    return spaced.split(/[\s()\-_/]+/).filter((word) => word && !NOISE.test(word));
  }
  const products = data.products.map(([name, column, driver]) => {
    return { name, column, driver, words: new Set(wordsOf(name)) };
  });
  function findGpu(text) {
    const code = /^(?:sm_|compute_)?(\d{1,2})\.?(\d)[af]?$/i.exec(text.trim());
    if (code) {
      const column = data.columns.findIndex((c) => c.capability === `${code[1]}.${code[2]}`);
      return column < 0 ? null : { name: data.columns[column].capability, column, driver: data.columns[column].driver };
    }
    const words = wordsOf(text);
    const fits = products.filter((p) => words.length && words.every((word) => p.words.has(word)));
    const exact = fits.filter((p) => p.words.size === words.length);
    const found = exact.length ? exact : fits;
    if (new Set(found.map((p) => p.column)).size !== 1) return null;
    return found.reduce((best, p) => (p.name.length < best.name.length ? p : best));
  }

  // --- the question: {q, gpu, driver, cuda, python, platform, runs}; the answer: what is shown, on which columns
  function ask(question) {
    const asked = question.gpu.split(/[,;]/).map((text) => text.trim()).filter(Boolean);
    const gpus = asked.map(findGpu).filter(Boolean).map((gpu) => ({ ...data.columns[gpu.column], ...gpu }));
    const words = question.q.toLowerCase().split(/[\s,]+/).filter(Boolean);
    const named = new Set(words.filter((word) => packages.has(word)).map((word) => packages.get(word)));
    const others = words.filter((word) => !packages.has(word)).map((word) => word.replace("==", " "));
    const columns = gpus.length ? gpus.map((gpu) => gpu.column) : data.columns.map((_, n) => n);
    const serves = driverTest(question.driver, gpus.length ? gpus : data.columns);
    const everywhere = gpus.length > 0; // on all GPUs that were asked for, else on any
    const fits = (row, column, n) => (runs(row.verdicts[column]) ? serves(row, column, n) : !question.runs);
    const shown = rows.filter((row) => (
      (!named.size || named.has(row.package))
      && (!question.cuda || row.cuda === question.cuda)
      && (!question.platform || row.place === question.platform)
      && (!question.python || row.tags.pythons.includes(question.python))
      && others.every((word) => row.hay.includes(word))
      && (everywhere ? columns.every((c, n) => fits(row, c, n)) : columns.some((c, n) => fits(row, c, n)))
    ));
    return { question, gpus, columns, named, shown, unknown: asked.filter((text) => !findGpu(text)) };
  }

  // Does the driver at hand know the GPU, and load the code? What nobody knows excludes nothing. Numbers of drivers differ
  // between systems, their branches do not: R550 knows no RTX 50 anywhere.
  function driverTest(driver, gpus) {
    if (!isDriver(driver)) return () => true;
    const enough = data.drivers.map((text) => compare(text, driver) <= 0);
    const known = gpus.map((gpu) => (
      (!gpu.driver || branch(gpu.driver) <= branch(driver)) && (!gpu.last || branch(driver) <= gpu.last)
    ));
    const knows = (gpu, windows) => !knownFrom(gpu, windows) || compare(knownFrom(gpu, windows), driver) <= 0;
    const exact = [false, true].map((windows) => gpus.map((gpu) => knows(gpu, windows)));
    return (row, column, n) => (
      known[n] && (row.needs[column] < 0 || (enough[row.needs[column]] && exact[Number(row.windows)][n]))
    );
  }

  // The oldest driver with which a build runs on all GPUs that were asked for, else the one that loads its code at all.
  function driverOf(row, gpus) {
    if (!gpus.length || !gpus.every((gpu) => runs(row.verdicts[gpu.column]))) return row.driver;
    const needed = gpus.map((gpu) => {
      const own = data.drivers[row.needs[gpu.column]];
      const knows = knownFrom(gpu, row.windows);
      return own && knows ? newest(own, knows) : own;
    });
    return needed.every(Boolean) ? needed.reduce(newest) : null;
  }

  // --- the answer in words: [kind, sentence] each; `say` fills a sentence of the reader's language
  function answers(answer, say) {
    const { question, gpus, named, shown, unknown } = answer;
    const lines = unknown.map((gpu) => ["warn", say("gpu-unknown", { gpu })]);
    if (question.driver && !isDriver(question.driver)) lines.push(["warn", say("driver-unknown", question)]);
    gpus.forEach((gpu) => lines.push(...driversOf(gpu, question.driver, say)));
    if (apart(gpus)) lines.push(["bad", say("gpus-apart")]);
    const groups = new Map([...named].map((number) => [number, []]));
    shown.forEach((row) => groups.set(row.package, [...(groups.get(row.package) ?? []), row]));
    if (gpus.length && groups.size <= MOST_ANSWERS) {
      groups.forEach((builds, number) => lines.push(...releases(builds, number, gpus, say)));
    }
    return lines;
  }
  const join = (say, keys, values) => keys.filter(Boolean).map((key) => say(key, values)).join(say("and-then"));

  function driversOf(gpu, driver, say) {
    const given = isDriver(driver);
    const old = given && gpu.driver && compare(driver, gpu.driver) < 0;
    const late = given && gpu.last && branch(driver) > gpu.last;
    const keys = [
      old ? "driver-too-old" : late ? "driver-too-new" : gpu.driver && "gpu-needs",
      gpu.driver && gpu.windows && !old && !late && "gpu-needs-windows",
      gpu.last && !late && "gpu-last",
      gpu.open ? "gpu-open" : gpu.closed && "gpu-closed",
    ];
    const said = join(say, keys, {
      gpu: gpu.name, driver: gpu.driver, windows: knownFrom(gpu, true), asked: driver, branch: gpu.last,
    });
    return said ? [[old || late ? "bad" : "none", said]] : [];
  }

  // Can no single driver installation on Linux serve all of these GPUs?
  function apart(gpus) {
    const first = Math.max(0, ...gpus.filter((gpu) => gpu.driver).map((gpu) => branch(gpu.driver)));
    const modules = gpus.some((gpu) => gpu.open) && gpus.some((gpu) => gpu.closed);
    return modules || gpus.some((gpu) => gpu.last && gpu.last < first);
  }

  // One answer for the platforms that share it and the numbers of drivers; one alone where nothing runs anywhere.
  function releases(builds, number, gpus, say) {
    const values = {
      package: data.packages[number], newest: data.newest[number], gpu: gpus.map((gpu) => gpu.name).join(" + "),
    };
    const found = new Map();
    for (const platform of new Set(builds.map((row) => row.platform))) {
      const own = builds.filter((row) => row.platform === platform);
      const range = rangeOf(own, gpus);
      if (!range) continue;
      const key = [range.first, range.last, range.rank, own[0].windows].join();
      const same = found.get(key) ?? { ...range, platforms: [] };
      same.platforms.push(platform);
      if (range.driver) same.driver = same.driver ? oldest(same.driver, range.driver) : range.driver;
      found.set(key, same);
    }
    if (!found.size) return [["bad", say("runs-nowhere", values)]];
    return [...found.values()].map((range) => {
      const keys = [
        range.first === range.last ? "runs-one" : "runs-range",
        range.driver && "runs-driver",
        range.last !== values.newest && "runs-ended",
        ["", "runs-jit", "runs-partial"][range.rank],
      ];
      const platforms = range.platforms.join(say("listed"));
      return [range.rank ? "warn" : "good", join(say, keys, { ...values, ...range, platforms })];
    });
  }
  function rangeOf(builds, gpus) {
    const rankOf = (row) => Math.max(...gpus.map((gpu) => RANK[row.verdicts[gpu.column]]));
    const rank = Math.min(...builds.map(rankOf));
    if (rank > 2) return null;
    const running = builds.filter((row) => rankOf(row) === rank);
    const drivers = running.map((row) => driverOf(row, gpus)).filter(Boolean);
    const driver = drivers.length ? drivers.reduce(oldest) : null;
    return { rank, driver, first: running.at(-1).version, last: running[0].version };
  }

  return { data, rows, runs, ask, answers, driverOf };
})();
