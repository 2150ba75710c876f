"""The explorer of a finished study in a headless Chromium: size, first paint, frames while hovering, geodesics.

``python benchmarks/explorer.py [results/digits] [--pictures 512]``. Geodesics are held against the certified ones of
the study, which the target ``table2`` makes; without them they are only timed. The library measures the page's ways,
some of which are shorter than the study's. With ``--pictures`` the images are larger ones, of this many pixels a side,
synthetic: those of the study enlarged, under textures whose amplitude falls as in photographs, by one over the
frequency. Every number goes into ``benchmarks/results.csv``.
"""

import argparse
import dataclasses
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from record import Row, record

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from browser import Watched, browser, chromium

from hessgeo.explorer import assemble, make_atlas
from hessgeo.explorer.atlas import grid_cells
from hessgeo.geodesics.curves import Curves
from hessgeo.study.explorer import explorer_content
from hessgeo.study.folder import Stored
from hessgeo.study.metric import named_metric

REPEATS = 5
PAIRS, WITHIN = 100, 0.01
TEXTURES = 24  # of which every image has two, shifted; a share of its contrast
CONTRAST = 0.45
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
    const { path, length } = window.explorer.geodesic(metric, lattice, ...places);
    return { path: Array.from(path), length, milliseconds: performance.now() - start };
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


class Pictures:
    """Images of a study enlarged to so many pixels a side and given the detail of photographs, each when it is read."""

    def __init__(self, images, side):
        self.images, self.side = np.asarray(images), side
        frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
        frequency[0, 0] = np.inf
        draws = (
            np.random.default_rng(0).standard_normal((TEXTURES, 3, *frequency.shape, 2)).astype(np.float32)
        )
        noise = np.fft.irfft2((draws[..., 0] + 1j * draws[..., 1]) / frequency, s=(side, side))
        noise /= 3 * noise.std(axis=(-2, -1), keepdims=True)
        self.textures = (255 * CONTRAST * noise).astype(np.int16).transpose(0, 2, 3, 1)

    def __getitem__(self, rows):
        return np.stack([self._one(int(row)) for row in rows])

    def _one(self, row):
        grey = Image.fromarray(self.images[row][..., 0]).resize(
            (self.side, self.side), Image.Resampling.BICUBIC
        )
        generator = np.random.default_rng(row)
        first, second = generator.integers(TEXTURES, size=2)
        texture = self.textures[first] + np.roll(self.textures[second], generator.integers(self.side), axis=0)
        shown = (1 - CONTRAST) * np.asarray(grey, np.float32)[..., None] + 128 * CONTRAST + texture
        return np.clip(shown, 0, 255).astype(np.uint8)


def content_of(parts, side):
    """What the page shows, and what it took to pack larger images."""
    content = explorer_content(parts)
    if side is None:
        return content, {}
    start = time.process_time()
    cells, shape = grid_cells(parts.grid.shape)
    atlas = make_atlas(Pictures(parts.images, side).__getitem__, (side, side, 3), cells, shape)
    tile = atlas.levels[-1].tile[0]
    about = {
        "packing, processor time": (time.process_time() - start, "s"),
        "packing, memory at most": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "GiB"),
        "pixels a side in the page": (tile, ""),
        "quality in the page": (atlas.quality, ""),
    }
    return dataclasses.replace(content, atlas=atlas), about


def main(folder, side):
    if chromium() is None:
        raise SystemExit("no Chromium: apt-get install chromium")
    parts = Stored(folder, {})
    content, found = content_of(parts, side)
    with tempfile.TemporaryDirectory() as place, browser() as opened:
        page = Path(place, "explore.html")
        page.write_text(assemble(content), encoding="utf-8")
        found["size"] = (page.stat().st_size / 1e6, "MB")
        seen, drawn = first_paint(opened, page.as_uri())
        found |= {"first paint": (seen, "s"), "map drawn": (drawn, "s")}
        shown = Watched(opened).open(page.as_uri())
        found |= hovering(shown)
        if side is None:
            found |= solving(shown, parts, *pairs_of(parts))
        found["errors and outside requests"] = (len(shown.errors) + len(shown.outside), "")
    about = f"explorer {parts.name}" if side is None else f"explorer {parts.name}, images of {side} x {side}"
    for name, (value, unit) in found.items():
        print(f"{name:44}{value:.4g} {unit}")
    record(
        Row(f"{about}, {name}", float(value), unit, packages=("playwright",))
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


def solving(shown, parts, ends, lengths, certified):
    answer = shown.ask(SOLVE, ["fisher", ends.tolist()])
    length, times = (np.array([one[key] for one in answer]) for key in ("length", "milliseconds"))
    found = {"geodesic, median": (np.median(times), "ms"), "geodesic, slowest": (times.max(), "ms")}
    measured = measured_by_the_library(parts, [one["path"] for one in answer])
    found["geodesic, length off the library's of the same way"] = (np.abs(length / measured - 1).max(), "")
    off = length / lengths - 1
    for words, chosen in (("solved", np.isfinite(lengths)), ("certified", certified)):
        if chosen.any():
            found |= {
                f"pairs {words}": (int(chosen.sum()), ""),
                f"pairs {words}, within {WITHIN:.0%}": (int((np.abs(off[chosen]) <= WITHIN).sum()), ""),
                f"pairs {words}, farthest off": (np.abs(off[chosen]).max(), ""),
                f"pairs {words}, longer by at most": (off[chosen].max(), ""),
                f"pairs {words}, shorter by at most": (-off[chosen].min(), ""),
                f"pairs {words}, shorter by .1 % or more": (int((off[chosen] < -1e-3).sum()), ""),
            }
    return found


def measured_by_the_library(parts, paths):
    """Lengths of the page's ways, by quadrature to a stated error in the metric that the study's geodesics have."""
    metric, grid = named_metric(parts, "fisher").metric, parts.grid
    low = np.array(grid.extent)[:, 0]
    ways = [low + np.reshape(path, (-1, 2)) * np.array(grid.spacing) for path in paths]
    return np.array([float(Curves.polyline(torch.from_numpy(way)[None]).length(metric)) for way in ways])


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("study", nargs="?", default="results/digits", type=Path)
    asked.add_argument("--pictures", type=int, help="pixels a side of larger images")
    given = asked.parse_args()
    if given.study.exists():
        main(given.study, given.pictures)
    else:
        print(f"{given.study} is not there: build it, or name the folder of a study")
