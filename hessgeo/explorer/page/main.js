// The page: what is shown, and what changes it.

import { picture } from "./atlas.js";
import { listen } from "./controls.js";
import { unpack, words } from "./data.js";
import { equalSteps, geodesic, spread } from "./geodesic.js";
import { Lattice } from "./graph.js";
import { sampleAt } from "./live.js";
import { PlaneMap } from "./map.js";
import { SplineMetric } from "./metric.js";
import { around, drawPosterior, drawScale, tell } from "./panel.js";
import { MeasuredPosteriors, fittedPosterior, meanOf } from "./posterior.js";
import { hashOf, stateOf } from "./state.js";
import { drawStrip, stripCount } from "./strip.js";
import { studyOf } from "./study.js";
import { Zoom } from "./zoom.js";

const SIGMAS = 3; // of the ellipse
const IDLE = 12; // milliseconds of work at a time while nothing happens
const COLOURS = { geodesic: "#ff9f1c", line: "#ffffff", study: "#7fd4ff" };

const element = (id) => document.getElementById(id);
const data = JSON.parse(element("data").textContent);
const study = studyOf(data, () => {
  toldOf = "";
  ask({ base: true, above: true });
  if (!element("strips").hidden) showStrips();
});
const allowed = {
  layer: study.layers.map((layer) => layer.key),
  metric: data.metrics.map((metric) => metric.key),
  images: ["off", "tint", "on"],
  lines: ["on", "off"],
  ellipse: ["on", "off"],
  theme: ["", "light", "dark"],
  lastStep: Math.max(0, ...study.layers.map((layer) => layer.steps.length - 1)),
};
let state = stateOf(location.hash, allowed);
const map = new PlaneMap(element("below"), element("above"), study);
const known = {}; // metrics with their lattices, by key
let found = null; // the path between the two points
let due = { base: true, above: true };
let toldOf = ""; // what the panel is about

/** A metric by its key, and the lattice on it. */
function metricOf(key) {
  if (!known[key]) {
    const spec = data.metrics.find((metric) => metric.key === key);
    const scale = study.nodes.spacing.map((step, axis) => step / spec.units[axis]);
    const metric = new SplineMetric(unpack(spec.coefficients), study.nodes.shape, scale);
    known[key] = { metric, lattice: new Lattice(metric), title: spec.title };
  }
  return known[key];
}

// Drawing, once a frame at most.

function ask(more) {
  const nothing = !due.base && !due.above && !due.asked;
  due = { base: due.base || more.base, above: due.above || more.above, asked: true };
  if (nothing || !due.running) {
    due.running = true;
    requestAnimationFrame(show);
  }
}

function show() {
  const { base, above } = due;
  due = {};
  if (base) showBase();
  if (above || base) showAbove();
}

function layerNow() {
  return study.layers.find((layer) => layer.key === state.layer);
}

function showBase() {
  const layer = layerNow();
  let values = study.valuesOf(layer);
  if (layer.steps.length) values = values.subarray(state.step * study.nodes.count, (state.step + 1) * study.nodes.count);
  map.paint(layer, values);
  map.draw({ images: state.images, lines: state.lines === "on", paths: pathsShown() });
}

function pathsShown() {
  const shown = [];
  const kept = data.paths[state.metric];
  if (element("paths").checked && kept) {
    for (const path of studyPaths(kept)) if (path.certified) shown.push({ places: path.places, colour: COLOURS.study, width: 1.4 });
  }
  if (!found) return shown;
  shown.push({ places: [found.from, found.to], colour: COLOURS.line, width: 1.5, dash: [6, 6] });
  if (found.kept) shown.push({ places: found.kept.places, colour: COLOURS.study, width: 4 });
  shown.push({ places: pairs(found.path), colour: COLOURS.geodesic, width: 2.5 });
  return shown;
}

