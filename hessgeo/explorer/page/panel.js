// Beside the map: the image that is pointed at, its numbers, its posteriors; and the scale of the layer.

import { words } from "./data.js";
import { colouring, ticks } from "./palettes.js";

const WIDE = 9; // standard deviations of a posterior that are seen of it
const LEAST = 0.2; // of the box that is seen, at least

/** The image, and what is known of its node. */
export function tell(study, row, node, elements) {
  drawImage(study, row, elements.image);
  const t = study.nodes.parameters(study.samples.placeOf(row));
  const { fields } = study;
  const error = (name, index) => (fields[name] ? ` ± ${words(fields[name][index], 2)}` : "");
  const g = (part) => fields.g[4 * node + part];
  const lines = [
    ["a, b", `${words(t[0], 4)}, ${words(t[1], 4)}`],
    ["phase", String(study.labels[node])],
    ["F", words(fields.F[node], 5) + error("F_error", node)],
    ["g aa", words(g(0)) + error("g_error", 4 * node)],
    ["g ab", words(g(1)) + error("g_error", 4 * node + 1)],
    ["g bb", words(g(3)) + error("g_error", 4 * node + 3)],
    ["alike", words(Math.exp(study.samples.entropy[row]))],
  ];
  elements.numbers.replaceChildren(...lines.flatMap(([name, value]) => [made("dt", name), made("dd", value)]));
  elements.swatch.style.background = `rgb(${study.phaseColour(study.nodes.placeOf(node)).join(",")})`;
}

function drawImage(study, row, canvas) {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  if (!study.atlas) return;
  const [tall, wide] = study.atlas.spec.source;
  const share = Math.min(canvas.width / wide, canvas.height / tall);
  const [width, height] = [wide * share, tall * share];
  study.atlas.draw(context, row, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
}

function made(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

/** The part of the box that the posterior of a sample is seen in: left, lower end and side, as shares of the box. */
export function around(study, row) {
  const { extent } = study.nodes;
  const share = (axis, value) => (value - extent[axis][0]) / (extent[axis][1] - extent[axis][0]);
  const spread = [0, 2].map((part, axis) => Math.sqrt(Math.max(study.samples.covariance[3 * row + part], 0)) / (extent[axis][1] - extent[axis][0]));
  const side = Math.min(1, Math.max(LEAST, WIDE * Math.max(...spread)));
  const [left, low] = [0, 1].map((axis) => Math.min(Math.max(share(axis, study.samples.mean[2 * row + axis]) - side / 2, 0), 1 - side));
  return { left, low, side };
}

/** A distribution on cells of the box as a small map of a part of it; colours by the root, so that tails are seen. */
export function drawPosterior(canvas, probability, shape, study, { place, window }) {
  const [across, up] = shape;
  const raster = document.createElement("canvas");
  [raster.width, raster.height] = [across, up];
  const small = raster.getContext("2d");
  const pixels = small.createImageData(across, up);
  const whole = new Uint32Array(pixels.data.buffer);
  const most = probability.reduce((top, value) => Math.max(top, value), 0);
  const colours = study.palettes.viridis;
  const table = (study.opaque ??= opaque(colours));
  for (let i = 0; i < across; i++) {
    for (let j = 0; j < up; j++) {
      whole[(up - 1 - j) * across + i] = table[Math.round(255 * Math.sqrt(probability[i * up + j] / most))];
    }
  }
  small.putImageData(pixels, 0, 0);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  // Cells reach half a cell beyond the corners of the box, where their centres are.
  const at = (x, y) => [((x - window.left) / window.side) * canvas.width, (1 - (y - window.low) / window.side) * canvas.height];
  const [wide, high] = [1 / (across - 1), 1 / (up - 1)];
  const [x, y] = at(-wide / 2, 1 + high / 2);
  const scale = [canvas.width / window.side, canvas.height / window.side];
  context.fillStyle = `rgb(${colours.slice(0, 3).join(",")})`;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(raster, x, y, (1 + wide) * scale[0], (1 + high) * scale[1]);
  context.lineWidth = 2;
  context.strokeStyle = "#fff";
  context.beginPath();
  context.arc(...at(...place.map((value, axis) => value / (study.nodes.shape[axis] - 1))), 7, 0, 2 * Math.PI);
  context.stroke();
}

/** The colours of a palette as pixels, a number each. */
function opaque(colours) {
  const bytes = new Uint8Array(1024);
  for (let k = 0; k < 256; k++) bytes.set([colours[3 * k], colours[3 * k + 1], colours[3 * k + 2], 255], 4 * k);
  return new Uint32Array(bytes.buffer);
}

/** The colours of a layer: a bar with numbers, or the phases with their shares. */
export function drawScale(element, layer, study) {
  element.replaceChildren();
  if (layer.scale === "phases") {
    for (const phase of study.phases) {
      const entry = made("span", layer.key === "phase" ? `${phase.label} · ${Math.round(100 * phase.area)} %` : String(phase.label));
      entry.className = "phase";
      entry.style.setProperty("--colour", `rgb(${phase.colour.join(",")})`);
      element.append(entry);
    }
    return;
  }
  const colour = colouring(layer, study.palettes, study.phases);
  const at = (share) => (layer.scale === "log" ? layer.low * (layer.high / layer.low) ** share : layer.low + share * (layer.high - layer.low));
  const stops = Array.from({ length: 17 }, (_, k) => `rgb(${colour(at(k / 16)).join(",")})`);
  const bar = made("div", "");
  bar.className = "bar";
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  const marks = made("div", "");
  marks.className = "marks";
  for (const value of ticks(layer.low, layer.high, 4, layer.scale === "log")) {
    const share = layer.scale === "log" ? Math.log(value / layer.low) / Math.log(layer.high / layer.low) : (value - layer.low) / (layer.high - layer.low);
    const mark = made("span", words(value));
    mark.style.left = `${100 * share}%`;
    marks.append(mark);
  }
  element.append(bar, marks);
}
