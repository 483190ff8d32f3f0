// What the page of several runs knows: numbers as they are stored, where each run stands at the
// cursor, what is drawn, what the address keeps and what is exported. Nothing here knows of a page.
"use strict";

const Runs = (() => {
  const NAMES = { loss: "loss", test_error: "test error", effective_rank: "effective rank",
    on_diagonal: "alignment, diagonal", off_diagonal: "alignment, off-diagonal",
    spectrum: "singular values", matrix: "W" };
  const LINEAR = ["effective_rank"], SPECTRUM_FLOOR = 1e-16, DRAWN = 8; // singular values
  const DASHES = ["", "8 3", "3 3", "9 3 2 3", "1 3"]; // as many times the colours
  const BY = { time: "time t or iteration", loss: "loss ℓ (falls to the right)", record: "record" };

  // What is stored: little-endian numbers

  function floats(buffer) {
    const view = new DataView(buffer), length = buffer.byteLength / 4;
    return Float32Array.from({ length }, (_, k) => view.getFloat32(4 * k, true));
  }

  /** From a moment to {w, rows, columns, largest, moment}; of every few moments there is one. */
  function matrixReader({ shape: [rows, columns], largest, bits, every }, buffer) {
    const size = rows * columns, data = bits === 32 ? floats(buffer) : new Uint8Array(buffer);
    if (bits === 8) for (let k = size; k < data.length; k++) data[k] += data[k - size]; // differences
    return index => {
      const at = Math.min(largest.length - 1, Math.floor(index / every)), unit = largest[at] / 127;
      const codes = data.subarray(at * size, (at + 1) * size);
      const w = bits === 32 ? Float64Array.from(codes)
        : Float64Array.from(codes, code => code === 255 ? NaN : (code - 127) * unit);
      return { w, rows, columns, largest: largest[at], moment: at * every };
    };
  }

  /** Singular values by run: each as a series. */
  function spectrumOf({ count }, buffer) {
    const stored = floats(buffer), moments = stored.length / count;
    return Array.from({ length: count }, (_, i) => (
      Array.from({ length: moments }, (_, k) => stored[k * count + i])));
  }

  // Where runs stand

  const coordinates = (run, by) => by === "time" ? run.times.map(Number)
    : by === "loss" ? run.series.loss.map(Number) : run.records;

  /** The record of a run at the cursor: the last before a time or a record, the first below a loss. */
  function recordAt(run, by, at) {
    const x = coordinates(run, by), last = x.length - 1;
    if (by === "loss") {
      const found = x.findIndex(value => value <= at * (1 + 1e-12));
      return found < 0 ? last : found;
    }
    let found = 0;
    while (found < last && x[found + 1] <= at + 1e-12 * Math.abs(at)) found++;
    return found;
  }

  /** The run that goes furthest along: keys step through its records, and so reach every end. */
  function leader(runs, by) {
    const far = run => coordinates(run, by).at(-1) * (by === "loss" ? -1 : 1);
    return runs.reduce((best, run) => far(run) > far(best) ? run : best);
  }

  const positive = values => values.filter(x => Number.isFinite(x) && x > 0);
  const extent = values => values.reduce(
    ([low, high], x) => [Math.min(low, x), Math.max(high, x)], [Infinity, -Infinity]);

  /** The axis that the cursor moves along; t = 0 stands apart at its left edge, up to `apart`. */
  function axisAlong(runs, by) {
    const all = runs.flatMap(run => coordinates(run, by));
    if (by === "record") return Chart.linearAxis(0, Math.max(1, extent(all)[1]), BY.record);
    const [low, high] = positive(all).length ? extent(positive(all)) : [0.1, 1];
    const wide = high > low ? high : 2 * low;
    if (by === "loss") return Chart.logAxis(wide, low, BY.loss);
    const descents = runs.filter(run => run.clock === "iteration").length;
    const label = descents === 0 ? "time t" : descents === runs.length ? "iteration" : BY.time;
    const gap = Math.max(1.6, (wide / low) ** 0.08), axis = Chart.logAxis(low / gap, wide, label);
    const ticks = axis.ticks.filter(({ value }) => value >= low * 0.99);
    if (all.includes(0)) ticks.unshift({ value: 0, text: "0" });
    return { ...axis, ticks, apart: low / gap ** 0.7, at: x => x === 0 ? 0 : axis.at(x) };
  }

  /** The place on the axis, 0 to 1, as a value of the cursor: the inverse of `at`. */
  function valueAt(runs, by, share) {
    const axis = axisAlong(runs, by), all = runs.flatMap(run => coordinates(run, by));
    const places = all.map(axis.at);
    return all.reduce((best, x, k) => (
      Math.abs(places[k] - share) < Math.abs(best.place - share) ? { x, place: places[k] } : best),
    { x: all[0], place: Infinity }).x;
  }

  // What there is to see

  function quantities(runs) {
    const found = new Set(runs.flatMap(run => Object.keys(run.series)));
    if (runs.some(run => run.spectrum)) found.add("spectrum");
    if (runs.some(run => run.matrix)) found.add("matrix");
    return Object.keys(NAMES).filter(name => found.has(name));
  }

  const lookOf = (k, named) => ({ colour: k % named, dash: DASHES[Math.floor(k / named) % DASHES.length] });

  function seriesOf(run, name) {
    if (name === "spectrum") return (run.sigma || []).slice(0, DRAWN);
    return name in run.series ? [run.series[name].map(Number)] : [];
  }

  function axisUp(runs, name) {
    const values = runs.flatMap(run => seriesOf(run, name)).flat().filter(Number.isFinite);
    if (LINEAR.includes(name)) {
      const [low, high] = values.length ? extent(values) : [0, 1], pad = 0.05 * (high - low || 1);
      return Chart.linearAxis(low - pad, high + pad, NAMES[name]);
    }
    const above = positive(values), [lowest, high] = above.length ? extent(above) : [0.1, 1];
    const low = name === "spectrum" ? Math.max(lowest, high * SPECTRUM_FLOOR) : lowest;
    const room = Math.max(1.1, (high / low) ** 0.05);
    return Chart.logAxis(low / room, high * room, NAMES[name]);
  }

  /**
   * The charts to draw: one for a quantity, or one for each run.
   *
   * @param shown indices of the runs that are shown.
   * @param named how many colours there are.
   */
  function charts(runs, shown, { by, show, beside }, size, named) {
    const visible = shown.map(k => runs[k]), found = [];
    for (const name of show.filter(name => name !== "matrix")) {
      const more = name === "spectrum" && visible.some(run => run.spectrum?.of > DRAWN);
      const title = more ? `the ${DRAWN} largest singular values` : NAMES[name];
      const up = axisUp(visible, name), along = axisAlong(visible, by);
      // What is at t = 0 is a dash of its own: no line leads from there to the first decade.
      const placed = (t, y) => t === 0 && along.apart ? [[0, y], [along.apart, y], [NaN, NaN]] : [[t, y]];
      for (const group of beside ? shown.map(k => [k]) : [shown]) {
        const curves = group.flatMap(k => {
          const x = coordinates(runs[k], by);
          return seriesOf(runs[k], name).map((values, i) => ({ ...lookOf(k, named), run: k,
            name: runs[k].label, thin: i > 0, points: x.flatMap((t, j) => placed(t, values[j])) }));
        });
        found.push({ name: `${name}-${group[0]}`, quantity: name, ...size, curves,
          title: beside ? `${title}: ${runs[group[0]].label}` : title,
          x: along, y: up });
      }
    }
    return found;
  }

  /** Values of a quantity at a record, as texts with the run's name. */
  function told(runs, shown, name, by, at) {
    return shown.filter(k => seriesOf(runs[k], name).length).map(k => {
      const values = seriesOf(runs[k], name).map(series => series[recordAt(runs[k], by, at)]);
      const text = x => name === "spectrum" && x === 0 ? "below 10⁻³⁷" : Chart.said(x); // as stored
      return [k, runs[k].label, values.slice(0, 4).map(text).join(", ")];
    });
  }

  // A family over depth and scale

  const distinct = values => [...new Set(values)].sort((a, b) => a - b);
  const choices = family => [0, 1].map(k => distinct(family.map(pair => pair[k])));

  /** The run of a depth whose scale is nearest to the one asked for. */
  function member(family, depth, scale) {
    const size = x => x > 0 ? Math.log(x) : x;
    return family.reduce((best, [d, s], k) => {
      const miss = Math.abs(d - depth) * 1e6 + Math.abs(size(s) - size(scale));
      return miss < best.miss ? { k, miss } : best;
    }, { k: 0, miss: Infinity }).k;
  }

  // The address: #x=loss&at=0.01&runs=0,2&show=loss,spectrum&beside=1&member=3

  function read(hash, runs) {
    const given = new URLSearchParams(hash.replace(/^#/, "")), there = quantities(runs);
    const whole = text => text === null || !/^\d+$/.test(text) ? null : Number(text);
    const by = Object.hasOwn(BY, given.get("x")) ? given.get("x") : "time";
    const list = name => given.has(name) ? given.get(name).split(",") : null;
    const asked = list("runs")?.map(whole).filter(k => k !== null && k < runs.length);
    const show = list("show")?.filter(name => there.includes(name));
    const at = given.get("at"), value = at === null || at.trim() === "" ? NaN : Number(at);
    const one = whole(given.get("member"));
    return { by, at: Number.isFinite(value) ? value : null, beside: given.get("beside") === "1",
      runs: asked?.length ? [...new Set(asked)] : runs.map((_, k) => k),
      show: show?.length ? there.filter(name => show.includes(name)) : there,
      member: one !== null && one < runs.length ? one : 0 };
  }

  const written = ({ by, at, beside, runs, show, member: one }, family) => `#x=${by}&at=${at}`
    + `&runs=${runs.join(",")}&show=${show.join(",")}&beside=${Number(beside)}`
    + (family ? `&member=${one}` : "");

  // What is exported

  function rows(runs) {
    const series = quantities(runs).filter(name => !["spectrum", "matrix"].includes(name));
    const count = Math.max(0, ...runs.map(run => (run.sigma || []).length));
    const sigma = Array.from({ length: count }, (_, i) => `sigma_${i + 1}`);
    const all = runs.flatMap(run => run.records.map((record, k) => [run.label, record, run.times[k],
      ...series.map(name => run.series[name]?.[k] ?? ""),
      ...sigma.map((_, i) => run.sigma?.[i]?.[k] ?? "")]));
    return [["run", "record", "time", ...series, ...sigma], ...all];
  }

  /** A label that a spreadsheet would take for a formula gets an apostrophe before it. */
  function cell(value) {
    if (typeof value === "number") return String(value);
    const text = /^[=+\-@\t\r]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  }

  const csv = runs => rows(runs).map(row => `${row.map(cell).join(",")}\r\n`).join("");

  const json = runs => JSON.stringify(runs.map(({ label, what, outcome, clock, records, times, series,
    sigma }) => ({ label, what, outcome, clock, records, times, series, singular_values: sigma })));

  /** All charts as one SVG that stands by itself; `style` gives its colours. */
  function picture(drawn, title, style, columns) {
    const { width, height } = drawn[0], tall = height + 42, lines = Math.ceil(drawn.length / columns);
    const keys = new Map(drawn.flatMap(chart => chart.curves.filter(curve => !curve.thin)
      .map(curve => [curve.name, curve])));
    const entries = [...keys.values()], foot = 20 * entries.length + 10;
    const cells = drawn.map((chart, k) => {
      const place = `${(k % columns) * (width + 16) + 8} ${Math.floor(k / columns) * tall + 40}`;
      return `<g transform="translate(${place})"><text class="head" x="4" y="16">${
        Chart.escaped(chart.title)}</text><g transform="translate(0 24)">${Chart.chart(chart)}</g></g>`;
    });
    const top = lines * tall + 44, wide = columns * (width + 16) + 16;
    const key = entries.map(({ name, colour, dash }, k) => (
      `<g transform="translate(16 ${top + 20 * k})"><path class="curve" d="M0 4H26" style="stroke:var(--c${
        colour})${dash ? `;stroke-dasharray:${dash}` : ""}"/><text x="34" y="8">${Chart.escaped(name)}</text></g>`));
    const space = `http:${"//"}www.w3.org/2000/svg`;
    return `<svg xmlns="${space}" width="${wide}" height="${top + foot}" viewBox="0 0 ${wide} ${
      top + foot}"><style>${style}</style><rect class="paper" width="100%" height="100%"/>`
      + `<text class="title" x="12" y="26">${Chart.escaped(title)}</text>${cells.join("")}${key.join("")}</svg>`;
  }

  return { BY, NAMES, axisAlong, charts, choices, coordinates, csv, floats, json, leader, lookOf, matrixReader,
    member, picture, quantities, read, recordAt, spectrumOf, told, valueAt, written };
})();

if (typeof module !== "undefined") module.exports = Runs;
