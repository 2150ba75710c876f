// Images along a path, at equal steps of the Fisher metric.

const GAP = 4;

/** Draw the images of the samples nearest to places side by side; below each, the colour of its phase. */
export function drawStrip(canvas, places, study) {
  const width = canvas.parentElement.clientWidth;
  const count = places.length;
  const side = (width - GAP * (count - 1)) / count;
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  const [tall, wide] = study.atlas ? study.atlas.spec.source : [1, 1];
  const height = Math.round((side * tall) / wide);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round((height + 8) * ratio);
  canvas.style.height = `${height + 8}px`;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  places.forEach((place, k) => {
    const x = k * (side + GAP);
    if (study.atlas) study.atlas.draw(context, study.samples.nearest(place), x, 0, side, height);
    context.fillStyle = `rgb(${study.phaseColour(place).join(",")})`;
    context.fillRect(x, height + 3, side, 4);
  });
  return places.map((place) => study.phaseAt(place));
}

/** How many images fit side by side. */
export function stripCount(width) {
  return Math.max(7, Math.min(15, Math.floor(width / 64)));
}
