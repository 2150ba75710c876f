"""Accuracy and speed of the geodesic solver on metrics that are known and on a fitted one, beside the paper's scheme.

    python benchmarks/geodesics.py accuracy    # error of length and points, residual, against the number of points
    python benchmarks/geodesics.py scheme      # time and length of 500 geodesics beside 5,000 steps of Adam
    python benchmarks/geodesics.py speed       # one pair, four across a narrow curved ridge, 500, beside GEORCE

The scheme's time is that of a few steps, scaled; its lengths are of a few curves run to the end. ``alone`` solves one
pair after the other, as published; ``batched`` gives it all pairs at once, as ours has them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from potentials import POTENTIALS, exact_posterior
from record import middle, record_table

from hessgeo.free_energies.spline import fit_spline
from hessgeo.geodesics import geodesics
from hessgeo.geodesics.curves import length, subdivided
from hessgeo.geodesics.reference import adam_geodesics, georce_geodesics
from hessgeo.grids import Grid
from hessgeo.metrics import known
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.metrics.hessian import HessianMetric
from hessgeo.metrics.repair import relative_floor, repair

PUBLISHED_STEPS = 5000


def pairs(count, low, high, seed=0):
    unit = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * unit


def accuracy(args):
    rows = []
    quadratic = POTENTIALS["quadratic"].hessian(torch.zeros(1, 2, dtype=torch.float64))[0]
    metrics = {
        "quadratic": known.ConstantMetric(quadratic),
        "sphere": known.SphereMetric(),
        "half-plane": known.HalfPlaneMetric(),
        "normal": known.NormalMetric(),
        "Poisson": known.PoissonMetric(),
        "categorical": known.CategoricalMetric(),
    }
    starts, ends = pairs(20, 0.4, 2.4)
    for name, metric in metrics.items():
        for points in (6, 11, 23, 45, 90):
            paths = geodesics(metric, starts, ends, points=points)
            exact = metric.geodesic(starts, ends, torch.linspace(0, 1, points, dtype=torch.float64))
            rows.append(
                {
                    "metric": name,
                    "points": points,
                    "length_error": float((paths.length / metric.distance(starts, ends) - 1).abs().max()),
                    "point_error": float((paths.points - exact).norm(dim=-1).max()),
                    "residual": float(paths.residual.max()),
                    "converged": float(paths.converged.double().mean()),
                }
            )
    return pd.DataFrame(rows)


def fitted_metric(name, *, nodes, floor):
    """The Hessian of a spline fit, repaired, made smooth on a grid of twice its knots."""
    grid = Grid(((-1.0, 1.0), (-1.0, 1.0)), (nodes, nodes))
    posterior, _ = exact_posterior(POTENTIALS[name], grid, resolution=20.0)
    fit = fit_spline(posterior, grid, splines=(nodes * 3 // 4, nodes * 3 // 4))
    fine = Grid(grid.extent, (2 * nodes, 2 * nodes))
    field = HessianMetric(fit)(torch.from_numpy(fine.points)).numpy().reshape(*fine.shape, 2, 2)
    repaired = repair(field, floor=relative_floor(field, floor))
    print(f"{name}: {repaired.count} of {fine.size} nodes repaired to an eigenvalue of {repaired.floor:.2g}")
    return GriddedMetric(repaired.metric, fine)


def scheme(args):
    rows = []
    for name in args.potentials:
        metric = fitted_metric(name, nodes=32, floor=args.floor)
        starts, ends = pairs(args.pairs, -0.8, 0.8, seed=1)
        geodesics(metric, starts[:2], ends[:2])  # imports and tables
        start = time.perf_counter()
        ours = geodesics(metric, starts, ends, points=90)
        seconds = time.perf_counter() - start
        share = torch.linspace(0, 1, 90, dtype=torch.float64)[:, None]
        line = length(starts[:, None] + share * (ends - starts)[:, None], metric)
        rows.append(
            {"potential": name, "solver": "Newton", "seconds": seconds, "times_ours": 1.0}
            | {"median_residual": float(ours.residual.median()), "converged": int(ours.converged.sum())}
            | {"longest_over_ours": float("nan"), "shortest_over_ours": float("nan")}
        )
        rows.append(
            {"potential": name, "solver": "straight line", "seconds": 0.0, "times_ours": 0.0}
            | {"longest_over_ours": float((line / ours.length).max())}
            | {"shortest_over_ours": float((line / ours.length).min())}
        )
        for detach in (True, False):
            scale, some = PUBLISHED_STEPS / args.steps, slice(0, args.compared)
            options = {"points": 90, "detach": detach}
            times = {}
            for how, count in (("batched", args.pairs), ("alone", 1)):
                start = time.perf_counter()
                adam_geodesics(metric, starts[:count], ends[:count], steps=args.steps, **options)
                times[how] = (time.perf_counter() - start) * scale * args.pairs / count
            curves = adam_geodesics(metric, starts[some], ends[some], steps=args.compared_steps, **options)
            # Neighbours of the scheme's points may lie on both sides of a ridge.
            lengths = length(subdivided(curves.points, min(metric.grid.spacing)), metric)
            ratio = (lengths / ours.length[some]).numpy()
            for how, value in times.items():
                rows.append(
                    {"potential": name, "solver": f"Adam, {'detached' if detach else 'true'} gradient, {how}"}
                    | {"seconds": value, "times_ours": value / seconds}
                    | {"longest_over_ours": np.max(ratio), "shortest_over_ours": np.min(ratio)}
                )
    return pd.DataFrame(rows)


def ridge(t, width=0.02, height=10.0):
    """Costs rise elevenfold in a narrow band along a wave."""
    off = t[..., 1] - 0.3 * torch.sin(3 * t[..., 0])
    cost = 1 + height * torch.exp(-((off / width) ** 2) / 2)
    return cost[..., None, None] ** 2 * torch.eye(2, dtype=t.dtype)


def timed(call, repeats):
    """The result of a call, and the seconds of each of some, after one for imports and compilation."""
    result, times = call(), []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return result, times


def speed(args):
    """Lines ``name,value,unit,peer,peer_value,versions`` on the output, and the lengths behind them."""
    torch.set_num_threads(1)
    smooth = GriddedMetric(
        np.einsum("n,ij->nij", *bump(Grid(((-1.0, 1.0), (-1.0, 1.0)), (64, 64)))).reshape(64, 64, 2, 2),
        Grid(((-1.0, 1.0), (-1.0, 1.0)), (64, 64)),
    )
    one = (torch.tensor([[-0.8, -0.7]]).double(), torch.tensor([[0.7, 0.8]]).double())
    four = (
        torch.tensor([[-0.8, -0.7], [-0.5, -0.8], [0.0, -0.6], [0.3, -0.5]]).double(),
        torch.tensor([[0.7, 0.8], [0.6, 0.7], [-0.4, 0.6], [0.8, 0.9]]).double(),
    )
    cases = {
        "geodesic_smooth_pair": (smooth, one, 1),
        "geodesic_half_plane_pair": (known.HalfPlaneMetric(), tuple(t + 1.5 for t in one), 1),
        "geodesic_ridge_pair": (ridge, four, 4),
        "geodesics_500_pairs": (smooth, tuple(pairs(500, -0.8, 0.8, seed=1)), 1),
    }
    rows, versions = [], f"torch {torch.__version__}; numpy {np.__version__}"
    print("name,value,unit,peer,peer_value,versions")
    for name, (metric, (starts, ends), count) in cases.items():
        ours, seconds = timed(lambda m=metric, a=starts, b=ends: geodesics(m, a, b), 3)
        theirs, peer = timed(lambda m=metric, a=starts, b=ends: georce_geodesics(m, a, b), 1)
        ratio = theirs.length / ours.length
        print(f"{name},{middle(seconds) / count:.4g},s,GEORCE,{middle(peer) / count:.4g},{versions}")
        print(f"{name}_certified,{float(ours.certified.double().mean()):.4g},share,,,{versions}")
        print(f"{name}_length,1,ratio,GEORCE,{float(ratio.mean()):.9g},{versions}", flush=True)
        rows.append(
            {"case": name, "seconds": seconds, "georce_seconds": peer, "certified": int(ours.certified.sum())}
            | {"georce_converged": int(theirs.converged.sum()), "georce_steps": int(theirs.iterations.max())}
            | {
                "georce_shortest_over_ours": float(ratio.min()),
                "georce_longest_over_ours": float(ratio.max()),
            }
            | {"segments": int(ours.segments.max()), "steps": int(ours.iterations.max())}
        )
    return pd.DataFrame(rows)


def bump(grid):
    return 1 + np.exp(-(grid.points[:, 1] ** 2) / (2 * 0.2**2)), np.eye(2)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help="accuracy, scheme, speed; all if none is named")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--pairs", type=int, default=500, help="geodesics (scheme)")
    parser.add_argument("--steps", type=int, default=20, help="of Adam that are timed (scheme)")
    parser.add_argument("--compared", type=int, default=8, help="pairs that Adam runs to the end (scheme)")
    parser.add_argument("--compared-steps", type=int, default=PUBLISHED_STEPS, help="of Adam there (scheme)")
    parser.add_argument(
        "--floor", type=float, default=0.01, help="least eigenvalue, share of the median (scheme)"
    )
    parser.add_argument("--potentials", nargs="+", default=["three_phases_soft", "curie_weiss"])
    parser.add_argument("--csv", help="folder to write the tables to, too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    parts = {"accuracy": accuracy, "scheme": scheme, "speed": speed}
    if unknown := set(args.what) - set(parts):
        parser.error(f"{', '.join(sorted(unknown))} is not one of {', '.join(parts)}")
    for name in args.what or parts:
        table = parts[name](args)
        print(f"\n{name}\n" + table.to_string(index=False, float_format=lambda x: f"{x:.3g}"), flush=True)
        labels = {"accuracy": ["metric", "points"], "scheme": ["potential", "solver"], "speed": ["case"]}[
            name
        ]
        record_table(f"geodesics {name}", table, labels=labels, units={"seconds": "s", "georce_seconds": "s"})
        if args.csv:
            Path(args.csv).mkdir(parents=True, exist_ok=True)
            table.to_csv(Path(args.csv, f"geodesics_{name}.csv"), index=False)


if __name__ == "__main__":
    main()
