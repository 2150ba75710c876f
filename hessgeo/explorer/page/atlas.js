// Images, in pictures that are decoded when they are first needed.

import { unpack } from "./data.js";

const KEPT = 40; // decoded pictures of large tiles at once

/** A picture of the page, decoded. */
export async function picture(name, kind) {
  const image = new Image();
  image.src = `data:image/${kind};base64,${document.getElementById(name).textContent}`;
  await image.decode();
  return image;
}

export class Atlas {
  /** @param {() => void} changed called when a picture that was asked for is there. */
  constructor(spec, changed) {
    this.spec = spec;
    this.shape = spec.shape;
    this.cells = unpack(spec.cells);
    this.changed = changed;
    this.known = new Map();
  }

  /** Number of the smallest level whose tiles are at least so many pixels high; the last one if none is. */
  levelFor(pixels) {
    const found = this.spec.levels.findIndex((level) => level.tile[0] >= pixels);
    return found < 0 ? this.spec.levels.length - 1 : found;
  }

  cellOf(row) {
    return [this.cells[2 * row], this.cells[2 * row + 1]];
  }

  /** Draw the image of a sample; from a coarser level while the one that is wanted is decoded. */
  draw(context, row, x, y, width, height) {
    const wanted = this.levelFor(Math.max(width, height) * 0.75);
    for (let k = wanted; k >= 0; k--) {
      if (this.drawFrom(k, context, row, x, y, width, height)) return true;
    }
    return false;
  }

  drawFrom(k, context, row, x, y, width, height) {
    const { tile, across } = this.spec.levels[k];
    const [column, line] = this.cellOf(row);
    const source = this.block(k, Math.floor(column / across), Math.floor(line / across));
    if (!source) return false;
    context.imageSmoothingEnabled = width < 3 * tile[1];
    context.imageSmoothingQuality = "high";
    context.drawImage(source, (column % across) * tile[1], (line % across) * tile[0], tile[1], tile[0], x, y, width, height);
    return true;
  }

  /** A decoded picture, or null while it is not there yet. */
  block(level, column, row) {
    const { blocks, kind } = this.spec.levels[level];
    const name = blocks[`${column},${row}`];
    if (name === undefined) return null;
    const found = this.known.get(name);
    if (found) {
      this.known.delete(name); // and last in the order again
      this.known.set(name, found);
      return found.image;
    }
    const entry = { image: null };
    this.known.set(name, entry);
    picture(name, kind).then((image) => {
      entry.image = image;
      this.changed();
    });
    if (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
    return null;
  }
}
