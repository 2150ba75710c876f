"""Accuracy and speed of the convex spline fit on potentials that are known, beside the paper's perceptron.

    python benchmarks/spline_fit.py accuracy     # errors on eight potentials, gauge removed
    python benchmarks/spline_fit.py slopes       # errors against the grid and the number of splines
    python benchmarks/spline_fit.py mlp          # time of both fits to the accuracy the perceptron ends at
    python benchmarks/spline_fit.py coverage     # share of the truth inside the 95 % error bars, and a bootstrap

Posteriors are noise-free, but in the last, where each source's is known from a number of draws. Errors are root-mean-
square over the nodes, relative to the range of the truth (for the gradient, to its largest range along one axis).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from potentials import POTENTIALS, exact_posterior, posterior_of_matrix
from record import record_table

from hessgeo.evaluation.gauge import compare
from hessgeo.free_energies.mlp import fit_mlp
from hessgeo.free_energies.spline import fit_spline
from hessgeo.grids import Grid

BOX = ((-1.0, 1.0), (-1.0, 1.0))
LABELS = {
    "accuracy": ["potential", "nodes", "splines", "N"],
    "slopes": ["against", "potential", "nodes", "splines", "N"],
    "coverage": ["potential", "draws"],
    "mlp": ["fit"],
}  # what tells the cases of a table apart


def square(nodes):
    return Grid(BOX, (nodes, nodes))


def scored_fit(name, *, nodes, splines, resolution):
    truth, grid = POTENTIALS[name], square(nodes)
    posterior, _ = exact_posterior(truth, grid, resolution=resolution)
    start = time.perf_counter()
    fit = fit_spline(posterior, grid, splines=(splines, splines))
    seconds = time.perf_counter() - start
    error = compare(fit, truth, grid.points)
    return {
        "potential": name,
        "nodes": nodes,
        "splines": splines,
        "N": resolution,
        "F": error.value_relative,
        "gradient": error.gradient_relative,
        "iterations": fit.certificate["iterations"],
        "decrement": fit.certificate["decrement"],
        "seconds": seconds,
    }


def accuracy(args):
    smooth = [name for name, potential in POTENTIALS.items() if not potential.kinked and "sharp" not in name]
    sharp = [name for name in POTENTIALS if name not in smooth]
    rows = [scored_fit(name, nodes=64, splines=24, resolution=args.resolution) for name in [*smooth, *sharp]]
    # What jumps between two nodes needs two splines a node, for F and its slope, and a posterior that sees across.
    rows += [scored_fit(name, nodes=20, splines=40, resolution=10.0) for name in sharp]
    return pd.DataFrame(rows)


def slopes(args):
    rows = []
    for name in ("three_phases_soft", "three_phases_sharp", "ridge"):
        for splines in (8, 12, 16, 24, 32):
            rows.append({"against": "splines"} | scored_fit(name, nodes=32, splines=splines, resolution=10.0))
        for nodes in (8, 12, 16, 24, 32):
            rows.append({"against": "nodes"} | scored_fit(name, nodes=nodes, splines=16, resolution=10.0))
    table = pd.DataFrame(rows)
    for (name, against), part in table.groupby(["potential", "against"]):
        x = np.log(part[against] - 3.0 if against == "splines" else part[against])
        for error in ("F", "gradient"):
            print(f"{name}: {error} against {against}: slope {np.polyfit(x, np.log(part[error]), 1)[0]:.2f}")
    return table


def mlp(args):
    """Both fits of one posterior; the perceptron is scored as it trains, its scoring not counted."""
    name, grid = args.potential, square(args.nodes)
    truth = POTENTIALS[name]
    posterior, matrix = exact_posterior(truth, grid, resolution=args.resolution)
    trace, scoring = [], 0.0

    def score(step, seconds, fit):
        nonlocal scoring
        if step % args.every:
            return False
        start = time.perf_counter()
        error = compare(fit, truth, grid.points)
        scoring += time.perf_counter() - start
        trace.append((step, seconds - scoring, error.value_relative, error.gradient_relative))
        print(f"perceptron: step {step}, {trace[-1][1]:.0f} s, F {error.value_relative:.2e}", flush=True)
        return seconds > args.budget

    fit_mlp(matrix, grid.points, grid, resolution=args.resolution, steps=args.steps, callback=score)
    steps, seconds, final, gradient = trace[-1]
    rows = [{"fit": "perceptron", "steps": steps, "seconds": seconds, "F": final, "gradient": gradient}]
    for splines in (8, 12, 14, 16, 24):
        timings = []
        for _ in range(3):
            start = time.perf_counter()
            fit = fit_spline(posterior, grid, splines=(splines, splines))
            timings.append(time.perf_counter() - start)
        error = compare(fit, truth, grid.points)
        rows.append(
            {"fit": f"spline {splines} x {splines}", "steps": fit.certificate["iterations"]}
            | {"seconds": np.median(timings), "F": error.value_relative, "gradient": error.gradient_relative}
        )
    table = pd.DataFrame(rows)
    table["faster"] = table["seconds"].iloc[0] / table["seconds"]
    table["more_accurate"] = table["F"].iloc[0] / table["F"]
    return table


def coverage(args):
    rows, grid = [], square(24)
    t = torch.from_numpy(grid.points)
    for name in ("quadratic", "log_cosh", "three_phases_soft", "curie_weiss"):
        truth = POTENTIALS[name]
        _, p = exact_posterior(truth, grid, resolution=20.0)
        for draws in (5, 50):
            inside, spread, stated = [], [], []
            for seed in range(args.repeats):
                counts = np.random.default_rng(seed).multinomial(draws, p / p.sum(axis=1, keepdims=True))
                posterior = posterior_of_matrix(counts / draws, grid, resolution=20.0)
                fit = fit_spline(posterior, grid, splines=(20, 20))
                deviation = (fit.hessian(t) - truth.hessian(t)).abs() / fit.hessian_error(t)
                inside.append(float((deviation < 1.96).double().mean()))
                spread.append(fit.hessian(t).numpy())
                stated.append(fit.hessian_error(t).numpy())
            # The parametric bootstrap: the spread of refits to fresh draws, beside the error bars of single fits.
            ratio = np.median(np.mean(stated, axis=0) / np.std(spread, axis=0, ddof=1))
            rows.append(
                {
                    "potential": name,
                    "draws": draws,
                    "coverage": np.mean(inside),
                    "stated_over_bootstrap": ratio,
                }
            )
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help="accuracy, slopes, coverage, mlp; all if none is named")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--resolution", type=float, default=20.0, help="N (accuracy, mlp)")
    parser.add_argument("--potential", default="three_phases_soft", choices=list(POTENTIALS), help="(mlp)")
    parser.add_argument("--nodes", type=int, default=64, help="along each axis (mlp)")
    parser.add_argument("--steps", type=int, default=2000, help="of Adam, at most (mlp)")
    parser.add_argument("--every", type=int, default=10, help="steps between scores (mlp)")
    parser.add_argument("--budget", type=float, default=3600.0, help="seconds, at most (mlp)")
    parser.add_argument("--repeats", type=int, default=20, help="data sets (coverage)")
    parser.add_argument("--csv", help="folder to write the tables to, too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    parts = {"accuracy": accuracy, "slopes": slopes, "coverage": coverage, "mlp": mlp}
    if unknown := set(args.what) - set(parts):
        parser.error(f"{', '.join(sorted(unknown))} is not one of {', '.join(parts)}")
    for name in args.what or parts:
        table = parts[name](args)
        print(f"\n{name}\n" + table.to_string(index=False, float_format=lambda x: f"{x:.3g}"), flush=True)
        record_table(f"spline_fit {name}", table, labels=LABELS[name], units={"seconds": "s"})
        if args.csv:
            Path(args.csv).mkdir(parents=True, exist_ok=True)
            table.to_csv(Path(args.csv, f"spline_fit_{name}.csv"), index=False)


if __name__ == "__main__":
    main()
