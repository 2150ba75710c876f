// The map: a layer or the images on the nodes, lines on it, and above, drawn anew at every move, what is pointed at.

import { colouring, ticks } from "./palettes.js";
import { words } from "./data.js";

const MARGIN = { left: 44, right: 10, top: 10, bottom: 40 };
const CLOSEST = 32; // largest zoom

export class PlaneMap {
  /**
   * @param {HTMLCanvasElement} below what changes seldom.
   * @param {HTMLCanvasElement} above what changes with the pointer.
   */
  constructor(below, above, study) {
    this.below = below;
    this.above = above;
    this.study = study;
    this.raster = document.createElement("canvas");
    this.view = { centre: study.nodes.shape.map((nodes) => (nodes - 1) / 2), zoom: 1 };
    this.size = [0, 0];
  }

  resize() {
    const width = this.below.parentElement.clientWidth;
    const [na, nb] = this.study.nodes.extent.map(([low, high], axis) => (high - low) * (this.study.nodes.shape[axis] / (this.study.nodes.shape[axis] - 1)));
    const inner = width - MARGIN.left - MARGIN.right;
    const limit = Math.max(280, window.innerHeight - 190);
    const height = Math.round(Math.min((inner * nb) / na, 1.6 * inner, width > 520 ? limit : Infinity));
    this.size = [width, height + MARGIN.top + MARGIN.bottom];
    this.ratio = Math.min(3, window.devicePixelRatio || 1);
    for (const canvas of [this.below, this.above]) {
      canvas.width = Math.round(this.size[0] * this.ratio);
      canvas.height = Math.round(this.size[1] * this.ratio);
      canvas.style.width = `${this.size[0]}px`;
      canvas.style.height = `${this.size[1]}px`;
    }
    // One pixel has the same length of parameters both ways.
    const side = Math.min(inner / na, height / nb);
    const [wide, high] = [side * na, side * nb];
    this.frame = { left: MARGIN.left + (inner - wide) / 2, top: MARGIN.top + (height - high) / 2, width: wide, height: high };
  }

  /** Pixels of a step between nodes along both axes. */
  get step() {
    const [na, nb] = this.study.nodes.shape;
    return [(this.frame.width / na) * this.view.zoom, (this.frame.height / nb) * this.view.zoom];
  }

  toPixel(u) {
    const [sa, sb] = this.step;
    const { left, top, width, height } = this.frame;
    return [left + width / 2 + (u[0] - this.view.centre[0]) * sa, top + height / 2 - (u[1] - this.view.centre[1]) * sb];
  }

  toPlace(x, y) {
    const [sa, sb] = this.step;
    const { left, top, width, height } = this.frame;
    return [(x - left - width / 2) / sa + this.view.centre[0], (top + height / 2 - y) / sb + this.view.centre[1]];
  }

  holds(x, y) {
    const { left, top, width, height } = this.frame;
    return x >= left && x <= left + width && y >= top && y <= top + height;
  }

  /** Zoom about a place, which stays where it is on the screen. */
  zoomBy(factor, about = this.view.centre) {
    const zoom = Math.min(CLOSEST, Math.max(1, this.view.zoom * factor));
    const share = 1 - this.view.zoom / zoom;
    this.moveTo(this.view.centre.map((value, axis) => value + share * (about[axis] - value)), zoom);
  }

  moveTo(centre, zoom = this.view.zoom) {
    const held = centre.map((value, axis) => {
      const nodes = this.study.nodes.shape[axis];
      const room = nodes / 2 - nodes / zoom / 2;
      return Math.min(Math.max(value, (nodes - 1) / 2 - room), (nodes - 1) / 2 + room);
    });
    this.view = { centre: held, zoom };
  }

  /** The colours of a layer, a pixel a node. */
  paint(layer, values) {
    const [na, nb] = this.study.nodes.shape;
    [this.raster.width, this.raster.height] = [na, nb];
    const context = this.raster.getContext("2d");
    const pixels = context.createImageData(na, nb);
    const colour = colouring(layer, this.study.palettes, this.study.phases);
    for (let i = 0; i < na; i++) {
      for (let j = 0; j < nb; j++) {
        const at = 4 * ((nb - 1 - j) * na + i);
        pixels.data.set(colour(values[i * nb + j]), at);
        pixels.data[at + 3] = 255;
      }
    }
    context.putImageData(pixels, 0, 0);
  }

