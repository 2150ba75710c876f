// A metric on the nodes, smooth between them: g = exp S with S the cubic spline through the matrix logarithms.
// Coefficients are those of the library's own metric, so both are one function. Places and lengths of steps are in
// steps between nodes.

const SERIES = 0.5; // up to this square of the argument, series: differences of hyperbolic functions cancel there
const TERMS = 8;

export class SplineMetric {
  /**
   * @param {Float32Array} coefficients of half the trace, half the difference of the diagonal, and what is off it;
   *   two more than nodes along each axis.
   * @param {number[]} shape nodes along both axes.
   * @param {number[]} scale of a step along each axis, in the units of the logarithm.
   */
  constructor(coefficients, shape, scale) {
    this.coefficients = Float64Array.from(coefficients);
    this.shape = shape;
    this.scale = [scale[0] * scale[0], scale[0] * scale[1], scale[1] * scale[1]];
    this.weights = [0, 1].map(() => [new Float64Array(4), new Float64Array(4), new Float64Array(4)]);
    this.jets = [new Float64Array(6), new Float64Array(6), new Float64Array(6)];
    this.out = new Float64Array(18); // value, a, b, aa, ab, bb of g_aa, g_ab, g_bb
  }

  /** g_aa, g_ab and g_bb at a place, in `out`. */
  at(a, b) {
    const [mean, half, off] = this.jets;
    this.logarithm(a, b, 0);
    const square = half[0] * half[0] + off[0] * off[0];
    const [even, odd] = hyperbolic(square);
    const size = Math.exp(mean[0]);
    const { out, scale } = this;
    out[0] = size * (even + odd * half[0]) * scale[0];
    out[1] = size * odd * off[0] * scale[1];
    out[2] = size * (even - odd * half[0]) * scale[2];
    return out;
  }

  /** The same with first and second derivatives by the place. */
  jet(a, b) {
    const [mean, half, off] = this.jets;
    this.logarithm(a, b, 2);
    add(multiply(half, half, JET[0]), multiply(off, off, JET[1]), JET[2]); // the square
    const [even, odd, odd1, odd2] = hyperbolic(JET[2][0]);
    const size = Math.exp(mean[0]);
    compose(size, size, size, mean, JET[3]);
    multiply(JET[3], compose(even, odd / 2, odd1 / 2, JET[2], JET[4]), JET[5]);
    multiply(JET[3], compose(odd, odd1, odd2, JET[2], JET[4]), JET[6]);
    const tilt = multiply(JET[6], half, JET[7]);
    const cross = multiply(JET[6], off, JET[8]);
    for (let k = 0; k < 6; k++) {
      this.out[3 * k] = (JET[5][k] + tilt[k]) * this.scale[0];
      this.out[3 * k + 1] = cross[k] * this.scale[1];
      this.out[3 * k + 2] = (JET[5][k] - tilt[k]) * this.scale[2];
    }
    return this.out;
  }

  logarithm(a, b, order) {
    const [wa, wb] = this.weights;
    const i = splines(a, this.shape[0], wa, order);
    const j = splines(b, this.shape[1], wb, order);
    const across = this.shape[1] + 2;
    for (let part = 0; part < 3; part++) {
      const jet = this.jets[part].fill(0);
      for (let p = 0; p < 4; p++) {
        const start = ((i + p) * across + j) * 3 + part;
        const c0 = this.coefficients[start];
        const c1 = this.coefficients[start + 3];
        const c2 = this.coefficients[start + 6];
        const c3 = this.coefficients[start + 9];
        const value = wb[0][0] * c0 + wb[0][1] * c1 + wb[0][2] * c2 + wb[0][3] * c3;
        jet[0] += wa[0][p] * value;
        if (order === 0) continue;
        const slope = wb[1][0] * c0 + wb[1][1] * c1 + wb[1][2] * c2 + wb[1][3] * c3;
        const bend = wb[2][0] * c0 + wb[2][1] * c1 + wb[2][2] * c2 + wb[2][3] * c3;
        jet[1] += wa[1][p] * value;
        jet[2] += wa[0][p] * slope;
        jet[3] += wa[2][p] * value;
        jet[4] += wa[1][p] * slope;
        jet[5] += wa[0][p] * bend;
      }
    }
  }

