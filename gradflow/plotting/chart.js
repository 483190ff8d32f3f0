// Charts as SVG texts, for pages that draw without a library. Colours are the page's own properties
// (--c0, ...), so that light and dark are its style's affair. Nothing here knows of a page.
"use strict";

const Chart = (() => {
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
    for (let k = Math.floor(least); decades < 1.5 && k <= least + decades; k++) {
      for (const value of [2 * 10 ** k, 5 * 10 ** k]) {
        const place = Math.log10(value) - least;
        if (place >= 0 && place <= decades) ticks.push({ value, text: said(Number(value.toPrecision(1))) });
      }
    }
    return { label, ticks, at: x => x > 0 ? (Math.log10(x) - from) / (to - from) : NaN };
  }

  function linearAxis(low, high, label) {
    const span = high - low || 1, raw = span / 5, unit = 10 ** Math.floor(Math.log10(raw));
    const step = unit * [1, 2, 5, 10].find(k => k * unit >= raw * 0.8), ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k <= high / step + 1e-9; k++) {
      ticks.push({ value: k * step, text: said(Number((k * step).toPrecision(12))) });
    }
    return { label, ticks, at: x => Number.isFinite(x) ? (x - low) / span : NaN };
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
   * What an svg element of the chart's size holds. Curves: {colour, dash, thin, points}, drawn by `path`;
   * they and their ends have the ids name-0 and name-end-0, ....
   */
  function chart(chart) {
    const { name, width, height, x, y, curves } = chart, box = boxOf(chart), parts = [];
    const [right, below] = [box.left + box.wide, box.top + box.tall];
    parts.push(`<clipPath id="clip-${name}"><rect x="${box.left}" y="${box.top}" width="${box.wide}"`
      + ` height="${box.tall}"/></clipPath>`);
    const placed = []; // names along x, which leave out what would run into them
    for (const { value, text } of x.ticks) {
      const at = box.left + x.at(value) * box.wide;
      parts.push(`<path class="grid" d="M${at.toFixed(1)} ${box.top}V${below}"/>`);
      if (placed.some(one => Math.abs(one.at - at) < 3.5 * (one.text.length + text.length))) continue;
      placed.push({ at, text });
      parts.push(`<text x="${at.toFixed(1)}" y="${below + 15}" text-anchor="middle">${text}</text>`);
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
    curves.forEach(({ colour, dash, points, thin }, k) => {
      const style = `stroke:var(--c${colour})${dash ? `;stroke-dasharray:${dash}` : ""}`
        + `${thin ? ";stroke-width:1;stroke-opacity:.75" : ""}`;
      parts.push(`<path class="curve" id="${name}-${k}" clip-path="url(#clip-${name})"`
        + ` style="${style}" d="${path(points, chart)}"/>`);
      if (!dash && !thin) {
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

  return { bothAxis, boxOf, chart, end, escaped, key, linearAxis, logAxis, path, power, said };
})();

if (typeof module !== "undefined") module.exports = Chart;
