// All that is known of the study, unpacked when it is first needed.

import { Atlas } from "./atlas.js";
import { Nodes, Samples, unpack } from "./data.js";

/** @param {() => void} changed called when an image that was asked for is there. */
export function studyOf(data, changed) {
  const nodes = new Nodes(data.grid);
  const samples = new Samples(data.samples, nodes);
  const values = new Map();
  const labels = unpack(data.layers.find((layer) => layer.key === "phase").values);
  const colours = new Map(data.phases.map((phase) => [phase.label, phase.colour]));
  const found = {
    nodes,
    samples,
    labels,
    layers: data.layers,
    phases: data.phases,
    boundaries: data.boundaries,
    corners: data.corners,
    axes: data.axes,
    palettes: Object.fromEntries(Object.entries(data.palettes).map(([name, packed]) => [name, unpack(packed)])),
    fields: Object.fromEntries(Object.entries(data.fields).map(([name, packed]) => [name, unpack(packed)])),
    phaseAt: (place) => labels[nodes.nearest(place)],
    phaseColour: (place) => colours.get(found.phaseAt(place)) ?? [128, 128, 128],
    /** Where the page opens: at the most typical sample of the largest phase; null where phases name none. */
    opening() {
      const row = data.phases[0]?.medoid ?? null;
      return row === null ? null : nodes.parameters(samples.placeOf(row));
    },
    valuesOf(layer) {
      if (!values.has(layer.key)) values.set(layer.key, unpack(layer.values));
      return values.get(layer.key);
    },
  };
  found.atlas = data.atlas && new Atlas(data.atlas, changed);
  return found;
}