function showAbove() {
  const ends = [["A", state.a], ["B", state.b]].filter(([, t]) => t).map(([name, t]) => [name, study.nodes.place(t)]);
  const row = state.at ? study.samples.nearest(study.nodes.place(state.at)) : null;
  const node = state.at ? study.nodes.nearest(study.nodes.place(state.at)) : null;
  const ellipse = row !== null && state.ellipse === "on" ? ellipseAt(node) : null;
  map.point({ at: row === null ? null : study.samples.placeOf(row), ellipse, ends });
  element("told").classList.toggle("empty", row === null);
  if (row === null) return;
  const now = `${row} ${node} ${state.layer}`;
  if (now === toldOf) return;
  toldOf = now;
  tell(study, row, node, { image: element("image"), numbers: element("numbers"), swatch: element("swatch") });
  const layer = layerNow();
  if (layer.scale !== "phases") element("value").textContent = `${layer.title}: ${words(study.valuesOf(layer)[node], 4)} ${layer.unit}`;
  else element("value").textContent = "";
  showPosteriors(row);
}

function ellipseAt(node) {
  const [sa, sb] = study.nodes.spacing;
  const g = [0, 1, 3].map((part) => study.fields.g[4 * node + part]);
  return { g: [g[0] * sa * sa, g[1] * sa * sb, g[2] * sb * sb], radius: SIGMAS / Math.sqrt(data.resolution) };
}

function showPosteriors(row) {
  const place = study.samples.placeOf(row);
  const { shape, extent } = study.nodes;
  const window = around(study, row);
  const fitted = fittedPosterior(study.nodes, study.samples, study.fields, data.resolution, place);
  drawPosterior(element("fitted"), fitted, shape, study, { place, window });
  element("fitted-mean").textContent = mean(meanOf(fitted, shape, extent));
  element("measured-mean").textContent = mean([study.samples.mean[2 * row], study.samples.mean[2 * row + 1]]);
  if (study.measured) drawPosterior(element("measured"), study.measured.of(row), study.measured.shape, study, { place, window });
}

function mean(t) {
  return `mean ${t.map((value) => words(value, 3)).join(", ")}`;
}

// Geodesics.

function solve() {
  found = null;
  element("strips").hidden = !(state.a && state.b);
  element("hint").hidden = Boolean(state.a && state.b);
  if (!state.a || !state.b) return ask({ base: true, above: true });
  const { metric, lattice, title } = metricOf(state.metric);
  const [from, to] = [study.nodes.place(state.a), study.nodes.place(state.b)];
  lattice.build();
  const start = performance.now();
  const best = geodesic(metric, lattice, from, to);
  const milliseconds = performance.now() - start;
  const straight = metric.length(spread(metric, [...from, ...to]));
  found = { ...best, from, to, straight, milliseconds, title, kept: keptBetween(from, to) };
  showLengths();
  showStrips();
  ask({ base: true, above: true });
}

/** The path of the study between two places, if it has one. */
function keptBetween(from, to) {
  const kept = data.paths[state.metric];
  const near = (x, y) => Math.hypot(x[0] - y[0], x[1] - y[1]) < 1e-3;
  return kept ? studyPaths(kept).find((path) => near(path.places[0], from) && near(path.places[path.places.length - 1], to)) : undefined;
}

/** Solved paths of the study, in steps between nodes. */
function studyPaths(kept) {
  if (!kept.unpacked) {
    const [count, points] = kept.points.shape;
    const [t, length, certified] = [unpack(kept.points), unpack(kept.length), unpack(kept.certified)];
    kept.unpacked = Array.from({ length: count }, (_, k) => ({
      places: Array.from({ length: points }, (_, p) => study.nodes.place([t[2 * (k * points + p)], t[2 * (k * points + p) + 1]])),
      length: length[k],
      certified: certified[k] === 1,
    }));
  }
  return kept.unpacked;
}

function showLengths() {
  const { length, straight, milliseconds, title, kept } = found;
  const shorter = straight > 0 ? ` (${words(100 * (1 - length / straight), 2)} % shorter)` : "";
  element("length").textContent = `${words(length, 4)}${shorter}`;
  element("straight-length").textContent = words(straight, 4);
  element("solved").textContent = `${title} metric · solved here in ${Math.max(1, Math.round(milliseconds))} ms`;
  element("own").hidden = !kept;
  if (kept) element("own-length").textContent = `the study's own: ${words(kept.length, 4)}, ${kept.certified ? "certified" : "not certified"}`;
}

