// What the playground draws of a run; see chart.js. Nothing here knows of a page.
"use strict";

const Draw = (() => {
  const { bothAxis, logAxis } = Chart;
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

  return { LAST_LOSS, LAST_TIME, charts, plane, radiusFor };
})();

if (typeof module !== "undefined") module.exports = Draw;