  /** Length of the straight piece between two places, by Gauss' rule of three points. */
  piece(a0, b0, a1, b1) {
    const da = a1 - a0;
    const db = b1 - b0;
    let sum = 0;
    for (let k = 0; k < 3; k++) {
      const g = this.at(a0 + GAUSS[k] * da, b0 + GAUSS[k] * db);
      sum += GAUSS_WEIGHT[k] * Math.sqrt(Math.max(0, g[0] * da * da + 2 * g[1] * da * db + g[2] * db * db));
    }
    return sum;
  }

  /** Length of a path, a list of places a0, b0, a1, b1, .. */
  length(path) {
    let sum = 0;
    for (let k = 0; k + 3 < path.length; k += 2) sum += this.piece(path[k], path[k + 1], path[k + 2], path[k + 3]);
    return sum;
  }
}

const GAUSS = [0.5 - Math.sqrt(0.15), 0.5, 0.5 + Math.sqrt(0.15)];
const GAUSS_WEIGHT = [5 / 18, 8 / 18, 5 / 18];
const JET = Array.from({ length: 9 }, () => new Float64Array(6)); // a jet is value, a, b, aa, ab, bb

/** The first of the four splines that are not zero at x, and their values, slopes and second derivatives. */
function splines(x, nodes, weights, order) {
  const first = Math.min(Math.max(Math.floor(x + 1e-9), 0), nodes - 2);
  const r = x - first;
  const q = 1 - r;
  const [value, slope, bend] = weights;
  value[0] = (q * q * q) / 6;
  value[1] = (4 - 6 * r * r + 3 * r * r * r) / 6;
  value[2] = (1 + 3 * r + 3 * r * r - 3 * r * r * r) / 6;
  value[3] = (r * r * r) / 6;
  if (order === 0) return first;
  slope[0] = (-q * q) / 2;
  slope[1] = (3 * r * r - 4 * r) / 2;
  slope[2] = (1 + 2 * r - 3 * r * r) / 2;
  slope[3] = (r * r) / 2;
  bend[0] = q;
  bend[1] = 3 * r - 2;
  bend[2] = 1 - 3 * r;
  bend[3] = r;
  return first;
}

/** cosh x, sinh x / x, and the first two derivatives of that in u = x squared. */
function hyperbolic(u) {
  if (u >= SERIES) {
    const x = Math.sqrt(u);
    const up = Math.exp(x);
    const even = (up + 1 / up) / 2;
    const odd = (up - 1 / up) / (2 * x);
    const odd1 = (even - odd) / (2 * u);
    return [even, odd, odd1, (odd / 2 - 3 * odd1) / (2 * u)];
  }
  let [even, odd, odd1, odd2, factorial, power] = [0, 0, 0, 0, 1, 1]; // (2k)!, u^k
  for (let k = 0; k < TERMS; k++) {
    even += power / factorial;
    const next = factorial * (2 * k + 1);
    odd += power / next;
    const second = next * (2 * k + 2) * (2 * k + 3);
    odd1 += ((k + 1) * power) / second;
    odd2 += ((k + 1) * (k + 2) * power) / (second * (2 * k + 4) * (2 * k + 5));
    factorial = next * (2 * k + 2);
    power *= u;
  }
  return [even, odd, odd1, odd2];
}

function add(x, y, out) {
  for (let k = 0; k < 6; k++) out[k] = x[k] + y[k];
  return out;
}

/** The rule of Leibniz. */
function multiply(x, y, out) {
  out[5] = x[5] * y[0] + 2 * x[2] * y[2] + x[0] * y[5];
  out[4] = x[4] * y[0] + x[1] * y[2] + x[2] * y[1] + x[0] * y[4];
  out[3] = x[3] * y[0] + 2 * x[1] * y[1] + x[0] * y[3];
  out[2] = x[2] * y[0] + x[0] * y[2];
  out[1] = x[1] * y[0] + x[0] * y[1];
  out[0] = x[0] * y[0];
  return out;
}

/** The jet of a function of one variable, of its value and derivatives at u. */
function compose(value, first, second, u, out) {
  out[0] = value;
  out[1] = first * u[1];
  out[2] = first * u[2];
  out[3] = first * u[3] + second * u[1] * u[1];
  out[4] = first * u[4] + second * u[1] * u[2];
  out[5] = first * u[5] + second * u[2] * u[2];
  return out;
}
