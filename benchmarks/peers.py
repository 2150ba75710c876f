"""Our estimators beside those of others, in one run on one thread: the same numbers, and the time of both.

    pip install -c constraints.txt -e '.[peers]'
    python benchmarks/peers.py                # all; a peer that is not installed is left out, and said
    python benchmarks/peers.py reweighting    # free energies by reweighting, beside MBAR of pymbar
    python benchmarks/peers.py persistence    # phases by persistence, beside the cubical complexes of gudhi
    python benchmarks/peers.py moments        # posterior moments: blocks, neighbours, plain NumPy, 64 nearest of FAISS
    python benchmarks/peers.py million        # what the moments of a million samples would take

Times are of the processor, the median of ``--repeats``; on a busy machine ratios are steadier.
Every number goes into ``benchmarks/results.csv``.
"""

from __future__ import annotations

import argparse
import importlib.util
import time

import numpy as np
import torch
from posterior_moments import synthetic_samples
from record import Row, middle, record
from scipy import ndimage
from threadpoolctl import threadpool_limits

from hessgeo.free_energies.reweighting import fit_reweighted
from hessgeo.grids import Grid
from hessgeo.phases import segment_phases
from hessgeo.posteriors import choose_resolution, neighbour_posterior, posterior
from hessgeo.systems.solvable.ising import Ising


def timed(run, repeats):
    """Result, and processor time of each of some calls."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = run()
        times.append(time.process_time() - start)
    return result, times


def reweighting(args):
    """Free energies of an 8 x 8 Ising model at the nodes of a grid, from samples drawn at them."""
    import pymbar

    rows = []
    for side, each in ((6, 50), (8, 100), (12, 50)):
        points = Grid(((0.1, 0.6), (-0.2, 0.2)), (side, side)).points
        t = np.repeat(points, each, axis=0)
        system = Ising(8, method="exact")
        f = system.sufficient_statistics(system.sample(t, np.arange(len(t)), 0)).astype(float)
        ours, seconds = timed(lambda t=t, f=f: fit_reweighted(f, t, tolerance=1e-12), args.repeats)
        energies, counts = -points @ f.T, np.full(len(points), each)
        theirs, peer = timed(
            lambda u=energies, n=counts: pymbar.MBAR(u, n, solver_protocol="robust"), args.repeats
        )
        found = ours.value(torch.from_numpy(points)).numpy()
        difference = (found - found[0]) + (theirs.f_k - theirs.f_k[0])
        name = f"reweighting, Ising 8 x 8, {side} x {side} parameters, {each} samples each"
        rows += [
            Row(f"{name}: time", seconds, "s", "pymbar", peer, ("pymbar",)),
            Row(f"{name}: largest difference of F", np.abs(difference).max(), "nats", packages=("pymbar",)),
        ]
    return rows


def minima(height, persistence):
    """Minima of a field on nodes that are neighbours along axes, whose basins are at least so deep, by gudhi."""
    import gudhi

    field = gudhi.CubicalComplex(vertices=height)
    field.compute_persistence(homology_coeff_field=2, min_persistence=0.0)
    births, deaths = field.persistence_intervals_in_dimension(0).T
    return int(np.count_nonzero(deaths - births >= persistence))


def persistence(args):
    """Counts of phases of rough and smooth random fields, each against gudhi's."""
    agreed = compared = 0
    seconds, peer = np.zeros(args.repeats), np.zeros(args.repeats)
    for seed in range(args.fields):
        rng = np.random.default_rng(seed)
        shape = ((24, 24), (48, 40), (64, 64), (96, 96))[seed % 4]
        height = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0.5, 4))
        height *= 2 / height.std()
        for least in (0.1, 0.5, 2.0, 4.0):
            options = {"persistence": least, "minimum_area": 0.0, "smoothing": 0.0, "confidence": 0.0}
            grid = Grid(((0.0, 1.0), (0.0, 1.0)), shape)
            ours, one = timed(
                lambda h=height, g=grid, o=options: segment_phases(np.exp(h), g, **o), args.repeats
            )
            theirs, other = timed(lambda h=height, p=least: minima(h, p), args.repeats)
            agreed += ours.label.max() + 1 - ours.label.min() == theirs
            compared += 1
            seconds, peer = seconds + np.array(one), peer + np.array(other)
    name = f"phases by persistence, {args.fields} random fields, each at four levels"
    return [
        Row(f"{name}: counts that agree", agreed, "", "gudhi", compared, ("gudhi",)),
        Row(f"{name}: time, with labels and ridges", list(seconds), "s", "gudhi", list(peer), ("gudhi",)),
    ]


def plain_moments(embedding, t, resolution):
    """Means and marginal with the whole matrix at hand, as one would write it."""
    squared = (embedding**2).sum(axis=1)
    p = np.exp(-resolution / 2 * (squared[:, None] + squared - 2 * embedding @ embedding.T).clip(min=0))
    p /= p.sum(axis=1, keepdims=True)
    return p @ t, p.sum(axis=0)


