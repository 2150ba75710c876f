// Pointer, touch and keys on the map.

const SLOP = 6; // pixels that a pointer may move and still have clicked

/**
 * @param {HTMLElement} element what listens.
 * @param {PlaneMap} map
 * @param {object} on hover(place), leave(), choose(place), moved(), walk(steps), clear().
 */
export function listen(element, map, on) {
  const pointers = new Map();
  let began = null;

  const where = (event) => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const place = (xy) => (map.holds(...xy) ? map.study.nodes.inside(map.toPlace(...xy)) : null);

  element.addEventListener("pointerdown", (event) => {
    const xy = where(event);
    pointers.set(event.pointerId, xy);
    began = pointers.size === 1 ? { xy, centre: map.view.centre, far: 0 } : null;
    if (event.pointerType === "mouse") element.setPointerCapture(event.pointerId);
  });

  element.addEventListener("pointermove", (event) => {
    const xy = where(event);
    if (pointers.size === 2 && pointers.has(event.pointerId)) {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const before = Math.hypot(...difference(pointers.get(event.pointerId), other));
      pointers.set(event.pointerId, xy);
      map.zoomBy(Math.hypot(...difference(xy, other)) / before, map.toPlace((xy[0] + other[0]) / 2, (xy[1] + other[1]) / 2));
      on.moved();
      return;
    }
    if (pointers.has(event.pointerId)) pointers.set(event.pointerId, xy);
    if (began) {
      const [x, y] = difference(xy, began.xy);
      began.far = Math.max(began.far, Math.hypot(x, y));
      if (event.buttons && event.pointerType === "mouse" && map.view.zoom > 1 && began.far > SLOP) {
        map.moveTo([began.centre[0] - x / map.step[0], began.centre[1] + y / map.step[1]]);
        on.moved();
        return;
      }
    }
    const found = place(xy);
    if (found) on.hover(found);
    else if (event.pointerType === "mouse") on.leave();
  });

  const ended = (event) => {
    pointers.delete(event.pointerId);
    const found = began && began.far <= SLOP && event.type === "pointerup" ? place(where(event)) : null;
    began = null;
    if (!found) return;
    on.hover(found);
    on.choose(found);
  };
  element.addEventListener("pointerup", ended);
  element.addEventListener("pointercancel", ended);
  element.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && on.leave());

  element.addEventListener("wheel", (event) => {
    const xy = where(event);
    if (!map.holds(...xy) || (map.view.zoom === 1 && event.deltaY > 0)) return;
    event.preventDefault();
    map.zoomBy(Math.exp(-event.deltaY / 400), map.toPlace(...xy));
    on.moved();
  }, { passive: false });

  element.addEventListener("keydown", (event) => {
    const far = event.shiftKey ? 5 : 1;
    const walks = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowDown: [0, -far], ArrowUp: [0, far] };
    if (walks[event.key]) on.walk(walks[event.key]);
    else if (event.key === "Enter" || event.key === " ") on.choose(null);
    else if (event.key === "Escape") on.clear();
    else if (event.key === "+" || event.key === "=") on.zoom(1.5);
    else if (event.key === "-") on.zoom(1 / 1.5);
    else return;
    event.preventDefault();
  });
}

function difference(x, y) {
  return [x[0] - y[0], x[1] - y[1]];
}
