// What the playground shows of a flow: norms, effective rank and their bounds; and what its
// address keeps. Nothing here knows of a page.
"use strict";

const Measures = (() => {
  const DEPTHS = [2, 3, 4];
  const DEFAULTS = { depth: 2, w: [0.12, -0.05, 0.06, 0.09], z: 1, zPrime: 1, epsilon: 0, speed: 0.6 };
  const LIMITS = { entry: 100, speed: [0.1, 4] };
  const MOST = 1500; // points that a curve keeps before every second one is dropped

  /** Numbers of one moment; the effective rank as its excess over 1, which keeps its digits. */
  function measured({ t, w, loss, logDet, logS: [one, two] }) {
    const first = Math.exp(one), second = Math.exp(two), gap = Math.exp(two - one);
    const share = gap / (1 + gap), logShare = two - one - Math.log1p(gap);
    const entropy = share ? -share * logShare - (1 - share) * Math.log1p(-share) : 0;
    return { t, loss, nuclear: first + second, entry: Math.abs(w[0]), excess: Math.expm1(entropy),
      distance: second, logDet };
  }

  /**
   * razin2020: Theorem 1 (z = z' = 1, epsilon = 0) or Theorem 2, as functions of the loss.
   *
   * `applies` says whether det W(0) has the sign that they ask for, that of z z'.
   */
  function boundsOf([z, zPrime, epsilon], sign) {
    const applies = sign === Math.sign(z * zPrime);
    if (z === 1 && zPrime === 1 && epsilon === 0) {
      return { applies, theorem: "Theorem 1", numbers: ["(8)", "(9)", "(10)"],
        nuclear: loss => 1 / Math.sqrt(2 * loss) - 8,
        excess: loss => 2 * Math.sqrt(12) / Math.LN2 * Math.sqrt(loss),
        distance: loss => 3 * Math.SQRT2 * Math.sqrt(loss) };
    }
    const [a, b, e] = [z, zPrime, epsilon].map(Math.abs), least = Math.min(a, b);
    const taken = Math.max(a * b / (e + least), 8 * Math.max(a, b, e));
    const slope = 4 + Math.sqrt(a * b) / least;
    return { applies, theorem: "Theorem 2", numbers: ["(15)", "(16)", "(17)"],
      nuclear: loss => a * b / (e + Math.sqrt(2 * loss)) - taken,
      excess: loss => 16 / least * (e + Math.sqrt(2 * loss)),
      distance: loss => 4 * e + slope * Math.sqrt(2 * loss) };
  }

  /** The moments of a run that a curve needs; the last one is always there. */
  class Trace {
    constructor() { this.points = []; }

    push(point) {
      const { points } = this, before = points[points.length - 2];
      const near = (a, b) => Math.abs(Math.log(a / b)) < 0.01;
      const same = before && near(before.loss, point.loss) && near(before.t || 1e-300, point.t)
        && near(before.nuclear, point.nuclear) && Math.abs(before.logDet - point.logDet)
        < 0.01 * (1 + Math.abs(point.logDet));
      if (same) points.pop(); // nothing to be seen between these two
      points.push(point);
      if (points.length > MOST) this.points = points.filter((_, k) => k % 2 === 0 || k > MOST - 2);
    }
  }

  // The address: #depth=3&w=0.1,0,0,0.1&z=1&z2=1&epsilon=0&speed=0.6

  const NAMES = { z: "z", zPrime: "z2", epsilon: "epsilon", speed: "speed" };
  const number = (text, largest) => {
    const found = text === null || text.trim() === "" ? NaN : Number(text);
    return Number.isFinite(found) && Math.abs(found) <= largest ? found : null;
  };

  /** Settings from an address; what is missing or cannot be is as usual. */
  function read(hash) {
    const given = new URLSearchParams(hash.replace(/^#/, "")), found = { ...DEFAULTS };
    const depth = Number(given.get("depth"));
    if (DEPTHS.includes(depth)) found.depth = depth;
    const w = (given.get("w") || "").split(",").map(text => number(text, LIMITS.entry));
    if (w.length === 4 && !w.includes(null)) found.w = w;
    for (const [name, key] of Object.entries(NAMES)) {
      const value = number(given.get(key), LIMITS.entry);
      if (value !== null) found[name] = value;
    }
    const [least, most] = LIMITS.speed;
    found.speed = Math.min(most, Math.max(least, found.speed));
    return found;
  }

  function written(settings) {
    const parts = Object.entries(NAMES).map(([name, key]) => `${key}=${settings[name]}`);
    return `#depth=${settings.depth}&w=${settings.w.join(",")}&${parts.join("&")}`;
  }

  /** A start that was pasted: W, or balanced factors with W_1 first; null if it is neither. */
  function pasted(text) {
    let found;
    try { found = JSON.parse(text); } catch { return null; }
    const matrix = m => Array.isArray(m) && m.length === 2 && m.every(row => Array.isArray(row)
      && row.length === 2 && row.every(x => typeof x === "number" && Math.abs(x) <= LIMITS.entry));
    if (matrix(found)) return { w: found.flat() };
    if (Array.isArray(found) && DEPTHS.includes(found.length) && found.every(matrix)) {
      return { factors: found.map(m => m.flat()), depth: found.length };
    }
    return null;
  }

  return { DEFAULTS, DEPTHS, LIMITS, Trace, boundsOf, measured, pasted, read, written };
})();

if (typeof module !== "undefined") module.exports = Measures;
