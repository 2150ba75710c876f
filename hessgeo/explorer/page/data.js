// The study's results, as the page holds them: packed arrays, the grid of nodes, samples.

const KINDS = { u1: Uint8Array, u2: Uint16Array, i4: Int32Array, f4: Float32Array };
const MISSING = 65535; // what stands for no number, in sixteen bits

/** The numbers of a packed array, row by row. */
export function unpack(packed) {
  const text = atob(packed.data);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const values = new KINDS[packed.type](bytes.buffer);
  if (packed.type !== "u2") return values;
  return Float32Array.from(values, (code) => (code === MISSING ? NaN : packed.low + packed.step * code));
}

/** The nodes of a box. Node (i, j) has row i * nb + j; places are counted in steps between nodes from the lowest corner. */
export class Nodes {
  constructor({ extent, shape }) {
    this.extent = extent;
    this.shape = shape;
    this.count = shape[0] * shape[1];
    this.spacing = extent.map(([low, high], axis) => (high - low) / (shape[axis] - 1));
  }

  /** Parameters of a place. */
  parameters(u) {
    return u.map((value, axis) => this.extent[axis][0] + value * this.spacing[axis]);
  }

  /** The place of parameters, in the box. */
  place(t) {
    return this.inside(t.map((value, axis) => (value - this.extent[axis][0]) / this.spacing[axis]));
  }

  inside(u) {
    return u.map((value, axis) => Math.min(Math.max(value, 0), this.shape[axis] - 1));
  }

  /** Row of the node nearest to a place. */
  nearest(u) {
    const [i, j] = this.inside(u).map(Math.round);
    return i * this.shape[1] + j;
  }

  placeOf(row) {
    return [Math.floor(row / this.shape[1]), row % this.shape[1]];
  }
}

/** Samples: on the nodes in their order, or anywhere in the box. */
export class Samples {
  constructor(packed, nodes) {
    this.nodes = nodes;
    this.count = packed.count;
    this.onGrid = packed.onGrid;
    this.t = packed.t && unpack(packed.t);
    this.mean = unpack(packed.mean);
    this.covariance = unpack(packed.covariance);
    this.entropy = unpack(packed.entropy);
  }

  /** The sample nearest to a place. */
  nearest(u) {
    if (this.onGrid) return this.nodes.nearest(u);
    let best = 0;
    let least = Infinity;
    for (let row = 0; row < this.count; row++) {
      const [a, b] = this.placeOf(row);
      const square = (a - u[0]) ** 2 + (b - u[1]) ** 2;
      if (square < least) [best, least] = [row, square];
    }
    return best;
  }

  placeOf(row) {
    return this.onGrid ? this.nodes.placeOf(row) : this.nodes.place([this.t[2 * row], this.t[2 * row + 1]]);
  }
}

/** A number for people: three digits, a true minus. */
export function words(value, digits = 3) {
  if (!Number.isFinite(value)) return "none";
  const size = Math.abs(value);
  const text = size !== 0 && (size >= 1e5 || size < 1e-3) ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
  return text.replaceAll("-", "\u2212");
}
