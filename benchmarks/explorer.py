"""The explorer of a finished study in a headless Chromium: size, first paint, frames while hovering, geodesics.

``python benchmarks/explorer.py [results/digits]``. Geodesics are held against the certified ones of the study, which
the target ``table2`` makes; without them they are only timed. Every number goes into ``benchmarks/results.csv``.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from record import Row, record

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from browser import Watched, browser, chromium

from hessgeo.study.explorer import explorer_page
from hessgeo.study.folder import Stored

REPEATS = 5
PAIRS, WITHIN = 100, 0.01
# Moves of the pointer along a curve over the map, one a frame, and the times of the frames.
HOVER = """async ([left, top, width, height]) => {
  const times = [];
  const above = document.getElementById('above');
  for (let k = 0; k < 180; k++) {
    const [x, y] = [Math.sin(k / 9), Math.cos(k / 13)];
    const place = { clientX: left + width * (0.5 + 0.45 * x), clientY: top + height * (0.5 + 0.45 * y) };
    above.dispatchEvent(new PointerEvent('pointermove', { ...place, pointerType: 'mouse', pointerId: 1 }));
    times.push(await new Promise((done) => requestAnimationFrame(done)));
  }
  return times;
}"""
# How long the work of one frame takes, without the wait for the screen.
WORK = """() => {
  const { study } = window.explorer;
  const times = [];
  for (let k = 0; k < 100; k++) {
    const start = performance.now();
    window.explorer.hover([(k * 37) % study.nodes.shape[0], (k * 53) % study.nodes.shape[1]]);
    times.push(performance.now() - start);
  }
  return times;
}"""
SOLVE = """([key, pairs]) => {
  const { metric, lattice } = window.explorer.metricOf(key);
  return pairs.map(([from, to]) => {
    const places = [from, to].map((t) => window.explorer.study.nodes.place(t));
    const start = performance.now();
    const { length } = window.explorer.geodesic(metric, lattice, ...places);
    return { length, milliseconds: performance.now() - start };
  });
}"""


def first_paint(opened, address):
    """Seconds until something is seen, and until the page itself had drawn the map; of each the median of a few."""
    seen, drawn = [], []
    for _ in range(REPEATS):
        page = Watched(opened).open(address)
        seen.append(page.ask("() => performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        drawn.append(page.ask("() => window.explorer.painted"))
        page.context.close()
    return statistics.median(seen) / 1000, statistics.median(drawn) / 1000


def pairs_of(parts):
    """Ends, lengths and certificates of the study's Fisher geodesics; of others ends alone."""
    file = parts.folder / "geodesics.nc"
    if file.exists():
        from hessgeo import store

        one = store.read_dataset(file).sel({"method": "fisher"})
        points, length = one["points"].to_numpy(), one["own_length"].to_numpy()
        return points[:, [0, -1]], length, one["certified"].to_numpy() == 1
    low, high = np.array(parts.grid.extent).T
    points = low + (high - low) * np.random.default_rng(0).uniform(0.1, 0.9, (PAIRS, 2, 2))
    return points, np.full(PAIRS, np.nan), np.zeros(PAIRS, bool)


def main(folder):
    if chromium() is None:
        raise SystemExit("no Chromium: apt-get install chromium")
    parts = Stored(folder, {})
    with tempfile.TemporaryDirectory() as place, browser() as opened:
        page = Path(place, "explore.html")
        page.write_text(explorer_page(parts), encoding="utf-8")
        found = {"size": (page.stat().st_size / 1e6, "MB")}
        seen, drawn = first_paint(opened, page.as_uri())
        found |= {"first paint": (seen, "s"), "map drawn": (drawn, "s")}
        shown = Watched(opened).open(page.as_uri())
        found |= hovering(shown) | solving(shown, *pairs_of(parts))
        found["errors and outside requests"] = (len(shown.errors) + len(shown.outside), "")
    for name, (value, unit) in found.items():
        print(f"{name:44}{value:.4g} {unit}")
    record(
        Row(f"explorer {parts.name}, {name}", float(value), unit, packages=("playwright",))
        for name, (value, unit) in found.items()
    )


def hovering(shown):
    box = shown.page.locator("#above").bounding_box()
    gaps = np.diff(shown.ask(HOVER, [box["x"], box["y"], box["width"], box["height"]]))[20:]
    work = shown.ask(WORK)[5:]
    return {
        "frames while hovering": (1000 / gaps.mean(), "1/s"),
        "work of a frame, median": (statistics.median(work), "ms"),
        "work of a frame, 95 %": (np.quantile(work, 0.95), "ms"),
    }


def solving(shown, ends, lengths, certified):
    answer = shown.ask(SOLVE, ["fisher", ends.tolist()])
    length, times = (np.array([one[key] for one in answer]) for key in ("length", "milliseconds"))
    found = {"geodesic, median": (np.median(times), "ms"), "geodesic, slowest": (times.max(), "ms")}
    off = length / lengths - 1
    for words, chosen in (("solved", np.isfinite(lengths)), ("certified", certified)):
        if chosen.any():
            found |= {
                f"pairs {words}": (int(chosen.sum()), ""),
                f"pairs {words}, within {WITHIN:.0%}": (int((np.abs(off[chosen]) <= WITHIN).sum()), ""),
                f"pairs {words}, farthest off": (np.abs(off[chosen]).max(), ""),
            }
    return found


if __name__ == "__main__":
    study = Path(sys.argv[1] if len(sys.argv) > 1 else "results/digits")
    if study.exists():
        main(study)
    else:
        print(f"{study} is not there: build it, or name the folder of a study")