  /** All that changes seldom. */
  draw({ images, lines, paths }) {
    const context = this.start(this.below);
    const { left, top, width, height } = this.frame;
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    const [na, nb] = this.study.nodes.shape;
    const [x, y] = this.toPixel([-0.5, nb - 0.5]);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.raster, x, y, na * this.step[0], nb * this.step[1]);
    if (images !== "off") this.drawImages(context, images === "tint" ? 0.55 : 1);
    if (lines) this.drawBoundaries(context);
    for (const path of paths) this.drawPath(context, path);
    context.restore();
    this.drawAxes(context);
  }

  drawImages(context, opacity) {
    const { atlas, samples, nodes } = this.study;
    if (!atlas || !samples.onGrid) return;
    context.globalAlpha = opacity;
    const [sa, sb] = this.step;
    const [low, high] = [this.toPlace(this.frame.left, this.frame.top + this.frame.height), this.toPlace(this.frame.left + this.frame.width, this.frame.top)];
    const first = low.map((value, axis) => Math.max(0, Math.floor(value + 0.5)) + 0 * axis);
    const last = high.map((value, axis) => Math.min(nodes.shape[axis] - 1, Math.ceil(value - 0.5)));
    for (let i = first[0]; i <= last[0]; i++) {
      for (let j = first[1]; j <= last[1]; j++) {
        const [x, y] = this.toPixel([i - 0.5, j + 0.5]);
        atlas.draw(context, i * nodes.shape[1] + j, x, y, sa, sb);
      }
    }
    context.globalAlpha = 1;
  }

  drawBoundaries(context) {
    const trace = () => {
      context.beginPath();
      for (const line of this.study.boundaries) {
        line.forEach((t, k) => {
          const [x, y] = this.toPixel(this.study.nodes.place(t));
          if (k === 0) context.moveTo(x, y);
          else context.lineTo(x, y);
        });
      }
    };
    cased(context, trace, "#fff", 1.2);
    for (const t of this.study.corners) disc(context, this.toPixel(this.study.nodes.place(t)), 3.5, "#fff");
  }

  /** A path {places, colour, width, dash}. */
  drawPath(context, { places, colour, width, dash = [] }) {
    context.setLineDash(dash);
    cased(context, () => {
      context.beginPath();
      places.forEach((place, k) => {
        const [x, y] = this.toPixel(place);
        if (k === 0) context.moveTo(x, y);
        else context.lineTo(x, y);
      });
    }, colour, width);
    context.setLineDash([]);
  }

  drawAxes(context) {
    const style = getComputedStyle(this.below);
    const { left, top, width, height } = this.frame;
    context.strokeStyle = context.fillStyle = style.color;
    context.lineWidth = 1;
    context.strokeRect(left - 0.5, top - 0.5, width + 1, height + 1);
    context.font = `12px ${style.fontFamily}`;
    const ends = [this.toPlace(left, top + height), this.toPlace(left + width, top)].map((u) => this.study.nodes.parameters(u));
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const value of ticks(ends[0][0], ends[1][0], 5)) {
      const [x] = this.toPixel([(value - this.study.nodes.extent[0][0]) / this.study.nodes.spacing[0], 0]);
      context.fillRect(Math.round(x) - 0.5, top + height, 1, 4);
      context.fillText(words(value, 4), x, top + height + 6);
    }
    context.fillText(this.study.axes[0], left + width / 2, top + height + 22);
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const value of ticks(ends[0][1], ends[1][1], 5)) {
      const [, y] = this.toPixel([0, (value - this.study.nodes.extent[1][0]) / this.study.nodes.spacing[1]]);
      context.fillRect(left - 4, Math.round(y) - 0.5, 4, 1);
      context.fillText(words(value, 4), left - 7, y);
    }
    context.save();
    context.translate(left - 36, top + height / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText(this.study.axes[1], 0, 0);
    context.restore();
  }

  /** What is pointed at: a cross, the ellipse of the metric there, the ends of the path. */
  point({ at, ellipse, ends }) {
    const context = this.start(this.above);
    const { left, top, width, height } = this.frame;
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    if (at) {
      const [sa, sb] = this.step;
      const [x, y] = this.toPixel([at[0] - 0.5, at[1] + 0.5]);
      const size = [Math.max(sa, 6), Math.max(sb, 6)];
      cased(context, () => {
        context.beginPath();
        context.rect(x + (sa - size[0]) / 2, y + (sb - size[1]) / 2, ...size);
      }, "#fff", 1.5);
      if (ellipse) cased(context, () => this.traceEllipse(context, at, ellipse), "#ffd54a", 1.5);
    }
    for (const [label, place] of ends) {
      const [x, y] = this.toPixel(place);
      disc(context, [x, y], 9, "#fff");
      context.fillStyle = "#111";
      context.font = "bold 12px system-ui, sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText(label, x, y + 0.5);
    }
    context.restore();
  }

  /** All v with v' g v = radius squared, about a place; g in steps between nodes. */
  traceEllipse(context, at, { g, radius }) {
    const mean = (g[0] + g[2]) / 2;
    const split = Math.hypot((g[0] - g[2]) / 2, g[1]);
    const angle = Math.atan2(2 * g[1], g[0] - g[2]) / 2; // of the larger eigenvalue
    const reach = [radius / Math.sqrt(Math.max(mean + split, 1e-12)), radius / Math.sqrt(Math.max(mean - split, 1e-12))];
    const far = 2 * Math.max(...this.study.nodes.shape);
    context.beginPath();
    for (let k = 0; k <= 72; k++) {
      const turn = (k * Math.PI) / 36;
      const [p, q] = [Math.min(reach[0], far) * Math.cos(turn), Math.min(reach[1], far) * Math.sin(turn)];
      const u = [at[0] + p * Math.cos(angle) - q * Math.sin(angle), at[1] + p * Math.sin(angle) + q * Math.cos(angle)];
      const [x, y] = this.toPixel(u);
      if (k === 0) context.moveTo(x, y);
      else context.lineTo(x, y);
    }
  }

  start(canvas) {
    const context = canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, ...this.size);
    context.lineJoin = context.lineCap = "round";
    return context;
  }
}

/** A line that is seen on any colour: dark below, light above. */
function cased(context, trace, colour, width) {
  trace();
  context.strokeStyle = "rgba(0, 0, 0, 0.75)";
  context.lineWidth = width + 2;
  context.stroke();
  trace();
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
}

function disc(context, [x, y], radius, colour) {
  cased(context, () => {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
  }, colour, 1.5);
  context.fillStyle = colour;
  context.fill();
}
