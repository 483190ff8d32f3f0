"use strict";
const $ = selector => document.querySelector(selector);
const add = (tag, parent) => parent.appendChild(document.createElement(tag));
const page = JSON.parse($("#page-data").textContent);
const LAST = page.times.length - 1;

// Numbers

const largestOf = values => values.reduce((a, b) => Math.max(a, b), -Infinity);
const smallestOf = values => values.reduce((a, b) => Math.min(a, b), Infinity);
const positive = x => Number.isFinite(Number(x)) && Number(x) > 0 ? Number(x) : null;
const minus = text => String(text).replace("-", "−");

function written(value) {
  const x = Number(value), size = Math.abs(x);
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "not a number" : x > 0 ? "∞" : "−∞";
  if (Number.isInteger(x) && size < 1e6) return minus(x.toLocaleString("en-GB"));
  if (size >= 0.01 && size < 1e4) return minus(x.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size)))));
  const [mantissa, power] = x.toExponential(2).split("e");
  return `${minus(mantissa)}×10<sup>${minus(power.replace("+", ""))}</sup>`;
}

// What is stored: little-endian numbers, compressed, as text

async function inflate(name) {
  const text = atob($(`#${name}-data`).textContent), bytes = new Uint8Array(text.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = text.charCodeAt(k);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function floats(buffer) {
  const view = new DataView(buffer), length = buffer.byteLength / 4;
  return Float32Array.from({ length }, (_, k) => view.getFloat32(4 * k, true));
}

function matrixReader(buffer) {
  const { shape: [rows, columns], largest, bits } = page.matrix, size = rows * columns;
  const data = bits === 32 ? floats(buffer) : new Uint8Array(buffer);
  if (bits === 8) for (let k = size; k < data.length; k++) data[k] += data[k - size]; // were differences
  const entry = (code, unit) => bits === 32 ? code : code === 255 ? NaN : (code - 127) * unit;
  return index => Array.from({ length: rows }, (_, i) => {
    const start = index * size + i * columns, unit = largest[index] / 127;
    return Float64Array.from(data.subarray(start, start + columns), code => entry(code, unit));
  });
}

// Moving: `wanted` is where the slider stands, `current` what the panels show

const slider = $("#slider"), low = smallestOf(page.places), high = largestOf(page.places);
let current = -1, wanted = LAST, playing = null, due = false, keeping = null;

const chosen = id => $(`#${id} button:last-child`).ariaPressed === "true";
const nearest = place => page.places.reduce(
  (best, x, k) => Math.abs(x - place) < Math.abs(page.places[best] - place) ? k : best, 0);

function moveTo(index) {
  wanted = Math.max(0, Math.min(LAST, index));
  slider.value = page.places[wanted];
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    if (wanted !== current) show(wanted);
  });
}

function show(index) {
  const rank = page.series.effective_rank;
  current = index;
  $("#moment").innerHTML = `${page.clock} = ${written(page.times[index])}`;
  slider.setAttribute("aria-valuetext", $("#moment").textContent);
  $("#record").innerHTML = `<b>${index + 1}</b> of ${LAST + 1}`;
  if (rank) $("#rank").innerHTML = `effective rank <b>${written(rank[index])}</b>`;
  for (const move of panels) move(index);
  document.body.dataset.shown = index;
  clearTimeout(keeping);
  keeping = setTimeout(keep, 200); // browsers count how often an address changes
}

function face() {
  const path = playing ? "M3 2h4v12H3zM9 2h4v12H9z" : "M4 2l10 6-10 6z";
  $("#play").innerHTML = `<svg width="16" height="16" viewBox="0 0 16 16"><path d="${path}"/></svg>`;
  $("#play").ariaLabel = playing ? "pause" : "play";
}

function stop() {
  clearInterval(playing);
  playing = null;
  face();
}

function play() {
  if (playing) return stop();
  if (wanted === LAST) moveTo(0);
  playing = setInterval(() => { // about ten seconds in all
    moveTo(wanted + 1);
    if (wanted === LAST) stop();
  }, Math.max(40, 10000 / (LAST + 1)));
  face();
}

const KEYS = {
  ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1,
  PageDown: -10, PageUp: 10, Home: -Infinity, End: Infinity,
};

