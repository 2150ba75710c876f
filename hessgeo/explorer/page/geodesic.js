// Geodesics: the shortest of a few paths, each improved until it is a shortest one among its neighbours.
//
// A path moves across itself, never along: its points slide on the normals of the path before, by Newton's steps on the
// length of the polyline. With points at most half a step apart no segment passes over what lies between nodes.

const LONGEST = 0.5; // steps between nodes that points are apart, at most
const SHARE = 1 / 90; // of the whole length that points are apart, at most
const ROUNDS = 30; // of improvement
const RESAMPLED = 4; // rounds after which points are spread anew
const FARTHEST = 1.0; // steps that a point moves in one round
const HOPEFUL = 1.3; // times the length known, of a straight line that is worth improving
const CLOSE = 1e-5; // share of its length by which a path that is done still improved

/**
 * The geodesic between two places.
 * @returns the `path`, places a0, b0, a1, b1, ..; its `length` in the metric; and `rounds` of improvement.
 */
export function geodesic(metric, lattice, from, to) {
  const line = spread(metric, [...from, ...to]);
  const straight = { path: line, length: metric.length(line), rounds: 0 };
  let best = improve(metric, lattice.path(from, to));
  // A line that is much longer leads into the valley that is known, or into none.
  if (straight.length < HOPEFUL * best.length) {
    const other = improve(metric, line);
    if (other.length < best.length) best = other;
  }
  return best.length <= straight.length ? best : straight;
}

/** A path improved by Newton's method, its ends held. */
export function improve(metric, start) {
  let path = spread(metric, start);
  let length = metric.length(path);
  let best = { path, length };
  let damping = 0;
  let rounds = 0;
  let since = 0;
  while (rounds < ROUNDS) {
    rounds++;
    const move = newtonStep(metric, path, damping);
    const found = move && moved(metric, path, move);
    const after = found ? metric.length(found) : Infinity;
    if (after < length) {
      const gain = 1 - after / length;
      [path, length] = [found, after];
      damping = damping < 1e-3 ? 0 : damping / 5;
      if (gain < CLOSE && damping === 0) break;
      if (++since % RESAMPLED === 0) {
        path = spread(metric, path);
        length = metric.length(path);
      }
      if (length < best.length) best = { path, length };
    } else {
      if (damping > 1e4) break;
      damping = damping === 0 ? 0.01 : 5 * damping;
    }
  }
  return length < best.length ? { path, length, rounds } : { ...best, rounds };
}

/** Points along a path, nowhere farther apart than `LONGEST` steps or than `SHARE` of its length. */
export function spread(metric, path) {
  const pieces = [];
  let total = 0;
  for (let k = 0; k + 3 < path.length; k += 2) {
    const size = Math.hypot(path[k + 2] - path[k], path[k + 3] - path[k + 1]);
    const parts = Math.max(1, Math.ceil(size / LONGEST));
    for (let p = 0; p < parts; p++) {
      const a = path[k] + ((path[k + 2] - path[k]) * p) / parts;
      const b = path[k + 1] + ((path[k + 3] - path[k + 1]) * p) / parts;
      const c = path[k] + ((path[k + 2] - path[k]) * (p + 1)) / parts;
      const d = path[k + 1] + ((path[k + 3] - path[k + 1]) * (p + 1)) / parts;
      const length = metric.piece(a, b, c, d);
      total += length;
      pieces.push([a, b, c, d, size / parts, length]);
    }
  }
  const cost = pieces.map(([, , , , size, length]) => size / LONGEST + length / (SHARE * (total || 1)));
  const whole = cost.reduce((sum, value) => sum + value, 0);
  const count = Math.max(2, Math.ceil(whole));
  const found = [path[0], path[1]];
  let passed = 0;
  let k = 0;
  for (let p = 1; p < count; p++) {
    const wanted = (whole * p) / count;
    while (k < pieces.length - 1 && passed + cost[k] < wanted) passed += cost[k++];
    const share = cost[k] > 0 ? Math.min(1, (wanted - passed) / cost[k]) : 0;
    found.push(pieces[k][0] + share * (pieces[k][2] - pieces[k][0]), pieces[k][1] + share * (pieces[k][3] - pieces[k][1]));
  }
  found.push(path[path.length - 2], path[path.length - 1]);
  return found;
}

/** How far each inner point goes along its normal, and the normals; null where the damped system is not convex. */
function newtonStep(metric, path, damping) {
  const inner = path.length / 2 - 2;
  if (inner < 1) return null;
  const normals = normalsOf(path);
  const slope = new Float64Array(inner);
  const middle = new Float64Array(inner); // of the tridiagonal matrix of second derivatives
  const next = new Float64Array(inner);
  for (let k = 0; k <= inner; k++) {
    const piece = lengthJet(metric, path[2 * k], path[2 * k + 1], path[2 * k + 2], path[2 * k + 3]);
    const [before, after] = [k - 1, k]; // the inner points at its ends
    const [na, nb] = before >= 0 ? [normals[2 * before], normals[2 * before + 1]] : [0, 0];
    const [ma, mb] = after < inner ? [normals[2 * after], normals[2 * after + 1]] : [0, 0];
    if (before >= 0) {
      slope[before] += piece.x[0] * na + piece.x[1] * nb;
      middle[before] += quadratic(piece.xx, na, nb, na, nb);
      if (after < inner) next[before] = quadratic(piece.xy, na, nb, ma, mb);
    }
    if (after < inner) {
      slope[after] += piece.y[0] * ma + piece.y[1] * mb;
      middle[after] += quadratic(piece.yy, ma, mb, ma, mb);
    }
  }
  let typical = 0;
  for (const value of middle) typical += Math.abs(value) / inner;
  const shift = solveTridiagonal(middle, next, slope, damping * typical);
  return shift && { shift, normals };
}

