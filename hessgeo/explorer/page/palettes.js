// From numbers to colours.

const FAILED = [184, 196, 206]; // no number; in none of the palettes

/** A function from a layer's value to red, green and blue. */
export function colouring(layer, palettes, phases) {
  if (layer.scale === "phases") {
    const known = new Map(phases.map((phase) => [phase.label, phase.colour]));
    const others = phases.map((phase) => phase.colour);
    return (label) => known.get(label) ?? others[(label - 1) % others.length] ?? FAILED;
  }
  const colours = palettes[layer.palette];
  return (value) => {
    const share = shareOf(layer, value);
    if (!Number.isFinite(share)) return FAILED;
    const k = 3 * Math.round(255 * Math.min(Math.max(share, 0), 1));
    return [colours[k], colours[k + 1], colours[k + 2]];
  };
}

/** Where a value stands on the scale of a layer: 0 at its low end, 1 at its high one. */
export function shareOf(layer, value) {
  const f = layer.scale === "log" ? Math.log : (x) => x;
  return (f(value) - f(layer.low)) / (f(layer.high) - f(layer.low));
}

/** A few round numbers between two. */
export function ticks(low, high, most, log = false) {
  if (log) {
    const decades = [];
    for (let k = Math.ceil(Math.log10(low)); k <= Math.log10(high); k++) decades.push(10 ** k);
    if (decades.length >= 2) return decades.filter((_, k) => k % Math.ceil(decades.length / most) === 0);
  }
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((size) => size >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}