function listen() {
  slider.min = low;
  slider.max = high;
  slider.addEventListener("input", () => {
    stop();
    moveTo(nearest(Number(slider.value)));
  });
  $("#play").addEventListener("click", play);
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key in KEYS) {
      stop();
      moveTo(wanted + KEYS[event.key]);
    } else if (event.key === " " && event.target.tagName !== "BUTTON") play();
    else return;
    event.preventDefault();
  });
  for (const choice of document.querySelectorAll(".choice")) {
    choice.addEventListener("click", ({ target }) => {
      for (const button of choice.children) button.ariaPressed = String(button === target);
      show(current);
    });
  }
}

// The address keeps the record, and a file has the numbers

const addressed = () => {
  const found = /^#record=(\d+)$/.exec(location.hash);
  return found ? Math.min(LAST, Math.max(0, Number(found[1]) - 1)) : LAST;
};

function keep() {
  const hash = `#record=${current + 1}`;
  if (hash === location.hash || (current === LAST && !location.hash)) return;
  try { history.replaceState(null, "", hash); } catch { /* a frame without an address of its own */ }
}

/** A line a record, and a column for each series and singular value. */
function csv(stored) {
  const names = Object.keys(page.series), count = stored ? page.spectrum.count : 0;
  const sigma = Array.from({ length: count }, (_, i) => i);
  const lines = page.times.map((time, k) => [k + 1, time, ...names.map(name => page.series[name][k]),
    ...sigma.map(i => stored[k * count + i])]);
  return [["record", "time", ...names, ...sigma.map(i => `sigma_${i + 1}`)], ...lines]
    .map(line => `${line.join(",")}\n`).join("");
}

function save(name, blob) {
  const link = document.createElement("a"), url = URL.createObjectURL(blob);
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// The page: panels over time on the left; the spectrum now, beside its curves, and W on the right

function arrange(present) {
  for (const [id, kept] of Object.entries(present)) if (!kept) $(`#${id}`).remove();
  const times = [...document.querySelectorAll(".time")], now = $("#now"), matrices = $("#matrices");
  times.forEach((panel, k) => { panel.style.gridArea = `${k + 2} / 1`; });
  const heights = { spectrum: "1.55fr", loss: ".87fr", alignment: "1fr" };
  $("main").style.gridTemplateRows = `34px ${times.map(panel => heights[panel.id]).join(" ")}`;
  if (now) now.style.gridArea = matrices ? "2 / 2" : `2 / 2 / ${times.length + 2} / 3`;
  if (matrices) matrices.style.gridArea = `${now ? 3 : 2} / 2 / ${times.length + 2} / 3`;
}

async function open() {
  $("h1").textContent = page.title;
  $("body > header p").textContent = page.subtitle;
  const [code, spectrum, matrix] = await Promise.all([
    inflate("plotly"), page.spectrum && inflate("spectrum"), page.matrix && inflate("matrix")]);
  add("script", document.head).textContent = new TextDecoder().decode(code);
  $("main").hidden = $("footer").hidden = false;
  const { on_diagonal: alignment, test_error: error } = page.series;
  arrange({ spectrum: page.spectrum, now: page.spectrum, alignment, matrices: page.matrix });
  const stored = page.spectrum && floats(spectrum);
  if (stored) drawSpectrum(stored);
  drawSeries("loss", { loss: "loss", test_error: "test error" },
    error ? "loss, test error" : "loss", !alignment);
  if (alignment) drawSeries("alignment", { on_diagonal: "diagonal", off_diagonal: "off-diagonal" },
    "mean |(Uᵀ∇ℓV)<sub>ij</sub>|", true);
  if (page.matrix) drawMatrices(matrixReader(matrix));
  listen();
  $("#csv").addEventListener("click", () => save("run.csv", new Blob([csv(stored)], { type: "text/csv" })));
  $("#png").addEventListener("click", async () => (await picture()).toBlob(blob => save("run.png", blob)));
  addEventListener("hashchange", () => moveTo(addressed()));
  face();
  moveTo(addressed());
  show(wanted);
  document.body.dataset.ready = Math.round(performance.now());
}

open().catch(error => {
  $("#failure").hidden = false;
  $("#failure").textContent = typeof DecompressionStream === "undefined"
    ? "This page needs a newer browser: one with DecompressionStream (2023 or later)."
    : `The page could not be drawn: ${error.message}`;
  throw error;
});
