"""Distances over a grid: their speed beside peers, and whether any certified path is longer than they say.

    python benchmarks/eikonal.py speed                # one point to all nodes of 400 x 400, beside peers
    python benchmarks/eikonal.py error                # rate of the error on closed forms
    python benchmarks/eikonal.py paths --count 10000  # random metrics: certified, undercut, and judged on a finer grid

Each records its rows in ``results.csv``. Peers are run where they are installed: scikit-fmm (isotropic alone) and agd
(its solver of HamiltonFastMarching). Random metrics are products of bumps, walls with gaps and canyons in directions
that turn; each has 20 pairs of points from two starts. A path that is certified is judged by a distance over a grid
four times as fine as the first one of its certificate: the ``longer`` count should be 0.
"""

from __future__ import annotations

import argparse
import importlib
import time
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from record import Row, middle, record

from hessgeo.geodesics import geodesics
from hessgeo.geodesics.eikonal import Valleys, distance_map
from hessgeo.grids import Grid
from hessgeo.metrics.base import FunctionMetric
from hessgeo.metrics.known import ConstantMetric, HalfPlaneMetric, PoissonMetric
from hessgeo.numerics.eikonal import distances, medium

BOX = ((0.0, 1.0), (0.0, 1.0))
JUDGE = 385  # nodes a side of the grid that paths are judged on
PAIRS, SOURCES = 20, 2  # of a random metric; pairs from one start share a front
PEERS = {"scikit-fmm": "skfmm", "agd": "agd"}


def installed(package):
    try:
        version(package)
    except PackageNotFoundError:
        return None
    return importlib.import_module(PEERS[package])


