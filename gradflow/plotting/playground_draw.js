// The playground's curves as SVG texts. Colours are the page's own properties (--c0, ...), so that
// light and dark are its style's affair. Nothing here knows of a page.
"use strict";

const Draw = (() => {
  const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷",
    8: "⁸", 9: "⁹" };
  const MARGIN = { left: 58, right: 12, top: 8, bottom: 38 };
  const escaped = text => String(text).replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`);

  const power = k => `10${String(k).replace(/./g, c => RAISED[c])}`;
  const minus = text => String(text).replace(/-/g, "−");

  /** A number for reading: three digits. */
  function said(x) {
    if (Number.isNaN(x)) return "not a number";
    if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
    const size = Math.abs(x);
    if (Number.isInteger(x) && size < 1e4) return minus(x);
    if (size >= 0.01 && size < 9999.5) {
      const digits = Math.max(0, 2 - Math.floor(Math.log10(size)));
      return minus(x.toFixed(Math.min(digits, 4)));
    }
    const [mantissa, exponent] = x.toExponential(2).split("e");
    return `${minus(mantissa)}×${power(Number(exponent))}`;
  }

  // Axes. `at` gives 0 to 1; NaN what cannot be shown.

  function logAxis(low, high, label) {
    const from = Math.log10(low), to = Math.log10(high), least = Math.min(from, to);
    const decades = Math.abs(to - from), every = Math.ceil(decades / 7) || 1, ticks = [];
    for (let k = Math.ceil(least - 1e-9); k <= least + decades + 1e-9; k++) {
      if (k % every === 0) ticks.push({ value: 10 ** k, text: power(k) });
    }
    return { label, ticks, at: x => x > 0 ? (Math.log10(x) - from) / (to - from) : NaN };
  }

  /** Logarithmic on both sides of zero, and linear within ±1. */
  function bothAxis(low, high, label) {
    const place = x => Math.sign(x) * Math.log10(1 + Math.abs(x)), ticks = [];
    const [from, to] = [place(low), place(high)];
    const values = [0];
    for (let k = 0; k <= 9; k++) values.push(10 ** k, -(10 ** k));
    for (const value of values) {
      if (value < low || value > high) continue;
      const size = Math.abs(value), text = size < 1000 ? String(size) : power(Math.log10(size));
      ticks.push({ value, text: value < 0 ? `−${text}` : text });
    }
    return { label, ticks, at: x => (place(x) - from) / (to - from) };
  }

  const boxOf = ({ width, height }) => ({ left: MARGIN.left, top: MARGIN.top,
    wide: width - MARGIN.left - MARGIN.right, tall: height - MARGIN.top - MARGIN.bottom });

  /** A curve's path; gaps where a value cannot be shown. What is far outside stays near. */
  function path(points, chart) {
    const box = boxOf(chart), near = x => Math.min(3, Math.max(-2, x));
    let d = "", pen = "M";
    for (const [x, y] of points) {
      const across = near(chart.x.at(x)), up = near(chart.y.at(y));
      if (Number.isNaN(across) || Number.isNaN(up)) { pen = "M"; continue; }
      d += `${pen}${(box.left + across * box.wide).toFixed(1)} ${
        (box.top + (1 - up) * box.tall).toFixed(1)}`;
      pen = "L";
    }
    return d;
  }

  /** Where a curve ends, if that is within the picture. */
  function end(points, chart) {
    const box = boxOf(chart), last = points[points.length - 1];
    if (!last) return null;
    const across = chart.x.at(last[0]), up = chart.y.at(last[1]);
    if (!(across >= 0 && across <= 1 && up >= 0 && up <= 1)) return null;
    return [box.left + across * box.wide, box.top + (1 - up) * box.tall];
  }

  /**
   * What an svg element of the chart's size holds. Curves: {colour, dash, points}, drawn by `path`;
   * they and their ends have the ids name-0 and name-end-0, ....
   */
  function chart(chart) {
    const { name, width, height, x, y, curves } = chart, box = boxOf(chart), parts = [];
    const [right, below] = [box.left + box.wide, box.top + box.tall];
    parts.push(`<clipPath id="clip-${name}"><rect x="${box.left}" y="${box.top}" width="${box.wide}"`
      + ` height="${box.tall}"/></clipPath>`);
    for (const { value, text } of x.ticks) {
      const at = (box.left + x.at(value) * box.wide).toFixed(1);
      parts.push(`<path class="grid" d="M${at} ${box.top}V${below}"/>`
        + `<text x="${at}" y="${below + 15}" text-anchor="middle">${text}</text>`);
    }
    const named = []; // heights that have a name already
    for (const { value, text } of y.ticks) {
      const at = box.top + (1 - y.at(value)) * box.tall;
      parts.push(`<path class="grid" d="M${box.left} ${at.toFixed(1)}H${right}"/>`);
      if (named.some(other => Math.abs(other - at) < 13)) continue;
      named.push(at);
      parts.push(`<text x="${box.left - 6}" y="${(at + 4).toFixed(1)}" text-anchor="end">${text}</text>`);
    }
    parts.push(`<rect class="edge" x="${box.left}" y="${box.top}" width="${box.wide}"`
      + ` height="${box.tall}"/>`);
    parts.push(`<text class="label" x="${box.left + box.wide / 2}" y="${height - 6}"`
      + ` text-anchor="middle">${escaped(x.label)}</text>`);
    parts.push(`<text class="label" transform="translate(12 ${box.top + box.tall / 2}) rotate(-90)"`
      + ` text-anchor="middle">${escaped(y.label)}</text>`);
    curves.forEach(({ colour, dash, points }, k) => {
      const style = `stroke:var(--c${colour})${dash ? `;stroke-dasharray:${dash}` : ""}`;
      parts.push(`<path class="curve" id="${name}-${k}" clip-path="url(#clip-${name})"`
        + ` style="${style}" d="${path(points, chart)}"/>`);
      if (!dash) {
        const place = end(points, chart), [cx, cy] = place || [-9, -9];
        parts.push(`<circle id="${name}-end-${k}" r="4" cx="${cx.toFixed(1)}" cy="${cy.toFixed(1)}"`
          + ` style="fill:var(--c${colour})"/>`);
      }
    });
    return parts.join("");
  }

  /** The names of curves with a stroke of each, as HTML. */
  function key(curves) {
    return curves.map(({ name, colour, dash }) => (
      `<li><svg width="24" height="8" aria-hidden="true"><path d="M0 4H24" class="curve" style="`
      + `stroke:var(--c${colour})${dash ? `;stroke-dasharray:${dash}` : ""}"/></svg>`
      + `${escaped(name)}</li>`)).join("");
  }

  // The charts of a run

  const LAST_LOSS = 1e-6, LAST_TIME = 1e12;
  const decade = x => 10 ** Math.ceil(Math.log10(x) - 1e-9);

  /** All charts; `points` are those of a Trace, `bounds` those of its problem. */
  function charts(points, bounds, size) {
    const first = points[0], last = points[points.length - 1];
    const highest = 1.3 * Math.max(1, first.loss);
    const losses = Array.from({ length: 161 }, (_, k) => (
      10 ** (Math.log10(highest) + (Math.log10(LAST_LOSS / highest)) * k / 160)));
    const along = (what, over = "loss") => points.map(point => [point[over], point[what]]);
    const bound = what => bounds.applies ? losses.map(loss => [loss, bounds[what](loss)]) : [];
    const x = () => logAxis(highest, LAST_LOSS, "loss ℓ (falls to the right)");
    const small = Math.min(first.entry || 1e-3, ...points.map(p => p.entry || 1));
    const [of8, of9, of10] = bounds.numbers.map(n => `bound ${n}`);
    const most = Math.max(...points.map(p => p.logDet)), least = last.logDet;
    const begin = (points.find(point => point.t > 0) || { t: 1e-2 }).t;
    const from = 10 ** Math.max(-3, Math.floor(Math.log10(begin)));
    return [
      { name: "norms", title: "Norms rise", ...size, x: x(),
        y: logAxis(10 ** Math.max(-5, Math.floor(Math.log10(small))),
          Math.max(1e3, decade(last.nuclear * 1.01)), "norm of W"),
        curves: [
          { name: "nuclear norm", colour: 0, points: along("nuclear") },
          { name: "|w₁₁|, not observed", colour: 1, points: along("entry") },
          { name: `${of8} on the nuclear norm`, colour: 0, dash: "7 4", points: bound("nuclear") }] },
      { name: "ranks", title: "Rank falls", ...size, x: x(),
        y: logAxis(1e-8, 100, "distance from rank one"),
        curves: [
          { name: "effective rank − 1", colour: 4, points: along("excess") },
          { name: of9, colour: 4, dash: "7 4", points: bound("excess") },
          { name: "smallest singular value", colour: 3, points: along("distance") },
          { name: of10, colour: 3, dash: "2 4", points: bound("distance") }] },
      { name: "determinant", title: "The determinant", ...size, x: x(),
        y: bothAxis(-Math.max(100, decade(Math.max(-least, 1))), Math.max(3, most),
          "log |det W| (log scale both ways)"),
        curves: [{ name: "log |det W|, whose sign stays", colour: 2, points: along("logDet") }] },
      { name: "loss", title: "Loss over time", ...size,
        x: logAxis(from, Math.max(1e3, decade(last.t * 1.01)), "time t"),
        y: logAxis(LAST_LOSS, highest, "loss ℓ"),
        curves: [{ name: "loss", colour: 6, points: along("loss", "t") }] },
    ].map(one => ({ ...one, curves: one.curves.filter(({ points: p }) => p.length) }));
  }

  /** Where the plane's parts stand; columns of W are arrows, and their area is |det W|. */
  function plane(w, [z, zPrime, epsilon], radius, size) {
    const unit = size / 2 / radius, place = (a, b) => [size / 2 + a * unit, size / 2 - b * unit];
    const one = place(w[0], w[2]), two = place(w[1], w[3]), both = place(w[0] + w[1], w[2] + w[3]);
    const middle = [size / 2, size / 2], text = p => p.map(v => v.toFixed(1)).join(" ");
    return { one, two, goal: place(z, epsilon), line: place(0, zPrime)[1], unit,
      area: [middle, one, both, two].map(text).join(" ") };
  }

  const radiusFor = (w, observed) => 1.25 * Math.max(...w.map(Math.abs), ...observed.map(Math.abs));

  return { LAST_LOSS, LAST_TIME, chart, charts, end, escaped, key, path, plane, radiusFor, said };
})();

if (typeof module !== "undefined") module.exports = Draw;