function showStrips() {
  if (!found) return;
  const count = stripCount(element("strips").clientWidth);
  const fisher = metricOf(data.metrics[0].key).metric;
  drawStrip(element("strip"), equalSteps(fisher, found.path, count), study);
  drawStrip(element("straight"), equalSteps(fisher, [...found.from, ...found.to], count), study);
}

function pairs(path) {
  return Array.from({ length: path.length / 2 }, (_, k) => [path[2 * k], path[2 * k + 1]]);
}

// Changes.

function change(more) {
  state = { ...state, ...more };
  remember();
}

function remember() {
  clearTimeout(remember.timer);
  remember.timer = setTimeout(() => history.replaceState(null, "", hashOf(state, allowed) || "#"), 150);
}

function choose(place) {
  const at = place ? study.nodes.parameters(place) : state.at;
  if (!at) return;
  if (!state.a || state.b) change({ a: at, b: null });
  else change({ b: at });
  showFresh(at);
  solve();
}

async function showFresh(at) {
  if (!data.live) return;
  element("fresh-words").textContent = "sampling …";
  try {
    element("fresh").src = await sampleAt(data.live, at);
    element("fresh-words").textContent = `sampled at ${words(at[0], 4)}, ${words(at[1], 4)}`;
  } catch (error) {
    element("fresh-words").textContent = error.message;
  }
}

function walk([right, up]) {
  const place = state.at ? study.nodes.place(state.at) : study.nodes.shape.map((nodes) => Math.floor(nodes / 2));
  const next = study.nodes.inside([Math.round(place[0]) + right, Math.round(place[1]) + up]);
  const at = study.nodes.parameters(next);
  change({ at });
  element("spoken").textContent = `${at.map((value) => words(value, 3)).join(", ")}: phase ${study.phaseAt(next)}`;
  ask({ above: true });
}

function keepView() {
  const [a, b] = study.nodes.parameters(map.view.centre);
  change({ view: map.view.zoom > 1 ? [a, b, map.view.zoom] : null });
  ask({ base: true, above: true });
}

function useLayer() {
  const layer = layerNow();
  element("layer").value = state.layer;
  element("words").textContent = layer.words;
  drawScale(element("scale"), layer, study);
  element("time").hidden = layer.steps.length === 0;
  if (layer.steps.length) {
    element("step").max = layer.steps.length - 1;
    element("step").value = state.step;
    element("step-words").textContent = layer.steps[state.step];
  }
  element("scale-title").textContent = layer.unit ? `${layer.title}, ${layer.unit}` : layer.title;
  ask({ base: true });
}

function useTheme() {
  document.documentElement.dataset.theme = state.theme;
  ask({ base: true, above: true });
}

function fill() {
  const { verdict, fit, kernel } = data;
  element("about").textContent = `${study.samples.count.toLocaleString("en")} samples · N ${words(data.resolution)} · fit ${fit}, ${kernel} kernel`;
  element("verdict").textContent = verdict;
  element("verdict").classList.toggle("good", verdict === "resolved");
  for (const layer of study.layers) element("layer").append(new Option(layer.title, layer.key));
  for (const metric of data.metrics) element("metric").append(new Option(metric.title, metric.key));
  element("metric").value = state.metric;
  element("images").value = state.images;
  element("images").disabled = !study.atlas || !study.samples.onGrid;
  element("lines").checked = state.lines === "on";
  element("ellipse").checked = state.ellipse === "on";
  element("paths-label").hidden = Object.keys(data.paths).length === 0;
  element("pairs-label").hidden = Object.keys(data.paths).length === 0;
  element("atlas-words").textContent = data.atlas ? data.atlas.words : "a study without images";
  element("live").hidden = !data.live;
  element("measured-part").hidden = !data.rows;
  fillPairs();
}

function fillPairs() {
  const kept = data.paths[state.metric];
  const options = kept ? studyPaths(kept).map((path, k) => new Option(`pair ${k + 1}${path.certified ? "" : " (not certified)"}`, k)) : [];
  element("pairs").replaceChildren(new Option("choose", ""), ...options);
}