def timed(function, repeats):
    """The times of some runs, seconds of this process, after one for imports and compilation."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return times


def turning(x, ratio):
    """A metric whose cheap direction turns from place to place."""
    angle = 2 * x[..., 0] + np.sin(3 * x[..., 1])
    along = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return ratio * np.eye(2) - (ratio - 1) * along[..., :, None] * along[..., None, :]


def speed(args):
    rows = []
    nodes = np.stack(np.meshgrid(*[np.linspace(0, 1, args.nodes)] * 2, indexing="ij"), axis=-1)
    step, source = 1 / (args.nodes - 1), np.array([0.31, 0.47])
    for name, ratio in (
        ("isotropic", 1.0),
        ("anisotropic, ratio 10", 10.0),
        ("anisotropic, ratio 1000", 1e3),
    ):
        matrix = turning(nodes, ratio) * step**2

        def ours(matrix=matrix):
            return distances(medium(matrix), source / step)

        seconds, peers = timed(ours, args.repeats), {}
        skfmm = installed("scikit-fmm") if ratio == 1 else None
        if skfmm is not None:
            level = np.linalg.norm(nodes - source, axis=-1) - 1.5 * step
            peers["scikit-fmm"] = timed(partial(skfmm.distance, level, dx=step), args.repeats)
        if installed("agd") is not None:
            try:
                peers["agd"] = agd_seconds(turning(nodes, ratio), step, source, args.repeats)
            except FileNotFoundError:  # where pip alone installed it
                print("# agd: its compiled solver is not installed")
        about = f"eikonal, one to all of {args.nodes}^2, {name}"
        rows.append(Row(about, seconds, "s", packages=("numba",)))
        rows += [
            Row(f"{about}, beside {peer}", seconds, "s", peer, value, ("numba", peer))
            for peer, value in peers.items()
        ]
    return rows


def agd_seconds(metric, step, source, repeats):
    from agd import Eikonal
    from agd.Metrics import Riemann

    problem = Eikonal.dictIn(
        {
            "model": "Riemann2",
            "metric": Riemann(np.moveaxis(metric, (2, 3), (0, 1))),
            "seed": source,
            "exportValues": True,
            "verbosity": 0,
        }
    )
    problem.SetRect([[0, 1], [0, 1]], dimx=len(metric), sampleBoundary=True)
    return timed(problem.Run, repeats)


def error(args):
    metrics = {
        "constant of ratio 1000": ConstantMetric(torch.from_numpy(turning(np.array([0.2, 0.0]), 1e3))),
        "half-plane": HalfPlaneMetric(),
        "Poisson": PoissonMetric(),
    }
    grids = [Grid(((0.0, 2.0), (0.4, 2.4)), (n, n)) for n in (25, 49, 97, 193)]
    rows = []
    for name, metric in metrics.items():
        source, before = np.array([0.83, 1.37]), None
        for grid in grids:
            found = distance_map(metric, source, grid).values
            exact = metric.distance(torch.from_numpy(source), torch.from_numpy(grid.points)).numpy()
            # Shortest ways to nodes near the edge may leave the box.
            inner = tuple(slice(n // 6, -(n // 6)) for n in grid.shape)
            exact = exact.reshape(grid.shape)[inner]
            share = float(np.abs(found[inner] - exact).mean() / exact.mean())
            about = f"eikonal, {name}, {grid.shape[0]:03d}^2"
            rows.append(Row(f"{about}: mean error", share, "of the mean distance"))
            if before is not None and share > 0:
                rows.append(Row(f"{about}: order of the error", np.log2(before / share), "of the grid step"))
            before = share
    return rows


def random_metric(rng):
    """Bumps, a wall with a gap, a canyon, in a direction that turns; smooth on the scale of 1/60 of the box."""
    bumps = [
        (rng.uniform(0, 1, 2), rng.uniform(0.05, 0.25), rng.uniform(-2, 2)) for _ in range(rng.integers(1, 6))
    ]
    walls = [
        (rng.uniform(0, np.pi), rng.uniform(0.3, 0.7), rng.uniform(-0.5, 0.5), rng.uniform(0, 4))
        for _ in range(rng.integers(0, 3))
    ]
    ratio, turn, phase = rng.uniform(0, 2.5), rng.uniform(-3, 3), rng.uniform(0, np.pi)
    wide = rng.uniform(0.02, 0.05)

    def metric(t):
        x, y = t[..., 0], t[..., 1]
        log = torch.zeros_like(x)
        for (a, b), width, height in bumps:
            log = log + height * torch.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * width**2))
        for angle, off, gap, height in walls:
            c, s = np.cos(angle), np.sin(angle)
            across, along = c * (x - 0.5) + s * (y - 0.5) - (off - 0.5), -s * (x - 0.5) + c * (y - 0.5)
            hole = 1 - torch.exp(-((along - gap) ** 2) / (2 * 0.06**2))
            log = log + height * torch.exp(-(across**2) / (2 * wide**2)) * hole
        angle = phase + turn * x
        u = torch.stack([angle.cos(), angle.sin()], dim=-1)
        eye = torch.eye(2, dtype=t.dtype)
        shape = eye + (10**ratio - 1) * u[..., :, None] * u[..., None, :]
        return (2 * log).exp()[..., None, None] * shape

    return FunctionMetric(metric, box=BOX)


@dataclass
class Judged:
    """What random paths came to."""

    certified: int = 0
    undercut: int = 0
    vague: int = 0
    longer: int = 0
    failed: int = 0
    tolerances: list[float] = field(default_factory=list)
    excess: list[float] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """As recorded."""
        count = len(self.tolerances) + self.failed
        about = "eikonal, random paths"
        counts = ("certified", "undercut", "vague", "longer", "failed")
        return [
            Row(f"{about}: number", count, "paths"),
            *(Row(f"{about}: {what}", getattr(self, what), "paths") for what in counts),
            Row(f"{about}: median tolerance", np.median(self.tolerances), "of the length"),
            Row(
                f"{about}: ninth decile of the tolerance", np.quantile(self.tolerances, 0.9), "of the length"
            ),
            Row(f"{about}: largest excess over the fine grid", max(self.excess), "of the distance"),
        ]


def paths(args):
    judged = Judged()
    for number in range(args.first, args.first + -(-args.count // PAIRS)):
        rng = np.random.default_rng((args.seed, number))
        metric, ends = random_metric(rng), rng.uniform(0.05, 0.95, (PAIRS, 2))
        starts = rng.uniform(0.05, 0.95, (SOURCES, 2)).repeat(PAIRS // SOURCES, axis=0)
        found = geodesics(
            metric, torch.from_numpy(starts), torch.from_numpy(ends), points=40, doublings=2, valleys=True
        )
        judge = Valleys.of(metric, Grid(BOX, ((JUDGE + 1) // 2,) * 2)).between(starts, ends, count=3)
        judge_paths(judged, number, found, judge)
        if number % 25 == 24:
            print(
                f"# {judged.rows()[0].value} paths, {judged.certified} certified, {judged.longer} longer",
                flush=True,
            )
    return judged.rows()


def judge_paths(judged, number, found, judge):
    """Count what paths of one metric came to, beside distances over a fine grid."""
    for what in ("certified", "undercut", "vague", "failed"):
        setattr(judged, what, getattr(judged, what) + int(getattr(found, what).sum()))
    solved, good = ~found.failed.numpy(), found.certified.numpy()
    length, tolerance = found.length.numpy(), found.distance_error.numpy()
    judged.tolerances += (tolerance / length)[solved].tolist()
    judged.excess += (length / judge.distance - 1)[good].tolist()
    longer = good & (length > judge.distance + judge.error + tolerance)
    judged.longer += int(longer.sum())
    for row in np.flatnonzero(longer):
        print(
            f"# metric {number}, pair {row}: {length[row]:.6g} against {judge.distance[row]:.6g}", flush=True
        )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help="speed, error, paths; the first two if none is named")
    parser.add_argument("--nodes", type=int, default=400, help="a side (speed)")
    parser.add_argument("--repeats", type=int, default=9, help="of which the median counts (speed)")
    parser.add_argument("--count", type=int, default=10_000, help="random paths, 20 to a metric (paths)")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them (paths)")
    parser.add_argument("--seed", type=int, default=0, help="of the random metrics (paths)")
    parser.add_argument("--no-record", dest="record", action="store_false", help="leave results.csv as it is")
    args = parser.parse_args()
    torch.set_num_threads(1)
    parts = {"speed": speed, "error": error, "paths": paths}
    if unknown := set(args.what) - set(parts):
        parser.error(f"{', '.join(sorted(unknown))} is not one of {', '.join(parts)}")
    for name in args.what or ("speed", "error"):
        rows = parts[name](args)
        for row in rows:
            beside = f", {row.peer} {middle(row.peer_value):.3g}" if row.peer else ""
            print(f"{row.name}: {middle(row.value):.3g} {row.unit}{beside}", flush=True)
        if args.record:
            record(rows)


if __name__ == "__main__":
    main()