/** Thomas' algorithm for (A + damping) x = -slope; null unless all pivots are positive. */
function solveTridiagonal(middle, next, slope, damping) {
  const count = middle.length;
  const pivot = new Float64Array(count);
  const right = new Float64Array(count);
  for (let k = 0; k < count; k++) {
    const share = k > 0 ? next[k - 1] / pivot[k - 1] : 0;
    pivot[k] = middle[k] + damping - (k > 0 ? share * next[k - 1] : 0);
    if (!(pivot[k] > 1e-12 * (Math.abs(middle[k]) + damping))) return null;
    right[k] = -slope[k] - (k > 0 ? share * right[k - 1] : 0);
  }
  for (let k = count - 1; k >= 0; k--) right[k] = (right[k] - (k + 1 < count ? next[k] * right[k + 1] : 0)) / pivot[k];
  return right;
}

/** The path with its points moved along their normals, a step at most, and in the box. */
function moved(metric, path, { shift, normals }) {
  let most = 0;
  for (const value of shift) most = Math.max(most, Math.abs(value));
  const share = most > FARTHEST ? FARTHEST / most : 1;
  const found = path.slice();
  for (let k = 0; k < shift.length; k++) {
    for (let axis = 0; axis < 2; axis++) {
      const place = path[2 * k + 2 + axis] + share * shift[k] * normals[2 * k + axis];
      found[2 * k + 2 + axis] = Math.min(Math.max(place, 0), metric.shape[axis] - 1);
    }
  }
  return found;
}

function normalsOf(path) {
  const inner = path.length / 2 - 2;
  const normals = new Float64Array(2 * inner);
  for (let k = 0; k < inner; k++) {
    const a = path[2 * k + 4] - path[2 * k];
    const b = path[2 * k + 5] - path[2 * k + 1];
    const size = Math.hypot(a, b) || 1;
    normals[2 * k] = -b / size;
    normals[2 * k + 1] = a / size;
  }
  return normals;
}

/** Length of a short piece from x to y by the rule of the midpoint, with derivatives by its ends. */
function lengthJet(metric, xa, xb, ya, yb) {
  const d = [ya - xa, yb - xb];
  const g = metric.jet((xa + ya) / 2, (xb + yb) / 2);
  const times = (k) => [g[3 * k] * d[0] + g[3 * k + 1] * d[1], g[3 * k + 1] * d[0] + g[3 * k + 2] * d[1]];
  const value = times(0);
  const by = [times(1), times(2)];
  const dot = (v) => v[0] * d[0] + v[1] * d[1];
  const length = Math.sqrt(Math.max(dot(value), 1e-300));
  const half = [dot(by[0]) / 2, dot(by[1]) / 2];
  const quarter = [dot(times(3)) / 4, dot(times(4)) / 4, dot(times(5)) / 4];
  const x = [];
  const y = [];
  for (let i = 0; i < 2; i++) {
    x.push((half[i] - 2 * value[i]) / (2 * length));
    y.push((half[i] + 2 * value[i]) / (2 * length));
  }
  const xx = [];
  const xy = [];
  const yy = [];
  for (let i = 0; i < 2; i++) {
    for (let j = 0; j < 2; j++) {
      const own = 2 * g[i + j];
      const turn = by[j][i];
      const other = by[i][j];
      const bend = quarter[i + j];
      xx.push((own - turn - other + bend) / (2 * length) - (x[i] * x[j]) / length);
      xy.push((other - own - turn + bend) / (2 * length) - (x[i] * y[j]) / length);
      yy.push((own + turn + other + bend) / (2 * length) - (y[i] * y[j]) / length);
    }
  }
  return { x, y, xx, xy, yy };
}

function quadratic(matrix, a, b, c, d) {
  return a * (matrix[0] * c + matrix[1] * d) + b * (matrix[2] * c + matrix[3] * d);
}

/** Places that part a path into equal lengths of a metric, ends included. */
export function equalSteps(metric, path, count) {
  const fine = spread(metric, path);
  const along = [0];
  for (let k = 0; k + 3 < fine.length; k += 2) {
    along.push(along[along.length - 1] + metric.piece(fine[k], fine[k + 1], fine[k + 2], fine[k + 3]));
  }
  const found = [];
  let k = 0;
  for (let p = 0; p < count; p++) {
    const wanted = (along[along.length - 1] * p) / (count - 1);
    while (k < along.length - 2 && along[k + 1] < wanted) k++;
    const share = along[k + 1] > along[k] ? Math.min(1, (wanted - along[k]) / (along[k + 1] - along[k])) : 0;
    found.push([0, 1].map((axis) => fine[2 * k + axis] + share * (fine[2 * k + 2 + axis] - fine[2 * k + axis])));
  }
  return found;
}
