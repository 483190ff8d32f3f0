// The gradient flow of 2x2 completion in the coordinates of gradflow/coordinates/logdet.py:
// y = (log |w_p|, w_a - b_a, w_b - b_b, log |det W|), the determinant's sign kept by construction.
// Steps are those of gradflow/ode/extrapolation.py on the clock tau = log(1 + (t - base) / scale).
// Nothing here knows of a page. Matrices are [w11, w12, w21, w22]; the entry w11 is not observed.
"use strict";

const Physics = (() => {
  const SERIES_TERMS = 14, SERIES_RADIUS = 0.1, SMALL_PIVOT = 1e-3, SMALL_START = 1e-5;
  const COUNTS = [2, 3, 4, 5, 6, 7]; // a step is split into so many, and extrapolated
  const RTOL = 1e-10, ATOL = 1e-12, LEAST_STEP = 1e-12, PROBE = 1e-6, REBASE = 1e4;
  const MASK = [0, 1, 1, 1];

  class Refusal extends Error {}

  const determinant = w => w[0] * w[3] - w[1] * w[2];
  const largestOf = w => Math.max(...w.map(Math.abs));
  const times = (a, b) => [
    a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3],
    a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3]];
  const transposed = w => [w[0], w[2], w[1], w[3]];

  // Fractional powers from ||W||_F^2 and log |det W|: q(p) = sinh(p theta) / sinh(theta), where
  // theta = log(s_1 / s_2); see the class _Powers of logdet.py.

  function seriesOf(p) {
    const found = [p];
    for (let k = 0; k < SERIES_TERMS; k++) {
      found.push(found[k] * (1 - p + k) * (1 + p + k) / ((1.5 + k) * (k + 1)));
    }
    return found;
  }

  const known = new Map();
  function nearQuotient(p, x) {
    if (!known.has(p)) known.set(p, seriesOf(p));
    return known.get(p).reduceRight((sum, c) => sum * x + c, 0);
  }

  function logSingularValues(frobenius, logDet) {
    const logSquare = Math.log(frobenius), ratio = 2 * Math.exp(logDet - logSquare);
    const root = Math.sqrt(Math.max((1 - ratio) * (1 + ratio), 0));
    const first = 0.5 * (logSquare + Math.log((1 + root) / 2));
    return [first, logDet - first];
  }

  function powersOf(frobenius, logDet) {
    const ratio = Math.exp(Math.min(Math.log(frobenius / 2) - logDet, 1));
    if (ratio - 1 < SERIES_RADIUS) {
      const x = (1 - ratio) / 2, exp = (e, p) => Math.exp(e * logDet) * nearQuotient(p, x);
      return {
        root: p => [exp(p - 1, p), exp(p, 1 - p)],
        singular: e => [exp((e - 1) / 2, (1 + e) / 2), exp((e - 1) / 2, (1 - e) / 2)],
      };
    }
    const [one, two] = logSingularValues(frobenius, logDet), theta = one - two;
    const below = Math.expm1(-2 * theta), q = p => Math.expm1(-2 * p * theta) / below;
    return {
      root: p => [Math.exp((p - 1) * 2 * one) * q(p), Math.exp(p * 2 * two) * q(1 - p)],
      singular: e => [
        Math.exp((e - 1) * one) * q((1 + e) / 2),
        Math.exp(e * logDet - (1 + e) * one) * q((1 - e) / 2)],
    };
  }

  // Coordinates. Rows and columns are exchanged so that the pivot comes first.

  function turned(w, [i, j]) {
    const from = (r, c) => w[2 * (i ? 1 - r : r) + (j ? 1 - c : c)];
    return [from(0, 0), from(0, 1), from(1, 0), from(1, 1)];
  }

  class Coordinates {
    constructor(observed, depth, sign, pivotSign, pivot) {
      Object.assign(this, { observed, depth, sign, pivotSign, pivot });
      this.mask = turned(MASK, pivot);
      this.offset = turned(observed, pivot);
      this.turnedSign = pivot[0] === pivot[1] ? sign : -sign;
    }

    static of(observed, depth, sign, w, pivot) {
      return new Coordinates(observed, depth, sign, Math.sign(w[2 * pivot[0] + pivot[1]]), pivot);
    }

    at(w, logDet) {
      const moved = turned(w, this.pivot);
      return [Math.log(Math.abs(moved[0])), moved[1] - this.offset[1], moved[2] - this.offset[2],
        logDet];
    }

    entries(y) { // turned W, and turned W minus the observed values with the neighbours' digits
      const { offset } = this, pivot = this.pivotSign * Math.exp(y[0]);
      const row = offset[1] + y[1], column = offset[2] + y[2];
      const w = [pivot, row, column, (this.turnedSign * Math.exp(y[3]) + row * column) / pivot];
      return [w, [pivot - offset[0], y[1], y[2], w[3] - offset[3]]];
    }

    product(y) { return turned(this.entries(y)[0], this.pivot); }

    loss(y) {
      return this.entries(y)[1].reduce((sum, gap, k) => sum + this.mask[k] * gap * gap, 0) / 2;
    }

    velocities(y) { // turned W, dW/dt, d log |det W| / dt
      const { depth, mask, turnedSign: sign } = this, [w, gap] = this.entries(y);
      const g = gap.map((x, k) => mask[k] * x);
      const powers = powersOf(w[0] ** 2 + w[1] ** 2 + w[2] ** 2 + w[3] ** 2, y[3]);
      const left = times(w, transposed(w)), right = times(transposed(w), w);
      const power = (square, k) => {
        const [a, c] = powers.root(k / depth);
        return [a * square[0] + c, a * square[1], a * square[2], a * square[3] + c];
      };
      const moved = [0, 0, 0, 0];
      for (let k = 0; k < depth; k++) {
        const before = k ? times(power(left, k), g) : g, rest = depth - 1 - k;
        const term = rest ? times(before, power(right, rest)) : before;
        for (let i = 0; i < 4; i++) moved[i] -= term[i];
      }
      const [onW, onCofactor] = powers.singular(1 - 2 / depth);
      const cofactor = [sign * w[3], -sign * w[2], -sign * w[1], sign * w[0]];
      const rate = -depth * g.reduce((s, x, k) => s + (onW * w[k] + onCofactor * cofactor[k]) * x, 0);
      return [w, moved, rate];
    }

    velocity(y) {
      const [w, moved, rate] = this.velocities(y);
      return [moved[0] / w[0], moved[1], moved[2], rate];
    }

    strained(y) { // the pivot, or all of W, has become too small to be held so
      const [w] = this.entries(y), largest = largestOf(w);
      return Math.abs(w[0]) < SMALL_PIVOT * largest ? "pivot"
        : largest < SMALL_START * largestOf(this.observed) ? "shrunk" : "";
    }

    switched(y) { // the same point with the largest entry as the pivot
      const w = this.product(y), k = w.findIndex(x => Math.abs(x) === largestOf(w));
      const made = Coordinates.of(this.observed, this.depth, this.sign, w, [k >> 1, k & 1]);
      return [made, made.at(w, y[3])];
    }
  }

  // Linearly implicit Euler steps, extrapolated

  function jacobianOf(field, y) {
    const columns = y.map((_, j) => {
      const [up, down] = [PROBE, -PROBE].map(d => field(y.map((x, k) => k === j ? x + d : x)));
      return up.map((x, k) => (x - down[k]) / (2 * PROBE));
    });
    return y.map((_, i) => columns.map(column => column[i]));
  }

  function inverted(matrix) { // Gauss and Jordan, with row pivots
    const n = matrix.length;
    const rows = matrix.map((row, i) => [...row, ...row.map((_, j) => Number(i === j))]);
    for (let c = 0; c < n; c++) {
      let best = c;
      for (let r = c + 1; r < n; r++) if (Math.abs(rows[r][c]) > Math.abs(rows[best][c])) best = r;
      [rows[c], rows[best]] = [rows[best], rows[c]];
      const unit = 1 / rows[c][c];
      for (let k = c; k < 2 * n; k++) rows[c][k] *= unit;
      for (let r = 0; r < n; r++) {
        const share = rows[r][c];
        if (r !== c && share !== 0) for (let k = c; k < 2 * n; k++) rows[r][k] -= share * rows[c][k];
      }
    }
    return rows.map(row => row.slice(n));
  }

  /** One step of length h in tau: how far y moves, and the estimate of the error of that. */
  function extrapolated(field, rate, y, h) {
    const first = field(y), jacobian = jacobianOf(field, y), n = y.length;
    let row = [], before = [];
    COUNTS.forEach((count, i) => {
      const k = h / count; // d/dtau of rate(tau) f(y) at fixed y is rate f, as rate = scale e^tau
      const inverse = inverted(
        jacobian.map((line, r) => line.map((x, c) => Number(r === c) - k * rate * x)));
      let moved = new Array(n).fill(0);
      for (let step = 0; step < count; step++) {
        const slope = field(y.map((x, c) => x + moved[c])), now = rate * Math.exp(step * k);
        const right = slope.map((x, c) => k * now * x + k * k * rate * first[c]);
        moved = moved.map((x, r) => right.reduce((s, value, c) => s + inverse[r][c] * value, x));
      }
      before = row;
      row = [moved];
      for (let j = 1; j <= i; j++) {
        const ratio = count / (count - j) - 1;
        row.push(row[j - 1].map((x, c) => x + (x - before[j - 1][c]) / ratio));
      }
    });
    const last = row[row.length - 1], close = row[row.length - 2];
    return [last, last.map((x, c) => x - close[c])];
  }

  // A flow

  /** The product of factors, W_1 first; they must be balanced: W_{j+1}^T W_{j+1} = W_j W_j^T. */
  function productOf(factors) {
    for (let j = 0; j + 1 < factors.length; j++) {
      const above = times(transposed(factors[j + 1]), factors[j + 1]);
      const below = times(factors[j], transposed(factors[j]));
      const gap = largestOf(above.map((x, k) => x - below[k]));
      if (gap > 1e-8 * Math.max(largestOf(above), largestOf(below))) {
        throw new Refusal(`These factors are not balanced: the transpose of W${j + 2} times W${j + 2}`
          + ` differs from W${j + 1} times its transpose by ${gap.toPrecision(3)}. The flow of their`
          + " product then depends on more than the product; give the product W instead, and"
          + " balanced factors of it are taken.");
      }
    }
    return factors.reduce((product, factor) => times(factor, product));
  }

  function checked({ w, depth, observed: [z, zPrime, epsilon] }) {
    const finite = [...w, z, zPrime, epsilon].every(Number.isFinite);
    if (!finite) throw new Refusal("All numbers must be finite.");
    if (!Number.isInteger(depth) || depth < 2) {
      throw new Refusal(`The depth must be a whole number from 2 on, but it is ${depth}: at depth 1`
        + " singular values change sign.");
    }
    if (z === 0 || zPrime === 0) {
      throw new Refusal("z and z′ must not be 0: then the unobserved entry need not grow.");
    }
    const observed = [0, z, zPrime, epsilon], largest = largestOf(w), det = determinant(w);
    // Below round-off of the products that it is the difference of, a determinant is not known.
    if (Math.abs(det) <= 4e-16 * Math.max(Math.abs(w[0] * w[3]), Math.abs(w[1] * w[2]))) {
      throw new Refusal("det W = 0: the coordinates hold log |det W|, so they need a start whose"
        + " determinant is not 0. (The flow would keep it 0.) Move one entry.");
    }
    if (largest < SMALL_START * largestOf(observed)) {
      throw new Refusal("All entries are so small that differences from the observed values have"
        + ` too few digits left for them; make the largest at least ${SMALL_START} of those.`);
    }
    return [observed, det];
  }

  class Flow {
    /**
     * @param start w (or balanced factors, W_1 first), depth, observed = [z, z', epsilon].
     * @throws Refusal, in words, of what the coordinates cannot hold.
     */
    constructor(start) {
      const w = start.factors ? productOf(start.factors) : start.w;
      const depth = start.factors ? start.factors.length : start.depth;
      const [observed, det] = checked({ ...start, w, depth }), sign = Math.sign(det);
      const free = Math.abs(w[0]) > 1e-2 * largestOf(w);
      const k = free ? 0 : w.findIndex(x => Math.abs(x) === largestOf(w));
      this.coordinates = Coordinates.of(observed, depth, sign, w, [k >> 1, k & 1]);
      this.y = this.coordinates.at(w, Math.log(Math.abs(det)));
      Object.assign(this, { base: 0, tau: 0, next: 1e-2, steps: 0, rejected: 0, stuck: "" });
      this.scale = 1 / Math.max(...this.coordinates.velocity(this.y).map(Math.abs), 1e-300);
    }

    get time() { return this.base + this.scale * Math.expm1(this.tau); }

    get state() {
      const { coordinates, y } = this, w = coordinates.product(y);
      const frobenius = w.reduce((sum, x) => sum + x * x, 0);
      return { t: this.time, w, loss: coordinates.loss(y), logDet: y[3], sign: coordinates.sign,
        logS: logSingularValues(frobenius, y[3]) };
    }

    /** One accepted step of at most `most` in tau; how long it was. */
    step(most) {
      this._prepare();
      const field = y => this.coordinates.velocity(y);
      while (!this.stuck) {
        const h = Math.min(this.next, most);
        const rate = this.scale * Math.exp(this.tau);
        const [moved, error] = extrapolated(field, rate, this.y, h);
        const end = this.y.map((x, k) => x + moved[k]);
        const shares = error.map((x, k) => (
          x / (ATOL + RTOL * Math.max(Math.abs(this.y[k]), Math.abs(end[k])))));
        const size = Math.sqrt(shares.reduce((sum, x) => sum + x * x, 0) / shares.length);
        const fine = Number.isFinite(size) && field(end).every(Number.isFinite);
        const factor = fine ? Math.min(5, Math.max(0.2, 0.9 * size ** (-1 / COUNTS.length))) : 0.2;
        if (fine && size <= 1) {
          this.next = h < this.next ? Math.max(this.next, h * factor) : h * factor;
          this.y = end;
          this.tau += h;
          this.steps++;
          return h;
        }
        this.rejected++;
        this.next = h * Math.min(factor, 0.9);
        if (this.next < LEAST_STEP) this.stuck = "Steps have become too small to go on.";
      }
      return 0;
    }

    /** Go on by this much of the clock, in at most so many steps; what of it is left. */
    advance(span, steps = Infinity) {
      let left = span;
      for (let k = 0; k < steps && left > 0 && !this.stuck; k++) left -= this.step(left);
      return left;
    }

    /** Go on to a time. */
    advanceTo(t) {
      const left = () => Math.log1p((t - this.base) / this.scale) - this.tau;
      while (!this.stuck && t > this.time && left() > 1e-15 * Math.max(1, this.tau)) {
        this.step(left());
      }
    }

    _prepare() { // another pivot, or another zero of the clock, where these have become bad ones
      const strain = this.coordinates.strained(this.y);
      if (strain === "pivot") [this.coordinates, this.y] = this.coordinates.switched(this.y);
      if (strain === "shrunk") this.stuck = "W has become too small for these coordinates.";
      const [w, moved] = this.coordinates.velocities(this.y);
      const own = largestOf(w) / largestOf(moved);
      if (this.scale * Math.exp(this.tau) > REBASE * own) {
        Object.assign(this, { base: this.time, tau: 0, scale: own, next: 1e-2 });
      }
    }
  }

  return { Flow, Refusal, determinant };
})();

if (typeof module !== "undefined") module.exports = Physics;
