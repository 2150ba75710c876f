// Windows that shrink about a point of a boundary: which phases are in each, and some of its images.

import { unpack, words } from "./data.js";
import { colouring } from "./palettes.js";

export class Zoom {
  /** @param {object} elements series, level (inputs), words (an output), labels (a canvas), images (an image). */
  constructor(spec, study, elements) {
    this.spec = spec;
    this.study = study;
    this.elements = elements;
    this.labels = unpack(spec.labels);
    elements.series.replaceChildren(...spec.series.map((name) => new Option(name.replace("-", ", ") + " steps", name)));
    elements.series.addEventListener("change", () => this.show());
    elements.level.addEventListener("input", () => this.show());
  }

  /** The windows of the series that is chosen, the widest first. */
  get windows() {
    return this.spec.windows.map((window, row) => ({ ...window, row })).filter((window) => window.series === this.elements.series.value);
  }

  show() {
    const { level, words: told, labels, images } = this.elements;
    const known = this.windows;
    level.max = known.length - 1;
    const window = known[Number(level.value)];
    const centre = window.centre.map((value) => words(value, 6)).join(", ");
    told.textContent = `${words(window.width)} of the box, about ${centre}${window.resolved ? "" : ": below what this precision resolves"}`;
    this.draw(labels, window.row);
    images.hidden = this.spec.pictures.length === 0;
    if (!images.hidden) images.src = `data:image/png;base64,${this.spec.pictures[window.row]}`;
  }

  draw(canvas, row) {
    const [, na, nb] = this.spec.labels.shape;
    [canvas.width, canvas.height] = [na, nb];
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(na, nb);
    const colour = colouring({ scale: "phases" }, this.study.palettes, this.study.phases);
    for (let i = 0; i < na; i++) {
      for (let j = 0; j < nb; j++) {
        pixels.data.set([...colour(this.labels[(row * na + i) * nb + j]), 255], 4 * ((nb - 1 - j) * na + i));
      }
    }
    context.putImageData(pixels, 0, 0);
  }
}
