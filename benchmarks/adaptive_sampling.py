"""Images that adaptive sampling needs for the boundaries of a uniform grid, beside Learner2D of python-adaptive.

    pip install -c constraints.txt -e '.[peers]'
    python benchmarks/adaptive_sampling.py mixture              # an exact system: the flow of a Gaussian mixture
    python benchmarks/adaptive_sampling.py digits STUDY MODELS  # a finished study of digits, and its models

Accuracy is the distance between boundaries, both ways, that nine places in ten keep, in steps of the grid: of the
mixture from the exact ones, of the digits from those of the whole grid. Learner2D, which may put samples anywhere, is
given labels as unit vectors, and its boundaries are read from its own interpolation on a grid four times as fine; of
the digits it gets the nearest node, and nodes asked for again are counted once. Every number goes into
``benchmarks/results.csv``.
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from record import Row, record
from scipy.spatial import cKDTree

from hessgeo.evaluation.model_differences import boundary_shift
from hessgeo.grids import Grid
from hessgeo.phases import lipschitz_field, sample_adaptively

NODES = 64


def places(labels, grid):
    """Half-way points between unlike neighbours, in parameters."""
    found, nodes = [], grid.points.reshape(*grid.shape, 2)
    for axis in (0, 1):
        ahead = np.roll(nodes, -1, axis=axis)
        unlike = np.diff(labels.reshape(grid.shape), axis=axis) != 0
        middle = ((nodes + ahead) / 2)[tuple(slice(0, n) for n in unlike.shape)]
        found.append(middle[unlike])
    return np.concatenate(found)


def apart(found, exact, step):
    """Distance that nine places in ten keep, both ways, in steps."""
    both = np.concatenate([cKDTree(exact).query(found)[0], cKDTree(found).query(exact)[0]])
    return float(np.quantile(both, 0.9) / step)


def learner_images(label, grid, good, *, kinds, most, batch=64):
    """Images that Learner2D takes until ``good`` is true of its labels on a grid four times as fine; -1 if never."""
    from adaptive import Learner2D

    fine = Grid(grid.extent, tuple(4 * (nodes - 1) + 1 for nodes in grid.shape))
    learner, seen = Learner2D(None, grid.extent), set()
    while len(seen) < most:
        points, _ = learner.ask(batch)
        found, keys = label(np.array(points))
        seen.update(keys)
        learner.tell_many(points, np.eye(kinds)[found])
        if len(seen) < 200:
            continue
        odds = learner.interpolator(scaled=False)(fine.points)
        if good(np.nan_to_num(odds).argmax(axis=-1), fine):
            return len(seen)
    return -1


def mixture(args):
    """Four modes of unequal weight in the plane: curved boundaries, known exactly."""
    from hessgeo.systems.solvable.mixture_flow import MixtureFlow

    modes = np.array([[1.0, 0.2], [-0.7, 1.0], [-0.6, -0.8], [0.5, -1.1]])
    flow = MixtureFlow(modes, np.array([1.0, 0.6, 0.8, 0.5]), sigma=0.3)
    box = ((-2.0, 2.0), (-2.0, 2.0))
    lines = [flow.boundary(i, j, reach=3.0, count=2001) for i, j in combinations(range(4), 2)]
    exact = np.concatenate([line for line in lines if line is not None])
    exact = exact[(np.abs(exact) <= 2).all(axis=1)]
    rows = []
    for nodes in (NODES + 1, 2 * NODES + 1):
        grid = Grid(box, (nodes, nodes))
        step = grid.spacing[0]
        uniform = apart(places(flow.label(grid.points), grid), exact, step)
        found = sample_adaptively(lambda t, index: flow.label(t), grid, error=1 / (nodes - 1))
        ours = apart(places(found.filled(), grid), exact, step)
        name = f"adaptive sampling, mixture flow, {nodes} x {nodes}"
        print(
            f"{name}: uniform {uniform:.3f} steps, ours {ours:.3f} with {len(found.index)} of {grid.size}",
            flush=True,
        )
        theirs = {}
        if importlib.util.find_spec("adaptive") is not None and nodes == NODES + 1:
            count = learner_images(
                lambda points: (flow.label(points), map(tuple, points)),
                grid,
                lambda labels, fine, step=step, uniform=uniform: (
                    apart(places(labels, fine), exact, step) <= uniform
                ),
                kinds=4,
                most=grid.size,
            )
            theirs = {"peer": "adaptive", "peer_value": float(count), "packages": ("adaptive",)}
        rows += [
            Row(f"{name}: boundary error, uniform", uniform, "steps"),
            Row(f"{name}: boundary error, adaptive", ours, "steps"),
            Row(f"{name}: images", len(found.index), **theirs),
            Row(f"{name}: share of the uniform grid's images", len(found.index) / grid.size),
        ]
    return rows


def digits(args):
    """A finished study: all its images are there, and each that is asked for is counted."""
    from hessgeo.models.digit_classifier import load_classifier, recognise
    from hessgeo.store import read_array

    store = next(Path(args.study).glob("samples/*.zarr"))
    t, image = read_array(store, "t"), read_array(store, "image")
    embedding = read_array(store, f"embedding/{next((store / 'embedding').iterdir()).name}").astype(float)
    side = int(np.sqrt(len(t)))
    grid = Grid(tuple(zip(t.min(axis=0).tolist(), t.max(axis=0).tolist(), strict=True)), (side, side))
    labels, _ = recognise(load_classifier(Path(args.models) / "classifier"), image)
    labels = np.unique(labels, return_inverse=True)[1]
    whole = lipschitz_field(embedding, t, grid=grid)
    rows = []
    name = f"adaptive sampling, digits, {side} x {side}"
    by_label = sample_adaptively(lambda t, index: labels[index], grid, error=1 / (side - 1))
    shift = boundary_shift(by_label.filled().reshape(grid.shape), labels.reshape(grid.shape))
    print(f"{name}: by labels, {len(by_label.index)} images, shift {shift}")
    theirs = {}
    if importlib.util.find_spec("adaptive") is not None:

        def nearest(points):
            low, high = np.array(grid.extent).T
            i, j = np.round((np.array(points) - low) / (high - low) * (side - 1)).astype(int).T
            return labels[i * side + j], (i * side + j).tolist()

        def good(found, fine):
            placed = boundary_shift(found.reshape(fine.shape)[::4, ::4], labels.reshape(grid.shape))
            return placed is not None and placed.upper <= shift.upper

        count = learner_images(nearest, grid, good, kinds=labels.max() + 1, most=grid.size, batch=64)
        theirs = {"peer": "adaptive", "peer_value": float(count), "packages": ("adaptive",)}
    rows += [
        Row(f"{name}, by labels: images", len(by_label.index), **theirs),
        Row(f"{name}, by labels: shift of boundaries, 90 %", shift.upper, "steps"),
        Row(f"{name}, by labels: share of nodes alike", float(np.mean(by_label.filled() == labels))),
    ]
    ridge = whole > np.quantile(whole, 0.9)
    for error in (0.5, 1.0, 2.0):
        found = sample_adaptively(lambda t, index: embedding[index], grid, error=error / 2 / (side - 1))
        seen = replace(found, outputs=labels[found.index]).filled()
        shift = boundary_shift(seen.reshape(grid.shape), labels.reshape(grid.shape))
        off = np.abs(np.log(lipschitz_field(found.filled(), t, grid=grid) / whole))
        case = f"{name}, by embeddings to {error / 2:g} in a step"
        rows += [
            Row(f"{case}: images", len(found.index)),
            Row(f"{case}: shift of boundaries, 90 %", shift.upper, "steps"),
            Row(f"{case}: Lipschitz field, relative error, median", float(np.median(off))),
            Row(
                f"{case}: Lipschitz field on its steepest tenth, relative error, 90 %",
                float(np.quantile(off[ridge], 0.9)),
            ),
        ]
    return rows


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("mixture", "digits"))
    parser.add_argument("study", nargs="?", default="results/digits", help="folder of the study (digits)")
    parser.add_argument(
        "models", nargs="?", default="results/models/digits", help="folder of its models (digits)"
    )
    parser.add_argument("--no-record", dest="record", action="store_false", help="leave results.csv as it is")
    args = parser.parse_args()
    rows = {"mixture": mixture, "digits": digits}[args.what](args)
    for row in rows:
        beside = f", {row.peer} {row.peer_value:.4g}" if row.peer else ""
        print(f"{row.name}: {row.value:.4g} {row.unit}{beside}", flush=True)
    if args.record:
        record(rows)


if __name__ == "__main__":
    main()
