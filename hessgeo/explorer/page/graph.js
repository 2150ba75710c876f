// A lattice over the box whose edges are as long as a metric says, and shortest paths on it (Dijkstra): what finds the
// right valley, which a curve that is improved step by step cannot leave.

import { NearestFirst } from "./heap.js";

const MOST = 17_000; // nodes of the lattice
const FINEST = 0.75; // steps between nodes of the study that those of the lattice are apart, at least
const REACH = 3; // lattice steps of the longest edges

// Half of the steps to neighbours that no other step passes through; the others are their mirror images.
const STEPS = [];
for (let i = 0; i <= REACH; i++) {
  for (let j = i === 0 ? 1 : -REACH; j <= REACH; j++) {
    if (divisor(i, Math.abs(j)) === 1) STEPS.push([i, j]);
  }
}

function divisor(x, y) {
  return y === 0 ? x : divisor(y, x % y);
}

export class Lattice {
  constructor(metric) {
    this.metric = metric;
    const [na, nb] = metric.shape;
    this.step = Math.max(FINEST, Math.sqrt(((na - 1) * (nb - 1)) / MOST));
    this.shape = [na, nb].map((nodes) => Math.max(2, Math.round((nodes - 1) / this.step) + 1));
    this.spacing = [na, nb].map((nodes, axis) => (nodes - 1) / (this.shape[axis] - 1));
    this.count = this.shape[0] * this.shape[1];
    this.lengths = new Float32Array(this.count * STEPS.length).fill(Infinity);
    this.rows = 0; // of nodes along the first axis whose edges are known
  }

  get complete() {
    return this.rows === this.shape[0];
  }

  /** Measure edges for about so many milliseconds, or all of them. */
  build(milliseconds = Infinity) {
    const end = performance.now() + milliseconds;
    const [la, lb] = this.shape;
    const [sa, sb] = this.spacing;
    while (!this.complete && performance.now() < end) {
      const i = this.rows++;
      for (let j = 0; j < lb; j++) {
        for (let k = 0; k < STEPS.length; k++) {
          const [di, dj] = STEPS[k];
          if (i + di >= la || j + dj < 0 || j + dj >= lb) continue;
          const length = this.metric.piece(i * sa, j * sb, (i + di) * sa, (j + dj) * sb);
          this.lengths[(i * lb + j) * STEPS.length + k] = length;
        }
      }
    }
    return this.complete;
  }

  /** A shortest path between two places over the lattice: a0, b0, a1, b1, .. */
  path(from, to) {
    this.build();
    const { lengths, spacing: [sa, sb], shape: [la, lb] } = this;
    const distance = new Float64Array(this.count).fill(Infinity);
    const before = new Int32Array(this.count).fill(-1);
    const goal = new Map(this.around(to).map((node) => [node, this.toPlace(node, to)]));
    const queue = new NearestFirst();
    for (const node of this.around(from)) {
      distance[node] = this.toPlace(node, from);
      queue.push(node, distance[node]);
    }
    let best = Infinity;
    let last = -1;
    while (queue.size > 0) {
      const [node, known] = queue.pop();
      if (known > distance[node]) continue;
      if (known >= best) break;
      const rest = goal.get(node);
      if (rest !== undefined && known + rest < best) [best, last] = [known + rest, node];
      const i = Math.floor(node / lb);
      const j = node - i * lb;
      for (let k = 0; k < STEPS.length; k++) {
        const [di, dj] = STEPS[k];
        for (let sign = 1; sign >= -1; sign -= 2) {
          const p = i + sign * di;
          const q = j + sign * dj;
          if (p < 0 || p >= la || q < 0 || q >= lb) continue;
          const other = p * lb + q;
          const found = known + lengths[(sign > 0 ? node : other) * STEPS.length + k];
          if (found < distance[other]) {
            distance[other] = found;
            before[other] = node;
            queue.push(other, found);
          }
        }
      }
    }
    const path = [to[0], to[1]];
    for (let node = last; node >= 0; node = before[node]) path.unshift(Math.floor(node / lb) * sa, (node % lb) * sb);
    path.unshift(from[0], from[1]);
    return path;
  }

  /** Nodes within two lattice steps of a place. */
  around(place) {
    const centre = place.map((value, axis) => Math.round(value / this.spacing[axis]));
    const found = [];
    for (let i = Math.max(0, centre[0] - 2); i <= Math.min(this.shape[0] - 1, centre[0] + 2); i++) {
      for (let j = Math.max(0, centre[1] - 2); j <= Math.min(this.shape[1] - 1, centre[1] + 2); j++) {
        found.push(i * this.shape[1] + j);
      }
    }
    return found;
  }

  toPlace(node, place) {
    const i = Math.floor(node / this.shape[1]);
    return this.metric.piece(i * this.spacing[0], (node % this.shape[1]) * this.spacing[1], place[0], place[1]);
  }
}
