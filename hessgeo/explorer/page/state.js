// What is shown, and the part of the address behind "#" that keeps it.

const DEFAULTS = { layer: "phase", step: 0, metric: "fisher", images: "off", lines: "on", ellipse: "on", view: "", a: "", b: "", at: "", theme: "" };

/** The state of an address; what it does not name, or names wrongly, is by default. */
export function stateOf(hash, allowed) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { ...DEFAULTS, step: allowed.lastStep };
  for (const name of ["layer", "metric", "images", "lines", "ellipse", "theme"]) {
    if (allowed[name].includes(given.get(name))) state[name] = given.get(name);
  }
  const step = Number(given.get("step"));
  if (given.has("step") && Number.isInteger(step) && step >= 0 && step <= allowed.lastStep) state.step = step;
  for (const name of ["a", "b", "at"]) state[name] = point(given.get(name));
  const view = (given.get("view") ?? "").split(",").map(Number);
  state.view = view.length === 3 && view.every(Number.isFinite) && view[2] >= 1 ? view : null;
  return state;
}

/** The address of a state: what is not by default. */
export function hashOf(state, allowed) {
  const parts = [];
  for (const name of ["layer", "metric", "images", "lines", "ellipse", "theme"]) {
    if (state[name] !== DEFAULTS[name]) parts.push(`${name}=${state[name]}`);
  }
  if (state.layer === "history" && state.step !== allowed.lastStep) parts.push(`step=${state.step}`);
  for (const name of ["a", "b", "at"]) if (state[name]) parts.push(`${name}=${state[name].map(short).join(",")}`);
  if (state.view) parts.push(`view=${state.view.map(short).join(",")}`);
  return parts.length ? `#${parts.join("&")}` : "";
}

function point(text) {
  const found = (text ?? "").split(",").map(Number);
  return text && found.length === 2 && found.every(Number.isFinite) ? found : null;
}

function short(value) {
  return String(Number(value.toPrecision(6)));
}
