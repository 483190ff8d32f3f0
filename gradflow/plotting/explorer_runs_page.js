// The page of several runs: its controls, its cursor, and what it shows.
"use strict";

const $ = id => document.getElementById(id);
const page = JSON.parse($("page-data").textContent);
const { runs, family } = page, NAMED = 7; // colours
const SHADES = [[0, 56, 92], [0, 114, 178], [248, 248, 248], [213, 94, 0], [122, 50, 0]];
const SHADE_PLACES = [0, 0.25, 0.5, 0.75, 1];
let settings = null, drawn = [], playing = null;

const shown = () => settings.runs;
const visible = () => shown().map(k => runs[k]);

async function inflate(id) {
  const text = atob($(id).textContent), bytes = Uint8Array.from(text, c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// The cursor

function keepAddress() {
  const hash = Runs.written(settings, family);
  if (hash === location.hash) return;
  try { history.replaceState(null, "", hash); } catch { /* a frame without an address of its own */ }
}

function moveTo(at) {
  settings.at = at;
  $("slider").value = Runs.axisAlong(visible(), settings.by).at(at);
  const names = { time: visible().every(run => run.clock === "iteration") ? "iteration" : "t", loss: "loss",
    record: "record" };
  $("moment").textContent = `${names[settings.by]} = ${Chart.said(at)}`;
  $("slider").setAttribute("aria-valuetext", $("moment").textContent);
  for (const chart of drawn) {
    const box = Chart.boxOf(chart), x = box.left + chart.x.at(at) * box.wide, line = $(`cursor-${chart.name}`);
    line.setAttribute("x1", x.toFixed(1));
    line.setAttribute("x2", x.toFixed(1));
  }
  showTable();
  showMatrices();
  keepAddress();
  document.body.dataset.at = at;
}

function moveBy(records) {
  const run = Runs.leader(visible(), settings.by), x = Runs.coordinates(run, settings.by);
  const now = Runs.recordAt(run, settings.by, settings.at);
  moveTo(x[Math.max(0, Math.min(x.length - 1, now + records))]);
}

function along(by) { // the cursor stays at the first run's record
  const run = visible()[0], k = Runs.recordAt(run, settings.by, settings.at);
  settings.by = by;
  settings.at = Runs.coordinates(run, by)[k];
  draw();
}

function stop() {
  clearInterval(playing);
  playing = null;
  $("play").textContent = "Play";
}

function play() {
  if (playing) return stop();
  let share = Number($("slider").value);
  if (share >= 0.999) share = 0;
  $("play").textContent = "Pause";
  playing = setInterval(() => { // about ten seconds in all
    share = Math.min(1, share + 0.005);
    moveTo(Runs.valueAt(visible(), settings.by, share));
    $("slider").value = share;
    if (share >= 1) stop();
  }, 50);
  return undefined;
}

// What is shown

function showTable() {
  const names = settings.show.filter(name => name !== "matrix");
  const time = runs.some(run => run.clock === "t") ? runs.some(run => run.clock !== "t") ? "t, iteration" : "t" : "iteration";
  const records = runs.map(run => Runs.recordAt(run, settings.by, settings.at));
  const told = Object.fromEntries(names.map(name => [name, Object.fromEntries(
    Runs.told(runs, runs.map((_, k) => k), name, settings.by, settings.at).map(([k, , text]) => [k, text]))]));
  if (!$("rows").children.length) {
    const heads = ["run", "record", time, ...names.map(name => Runs.NAMES[name])];
    $("heads").innerHTML = `<tr>${heads.map(text => `<th>${Chart.escaped(text)}</th>`).join("")}</tr>`;
    $("rows").innerHTML = runs.map((run, k) => {
      const { colour, dash } = Runs.lookOf(k, NAMED), stroke = `stroke:var(--c${colour})${dash ? `;stroke-dasharray:${dash}` : ""}`;
      return `<tr title="${Chart.escaped(`${run.what}; ${run.outcome}`)}"><td><label><input type="checkbox" id="run-${k}"> `
        + `<svg width="26" height="8" aria-hidden="true"><path class="curve" d="M0 4H26" style="${stroke}"/></svg> `
        + `${Chart.escaped(run.label)}</label></td><td id="table-${k}-record"></td><td id="table-${k}-time"></td>${
          names.map(name => `<td id="table-${k}-${name}"></td>`).join("")}</tr>`;
    }).join("");
    runs.forEach((_, k) => $(`run-${k}`).addEventListener("change", () => choose(k)));
  }
  runs.forEach((run, k) => {
    $(`run-${k}`).checked = shown().includes(k);
    $(`table-${k}-record`).textContent = Chart.said(run.records[records[k]]);
    $(`table-${k}-time`).textContent = Chart.said(Number(run.times[records[k]]));
    for (const name of names) $(`table-${k}-${name}`).textContent = told[name][k] ?? "";
  });
}

function choose(k) {
  const without = shown().filter(one => one !== k);
  if (without.length < shown().length && !without.length) $(`run-${k}`).checked = true; // one stays
  else settings.runs = without.length < shown().length ? without : [...without, k].sort((a, b) => a - b);
  draw();
}

function draw() {
  const columns = settings.beside ? shown().length : 2;
  $("charts").style.setProperty?.("--columns", columns);
  const wide = ($("charts").clientWidth || 900), narrow = globalThis.innerWidth <= 640;
  const width = Math.max(230, Math.round((wide - 18 * (columns - 1)) / (narrow ? 1 : columns)));
  drawn = Runs.charts(runs, shown(), settings, { width, height: 240 }, NAMED);
  $("charts").innerHTML = drawn.map(chart => {
    const box = Chart.boxOf(chart);
    return `<figure><h2>${Chart.escaped(chart.title)}</h2><svg class="chart" id="chart-${chart.name}" role="img" viewBox="0 0 ${
      chart.width} ${chart.height}" preserveAspectRatio="none" aria-label="${Chart.escaped(`${chart.title} against ${
      chart.x.label}; the table has the values at the cursor`)}">${Chart.chart(chart)}<line class="cursor" id="cursor-${
      chart.name}" y1="${box.top}" y2="${box.top + box.tall}"/></svg></figure>`;
  }).join("");
  drawn.forEach(chart => listenTo($(`chart-${chart.name}`), chart));
  $("by").value = settings.by;
  $("beside").value = String(Number(settings.beside));
  for (const name of Runs.quantities(runs)) $(`show-${name}`).checked = settings.show.includes(name);
  if (family) showFamily();
  $("rows").replaceChildren();
  $("matrices").replaceChildren();
  moveTo(settings.at);
}

function shade(x) { // from -1 to 1
  const place = Math.min(1, Math.max(0, (x + 1) / 2)), k = Math.min(3, SHADE_PLACES.findLastIndex(p => p <= place));
  const share = (place - SHADE_PLACES[k]) / (SHADE_PLACES[k + 1] - SHADE_PLACES[k]);
  return SHADES[k].map((c, i) => Math.round(c + share * (SHADES[k + 1][i] - c)));
}

function showMatrices() {
  const there = settings.show.includes("matrix") ? shown().filter(k => runs[k].read).slice(0, 12) : [];
  if (!there.length) return $("matrices").replaceChildren();
  if (!$("matrices").children.length) {
    $("matrices").innerHTML = there.map(k => `<figure><canvas id="matrix-${k}" role="img" aria-label="${
      Chart.escaped(`W of ${runs[k].label}`)}"></canvas><figcaption id="caption-${k}"></figcaption></figure>`).join("");
    for (const k of there) listenToMatrix($(`matrix-${k}`), k);
  }
  for (const k of there) {
    const { w, rows, columns, largest, moment } = runs[k].read(Runs.recordAt(runs[k], settings.by, settings.at));
    const canvas = $(`matrix-${k}`), top = Math.max(...runs[k].matrix.largest.filter(Number.isFinite), 0) || 1;
    Object.assign(canvas, { width: columns, height: rows });
    const brush = canvas.getContext("2d"), image = brush.createImageData(columns, rows);
    w.forEach((x, i) => image.data.set(Number.isFinite(x) ? [...shade(x / top), 255] : [0, 0, 0, 0], 4 * i));
    brush.putImageData(image, 0, 0);
    $(`caption-${k}`).textContent = `W, ${runs[k].label}, record ${runs[k].records[moment]}: largest |entry| ${
      Chart.said(largest)}; colours to ±${Chart.said(top)}`;
  }
  return undefined;
}

// Hover and press

function hover(event, html) {
  const box = $("hover");
  box.hidden = !html;
  if (!html) return;
  box.innerHTML = html;
  box.style.left = `${Math.min(event.clientX + 14, Math.max(0, globalThis.innerWidth - 310))}px`;
  const low = event.clientY > globalThis.innerHeight - 140; // then it stands above
  box.style.top = `${low ? event.clientY - 14 : event.clientY + 14}px`;
  box.style.transform = low ? "translateY(-100%)" : "";
}

function listenTo(svg, chart) {
  const under = event => {
    const box = svg.getBoundingClientRect(), inner = Chart.boxOf(chart), x = (event.clientX - box.left) / box.width * chart.width;
    return Runs.valueAt(visible(), settings.by, Math.min(1, Math.max(0, (x - inner.left) / inner.wide)));
  };
  svg.addEventListener("pointerdown", event => {
    stop();
    svg.setPointerCapture(event.pointerId);
    moveTo(under(event));
  });
  svg.addEventListener("pointermove", event => {
    const at = under(event), those = [...new Set(chart.curves.map(curve => curve.run))];
    if (event.buttons & 1) moveTo(at);
    const lines = Runs.told(runs, those, chart.quantity, settings.by, at).map(([k, label, text]) => (
      `<div><b style="color:var(--c${Runs.lookOf(k, NAMED).colour})">${Chart.escaped(label)}</b> ${Chart.escaped(text)}</div>`));
    hover(event, `<div>${Chart.escaped(Runs.BY[settings.by].split(" ")[0])} ${Chart.said(at)}</div>${lines.join("")}`);
  });
  svg.addEventListener("pointerleave", event => hover(event, ""));
}

function listenToMatrix(canvas, k) {
  canvas.addEventListener("pointermove", event => {
    const { w, rows, columns } = runs[k].read(Runs.recordAt(runs[k], settings.by, settings.at));
    const box = canvas.getBoundingClientRect(), inside = (x, n) => Math.min(n - 1, Math.max(0, Math.floor(x * n)));
    const i = inside((event.clientY - box.top) / box.height, rows), j = inside((event.clientX - box.left) / box.width, columns);
    const [down, across] = runs[k].matrix.steps;
    hover(event, `row ${i * down}, column ${j * across}: ${Chart.said(w[i * columns + j])}`);
  });
  canvas.addEventListener("pointerleave", event => hover(event, ""));
}

// A family

function showFamily() {
  const [depths, scales] = Runs.choices(family), [depth, scale] = family[settings.member];
  Object.assign($("depth"), { max: depths.length - 1, value: depths.indexOf(depth) });
  Object.assign($("scale"), { max: scales.length - 1, value: scales.indexOf(scale) });
  $("depth-now").textContent = String(depth);
  $("scale-now").textContent = Chart.said(scale);
  $("single").checked = shown().length === 1 && shown()[0] === settings.member;
}

function slide() {
  const [depths, scales] = Runs.choices(family);
  settings.member = Runs.member(family, depths[Number($("depth").value)], scales[Number($("scale").value)]);
  settings.runs = [settings.member];
  draw();
}

// Files

function save(name, kind, data) {
  const link = document.createElement("a"), url = URL.createObjectURL(new Blob([data], { type: kind }));
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function picture() {
  const style = `${$("colours").textContent}${$("drawing").textContent}`;
  return drawn.length ? Runs.picture(drawn, page.title, style, settings.beside ? shown().length : 2) : "";
}

function savePng(svg) {
  const image = new Image(), [, wide, tall] = svg.match(/width="(\d+)" height="(\d+)"/);
  image.onload = () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 2 * wide, height: 2 * tall });
    canvas.getContext("2d").drawImage(image, 0, 0, 2 * wide, 2 * tall);
    canvas.toBlob(blob => save("runs.png", "image/png", blob));
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
}

// Controls

function listen() {
  $("play").addEventListener("click", play);
  $("slider").addEventListener("input", () => {
    stop();
    moveTo(Runs.valueAt(visible(), settings.by, Number($("slider").value)));
  });
  $("by").addEventListener("change", () => along($("by").value));
  $("beside").addEventListener("change", () => { settings.beside = $("beside").value === "1"; draw(); });
  $("show").innerHTML = Runs.quantities(runs).map(name => (
    `<label><input type="checkbox" id="show-${name}"> ${Chart.escaped(Runs.NAMES[name])}</label>`)).join("");
  for (const name of Runs.quantities(runs)) {
    $(`show-${name}`).addEventListener("change", () => {
      settings.show = Runs.quantities(runs).filter(one => $(`show-${one}`).checked);
      draw();
    });
  }
  if (family) {
    $("family").hidden = false;
    for (const id of ["depth", "scale"]) $(id).addEventListener("input", slide);
    $("single").addEventListener("change", () => {
      settings.runs = $("single").checked ? [settings.member] : runs.map((_, k) => k);
      draw();
    });
  }
  $("svg").addEventListener("click", () => save("runs.svg", "image/svg+xml", picture()));
  $("png").addEventListener("click", () => { if (drawn.length) savePng(picture()); });
  $("csv").addEventListener("click", () => save("runs.csv", "text/csv", Runs.csv(visible())));
  $("json").addEventListener("click", () => save("runs.json", "application/json", Runs.json(visible())));
  const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
  const ways = { t: "time", l: "loss", n: "record" };
  document.addEventListener("keydown", event => {
    const { tagName, id } = event.target;
    if (event.ctrlKey || event.altKey || event.metaKey || tagName === "SELECT") return;
    if (event.key in moves && (tagName !== "INPUT" || id === "slider")) {
      stop();
      moveBy(moves[event.key]);
    } else if (event.key === " " && !["BUTTON", "INPUT"].includes(tagName)) play();
    else if (Object.hasOwn(ways, event.key)) along(ways[event.key]);
    else return;
    event.preventDefault();
  });
  addEventListener("hashchange", () => {
    if (location.hash !== Runs.written(settings, family)) begin();
  });
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 100); });
}

function begin() {
  settings = Runs.read(location.hash, runs);
  if (settings.at === null) settings.at = Runs.valueAt(visible(), settings.by, 1);
  draw();
}

async function open() {
  $("title").textContent = page.title;
  await Promise.all(runs.map(async (run, k) => {
    if (run.spectrum) run.sigma = Runs.spectrumOf(run.spectrum, await inflate(`spectrum-${k}-data`));
    if (run.matrix) run.read = Runs.matrixReader(run.matrix, await inflate(`matrix-${k}-data`));
  }));
  listen();
  begin();
  document.body.dataset.ready = Math.round(performance.now());
}

const opened = open().catch(error => {
  $("failure").hidden = false;
  $("failure").textContent = typeof DecompressionStream === "undefined"
    ? "This page needs a newer browser: one with DecompressionStream (2023 or later)."
    : `The page could not be drawn: ${error.message}`;
  throw error;
});