function wire() {
  element("layer").addEventListener("change", (event) => (change({ layer: event.target.value }), useLayer()));
  element("step").addEventListener("input", (event) => (change({ step: Number(event.target.value) }), useLayer()));
  element("metric").addEventListener("change", (event) => (change({ metric: event.target.value }), fillPairs(), solve()));
  element("images").addEventListener("change", (event) => (change({ images: event.target.value }), ask({ base: true })));
  element("lines").addEventListener("change", (event) => (change({ lines: event.target.checked ? "on" : "off" }), ask({ base: true })));
  element("ellipse").addEventListener("change", (event) => (change({ ellipse: event.target.checked ? "on" : "off" }), ask({ above: true })));
  element("paths").addEventListener("change", () => ask({ base: true }));
  element("pairs").addEventListener("change", (event) => {
    const path = studyPaths(data.paths[state.metric])[Number(event.target.value)];
    if (event.target.value === "" || !path) return;
    const [a, b] = [path.places[0], path.places[path.places.length - 1]].map((place) => study.nodes.parameters(place));
    change({ a, b });
    solve();
  });
  element("theme").addEventListener("click", () => {
    const dark = getComputedStyle(document.documentElement).colorScheme.trim() === "dark";
    change({ theme: dark ? "light" : "dark" });
    useTheme();
  });
  element("clear").addEventListener("click", clear);
  element("swap").addEventListener("click", () => (change({ a: state.b, b: state.a }), solve()));
  for (const [id, factor] of [["closer", 1.6], ["wider", 1 / 1.6]]) element(id).addEventListener("click", () => zoom(factor));
  element("whole").addEventListener("click", () => (map.moveTo(map.view.centre, 1), keepView()));
  listen(element("above"), map, {
    hover: (place) => (change({ at: study.nodes.parameters(place) }), ask({ above: true })),
    leave: () => {},
    choose,
    walk,
    clear,
    zoom,
    moved: keepView,
  });
  window.addEventListener("resize", () => (map.resize(), ask({ base: true, above: true }), showStrips()));
  window.addEventListener("hashchange", () => (state = stateOf(location.hash, allowed), start()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => ask({ base: true, above: true }));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT)$/.test(event.target.tagName)) return;
    const next = { "[": -1, "]": 1 }[event.key];
    if (next) {
      const place = allowed.layer.indexOf(state.layer) + next + allowed.layer.length;
      change({ layer: allowed.layer[place % allowed.layer.length] });
      useLayer();
    } else if (event.key === "i") {
      change({ images: allowed.images[(allowed.images.indexOf(state.images) + 1) % 3] });
      element("images").value = state.images;
      ask({ base: true });
    }
  });
}

function zoom(factor) {
  map.zoomBy(factor, state.at ? study.nodes.place(state.at) : map.view.centre);
  keepView();
}

function clear() {
  change({ a: null, b: null });
  element("pairs").value = "";
  solve();
}

/** Show the state from scratch. */
function start() {
  if (!state.at) state = { ...state, at: study.opening() }; // an address may name none
  if (state.view) map.moveTo(study.nodes.place(state.view.slice(0, 2)), state.view[2]);
  useTheme();
  useLayer();
  solve();
}

/** What a first click would have to wait for, while nothing happens. */
function prepare() {
  const { metric, lattice } = metricOf(state.metric);
  if (!lattice.build(IDLE)) return void setTimeout(prepare, 8);
  geodesic(metric, lattice, [0, 0], study.nodes.shape.map((nodes) => nodes - 1)); // browsers compile what has run once
  window.explorer.ready = true;
}

// What tests and benchmarks ask.
window.explorer = {
  study, data, map, metricOf, geodesic, ready: false,
  get state() { return state; },
  get found() { return found; },
  hover(place) {
    change({ at: study.nodes.parameters(place) });
    showAbove();
  },
};
fill();
wire();
if (data.zoom) {
  element("zoom").hidden = false;
  const parts = { series: "series", level: "zoom-level", words: "zoom-words", labels: "zoom-labels", images: "zoom-images" };
  new Zoom(data.zoom, study, Object.fromEntries(Object.entries(parts).map(([name, id]) => [name, element(id)]))).show();
}
map.resize();
start();
show();
window.explorer.painted = performance.now();
if (data.rows) picture(data.rows.picture, "png").then((image) => {
  study.measured = new MeasuredPosteriors(data.rows, image);
  toldOf = "";
  ask({ above: true });
});
setTimeout(prepare, 100);