def nearest_moments(embedding, t, resolution, k):
    """Means from the ``k`` nearest alone, by FAISS flat."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatL2(embedding.shape[1])
    index.add(embedding)
    squared, near = index.search(embedding, k)
    p = np.exp(-resolution / 2 * squared.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    return np.einsum("nk,nka->na", p, t[near])


def moments(args):
    """Time and error of every route to the posterior's means."""
    rows = []
    for n in args.sizes:
        embedding, t = synthetic_samples(n, 512, 0)
        rule = {"kernel": "gaussian", "cells": 17, "quantile": 0.1, "sources": 64, "seed": 0}
        resolution = choose_resolution(embedding, t, **rule)
        near, ours = timed(lambda e=embedding, t=t, r=resolution: neighbour_posterior(e, t, resolution=r), 1)
        exact, blocks = timed(lambda e=embedding, t=t, r=resolution: posterior(e, t, resolution=r), 1)
        name = f"posterior moments by neighbours, {n} x 512"
        extent = np.ptp(t, axis=0)

        def error(mean, exact=exact, extent=extent):
            return np.quantile((np.abs(mean - exact.mean) / extent).max(axis=1), [0.99, 1.0])

        rows += [
            Row(f"{name}: time", ours, "s", "blocks", blocks),
            Row(f"{name}: share of pairs", near.seen.mean() / n),
            Row(f"{name}: bound of the mass left out, largest", near.missing.max()),
            Row(f"{name}: bound of the mass left out, 99th percentile", np.quantile(near.missing, 0.99)),
            Row(f"{name}: error of means over the box, largest", error(near.mean)[1]),
        ]
        if n <= 10_000:
            _, peer = timed(lambda e=embedding, t=t, r=resolution: plain_moments(e, t, r), 1)
            rows.append(Row(f"{name}: time beside plain NumPy", ours, "s", "numpy", peer))
        if importlib.util.find_spec("faiss"):
            mean, peer = timed(
                lambda e=embedding, t=t, r=resolution: nearest_moments(e, t, r, args.nearest), 1
            )
            label = f"FAISS flat, {args.nearest} nearest"
            rows += [
                Row(f"{name}: time beside FAISS", ours, "s", label, peer, ("faiss-cpu",)),
                Row(
                    f"{name}: error of means over the box, 99th percentile",
                    error(near.mean)[0], "", label, error(mean)[0], ("faiss-cpu",),
                ),
            ]  # fmt: skip
    return rows


def million(args):
    """Minutes that a million samples of 512 numbers would take on 16 cores, from pairs measured on one."""
    n, samples, count = 10**6, args.sizes[-1], 4096
    embedding, t = synthetic_samples(samples, 512, 0)
    rule = {"kernel": "gaussian", "cells": 17, "quantile": 0.1, "sources": 64, "seed": 0}
    resolution = choose_resolution(embedding, t, **rule)
    near, seconds = timed(lambda: neighbour_posterior(embedding, t, resolution=resolution), 1)
    # Noise, in which no sample is nearer than another, needs all pairs.
    rng = np.random.default_rng(0)
    noise, places = rng.normal(size=(count, 512)).astype(np.float32) / 512**0.5, rng.uniform(size=(count, 2))
    whole, every = timed(lambda: neighbour_posterior(noise, places, resolution=5.0), args.repeats)
    assert whole.seen.min() == count
    _, blocks = timed(lambda: posterior(noise, places, resolution=5.0), args.repeats)
    # Every sample against every tile's centre, in float64.
    sources, centres = rng.normal(size=(256, 512)), rng.normal(size=(1024, 512))
    _, bounds = timed(lambda: sources @ centres.T, args.repeats)
    seconds, every, blocks, bounds = map(middle, (seconds, every, blocks, bounds))
    overhead = n * (n / 256) * bounds / (256 * 1024)
    share = near.seen.mean() * n * seconds / near.seen.sum()
    about = "posterior moments, 1000000 x 512, projected to 16 cores"
    return [
        Row(f"{about}: neighbours, a smooth embedding", (share + overhead) / 16 / 60, "min"),
        Row(f"{about}: neighbours, noise", (n * n * every / count**2 + overhead) / 16 / 60, "min"),
        Row(f"{about}: blocks", n * n * blocks / count**2 / 16 / 60, "min"),
    ]


def main():
    parts = {"reweighting": reweighting, "persistence": persistence, "moments": moments, "million": million}
    needs = {"reweighting": "pymbar", "persistence": "gudhi"}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help=f"{', '.join(parts)}; all if none is named")
    parser.add_argument("--repeats", type=int, default=3, help="of each call; the median counts")
    parser.add_argument("--fields", type=int, default=120, help="random fields, each at four persistences")
    parser.add_argument("--sizes", type=int, nargs="+", default=[5000, 10000], help="samples (moments)")
    parser.add_argument("--nearest", type=int, default=64, help="neighbours that FAISS looks for (moments)")
    args = parser.parse_args()
    if unknown := set(args.what) - set(parts):
        parser.error(f"{', '.join(sorted(unknown))} is not one of {', '.join(parts)}")
    with threadpool_limits(1):
        for name in args.what or parts:
            if name in needs and importlib.util.find_spec(needs[name]) is None:
                print(f"{name}: {needs[name]} is not installed")
                continue
            rows = parts[name](args)
            for row in rows:
                beside = f", {row.peer} {middle(row.peer_value):.3g}" if row.peer else ""
                print(f"{row.name}: {middle(row.value):.3g} {row.unit}{beside}", flush=True)
            record(rows)


if __name__ == "__main__":
    main()
