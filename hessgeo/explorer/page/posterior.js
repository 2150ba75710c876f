// The posterior over parameters given one image: as it was measured, and as the free energy says.

/** The model's: q(t | t_i) ~ w(t) exp N(<t, grad F(t_i)> - F(t)) on the nodes, w the number of samples there. */
export function fittedPosterior(nodes, samples, fields, resolution, place) {
  const slope = slopeAt(nodes, fields.slope, place);
  const counts = samplesPerNode(samples, nodes);
  const logits = new Float64Array(nodes.count);
  const [na, nb] = nodes.shape;
  let most = -Infinity;
  for (let i = 0; i < na; i++) {
    // From the middle of the box: a wide offset would cost digits.
    const a = (i - (na - 1) / 2) * nodes.spacing[0] * slope[0];
    for (let j = 0; j < nb; j++) {
      const k = i * nb + j;
      const b = (j - (nb - 1) / 2) * nodes.spacing[1] * slope[1];
      logits[k] = counts[k] > 0 ? resolution * (a + b - fields.F[k]) + Math.log(counts[k]) : -Infinity;
      most = Math.max(most, logits[k]);
    }
  }
  return normalised(logits.map((value) => Math.exp(value - most)));
}

/** The measured one of a sample on coarser cells, of the picture that holds all of them. */
export class MeasuredPosteriors {
  constructor(spec, picture) {
    this.shape = spec.shape;
    this.columns = spec.columns;
    this.canvas = document.createElement("canvas");
    [this.canvas.width, this.canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.context.drawImage(picture, 0, 0);
  }

  of(row) {
    const [across, up] = this.shape;
    const left = (row % this.columns) * across;
    const top = Math.floor(row / this.columns) * up;
    const { data } = this.context.getImageData(left, top, across, up);
    const found = new Float64Array(across * up);
    for (let i = 0; i < across; i++) {
      for (let j = 0; j < up; j++) found[i * up + j] = (data[4 * ((up - 1 - j) * across + i)] / 255) ** 2;
    }
    return normalised(found);
  }
}

/** Mean of a distribution on regular cells of the box, corners included, in parameters. */
export function meanOf(probability, shape, extent) {
  const mean = [0, 0];
  for (let i = 0; i < shape[0]; i++) {
    for (let j = 0; j < shape[1]; j++) {
      const p = probability[i * shape[1] + j];
      mean[0] += p * (extent[0][0] + ((extent[0][1] - extent[0][0]) * i) / (shape[0] - 1));
      mean[1] += p * (extent[1][0] + ((extent[1][1] - extent[1][0]) * j) / (shape[1] - 1));
    }
  }
  return mean;
}

function normalised(values) {
  const sum = values.reduce((total, value) => total + value, 0);
  return values.map((value) => value / sum);
}

/** Of a field with two components on the nodes: bilinear between them. */
function slopeAt(nodes, slope, place) {
  const [i, j] = place.map((value, axis) => Math.min(Math.floor(value), nodes.shape[axis] - 2));
  const [p, q] = [place[0] - i, place[1] - j];
  const at = (di, dj, part) => slope[2 * ((i + di) * nodes.shape[1] + j + dj) + part];
  return [0, 1].map((part) => (1 - p) * ((1 - q) * at(0, 0, part) + q * at(0, 1, part)) + p * ((1 - q) * at(1, 0, part) + q * at(1, 1, part)));
}

function samplesPerNode(samples, nodes) {
  if (samples.counts) return samples.counts;
  const counts = new Float64Array(nodes.count).fill(samples.onGrid ? 1 : 0);
  for (let row = 0; !samples.onGrid && row < samples.count; row++) {
    const place = samples.placeOf(row);
    const [i, j] = place.map((value, axis) => Math.min(Math.floor(value), nodes.shape[axis] - 2));
    const [p, q] = [place[0] - i, place[1] - j];
    for (const [di, dj, weight] of [[0, 0, (1 - p) * (1 - q)], [0, 1, (1 - p) * q], [1, 0, p * (1 - q)], [1, 1, p * q]]) {
      counts[(i + di) * nodes.shape[1] + j + dj] += weight;
    }
  }
  samples.counts = counts;
  return counts;
}
