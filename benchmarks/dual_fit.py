"""Accuracy, coverage and speed of the dual fit on potentials that are known, beside the fit in splines.

    python benchmarks/dual_fit.py sharp        # soft maxima of five planes, sharpness 3 to 300, N of 30, 100 and 300
    python benchmarks/dual_fit.py smooth       # smooth potentials
    python benchmarks/dual_fit.py scattered    # errors against the number of scattered samples
    python benchmarks/dual_fit.py coverage     # share of the truth inside the 95 % error bars
    python benchmarks/dual_fit.py study results/digits/posterior.zarr    # divergence and seconds on a study

Errors are the largest over the nodes, relative to the range of the truth, without an affine function.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import scipy.special
import torch
from potentials import POTENTIALS, covered, exact_posterior, planes, posterior_of_matrix, worst
from record import Row, record

from hessgeo.free_energies.dual import fit_dual
from hessgeo.free_energies.spline import fit_spline
from hessgeo.grids import Grid, parameter_points
from hessgeo.posteriors import read_posterior
from hessgeo.posteriors.base import Posterior, row_moments

BOX = ((-1.0, 1.0), (-1.0, 1.0))
SMOOTH = ("quadratic", "log_cosh", "beta_family", "curie_weiss", "three_phases_soft")


def timed(fit, *data, **options):
    start = time.perf_counter()
    found = fit(*data, **options)
    return found, time.perf_counter() - start


def definite(fit, grid):
    """Share of a grid four times as fine where the metric is positive definite."""
    fine = Grid(grid.extent, tuple(4 * (nodes - 1) + 1 for nodes in grid.shape))
    least = torch.linalg.eigvalsh(fit.hessian(torch.from_numpy(fine.points)))[:, 0]
    return float((least > 0).double().mean())


def compared(name, truth, grid, resolution):
    """Rows of one potential: both fits in one run."""
    posterior = exact_posterior(truth, grid, resolution=resolution)[0]
    (dual, seconds), (spline, theirs) = timed(fit_dual, posterior, grid), timed(fit_spline, posterior, grid)
    pairs = zip(
        ("F", "gradient"), worst(dual, truth, grid.points), worst(spline, truth, grid.points), strict=True
    )
    rows = [Row(f"{name} {kind}", ours, "of the range", "spline fit", peer) for kind, ours, peer in pairs]
    rows.append(Row(f"{name} definite", definite(dual, grid), "share", "spline fit", definite(spline, grid)))
    rows.append(Row(f"{name} seconds", seconds, "s", "spline fit", theirs))
    for row in rows:
        print(f"{row.name:60} {row.value:10.2e}   spline fit {row.peer_value:10.2e}")
    return rows


def sharp(args):
    rows = []
    for nodes in args.nodes:
        for sharpness in (3, 10, 30, 100, 300):
            for resolution in (30.0, 100.0, 300.0):
                name = f"dual_fit sharpness {sharpness}, N {resolution:g}, {nodes}^2:"
                rows += compared(name, planes(5, sharpness), Grid(BOX, (nodes, nodes)), resolution)
    record(rows)


def smooth(args):
    rows = []
    for name in SMOOTH:
        rows += compared(f"dual_fit {name}:", POTENTIALS[name], Grid(BOX, (args.nodes[0],) * 2), 20.0)
    record(rows)


def scattered(args):
    """Samples of a Sobol sequence are the nodes; errors at 400 points between them."""
    truth, grid, rows = planes(5, 4.0), Grid(BOX, (32, 32)), []
    inside = Grid(((-0.85, 0.85), (-0.85, 0.85)), (20, 20)).points
    for count in (64, 128, 256, 512, 1024):
        t = parameter_points("sobol", grid, count, 0)
        points = torch.from_numpy(t)
        p = torch.softmax(
            40.0 * (truth.gradient(points) @ points.T - truth.value(points)[None]), dim=1
        ).numpy()
        mean, central = row_moments(p, t)
        zero, entropy = np.zeros(count), scipy.special.entr(p).sum(axis=1)
        posterior = Posterior(t, mean, central, p.sum(0), entropy, zero, 40.0, "matrix", False)
        value, gradient = worst(fit_dual(posterior, grid), truth, inside)
        print(f"{count:6} samples: F {value:.1e}, gradient {gradient:.1e}")
        name = f"dual_fit scattered {count:04d}:"
        rows += [Row(f"{name} F", value, "of the range"), Row(f"{name} gradient", gradient, "of the range")]
    record(rows)


def coverage(args):
    rows, grid, generator = [], Grid(BOX, (24, 24)), np.random.default_rng(0)
    for sharpness, resolution in ((3, 30.0), (10, 100.0), (10, 300.0)):
        truth = planes(5, sharpness)
        fit = fit_dual(exact_posterior(truth, grid, resolution=resolution)[0], grid)
        name = f"dual_fit coverage, sharpness {sharpness}, N {resolution:g}, no noise"
        rows.append(Row(name, covered(fit, truth, grid), "share"))
    for name in SMOOTH:
        _, p = exact_posterior(POTENTIALS[name], grid, resolution=20.0)
        for draws in (5, 50, 500):
            found = []
            for _ in range(3):
                counts = generator.multinomial(draws, p / p.sum(axis=1, keepdims=True)) / draws
                fit = fit_dual(posterior_of_matrix(counts, grid, resolution=20.0), grid)
                found.append(covered(fit, POTENTIALS[name], grid))
            rows.append(
                Row(f"dual_fit coverage, {name}, {draws} draws a source", float(np.mean(found)), "share")
            )
    for row in rows:
        print(f"{row.name:60} {row.value:.3f}")
    record(rows)


def study(args):
    posterior = read_posterior(args.posterior)
    low, high = posterior.t.min(axis=0).tolist(), posterior.t.max(axis=0).tolist()
    sides = tuple(len(np.unique(side)) for side in posterior.t.T)
    grid = Grid(tuple(zip(low, high, strict=True)), sides)
    (dual, seconds), (spline, theirs) = timed(fit_dual, posterior, grid), timed(fit_spline, posterior, grid)
    rows = [
        Row("dual_fit default study: divergence", dual.certificate["mean_divergence"], "nats", "spline fit",
            spline.certificate["mean_divergence"]),
        Row("dual_fit default study: definite", definite(dual, grid), "share", "spline fit", definite(spline, grid)),
        Row("dual_fit default study: seconds", seconds, "s", "spline fit", theirs),
    ]  # fmt: skip
    for row in rows:
        print(f"{row.name:60} {row.value:10.3g}   spline fit {row.peer_value:10.3g}")
    print(dual.certificate)
    record(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "what", choices=["sharp", "smooth", "scattered", "coverage", "study"], nargs="?", default="smooth"
    )
    parser.add_argument("posterior", nargs="?", default="results/digits/posterior.zarr")
    parser.add_argument("--nodes", type=int, nargs="+", default=[24])
    args = parser.parse_args()
    {"sharp": sharp, "smooth": smooth, "scattered": scattered, "coverage": coverage, "study": study}[
        args.what
    ](args)
