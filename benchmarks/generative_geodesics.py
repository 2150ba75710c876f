"""Time and memory of epsilon-graph distances from 100 of 10,000 points, for several densities.

    python benchmarks/generative_geodesics.py                # all densities
    python benchmarks/generative_geodesics.py exact kernel   # some of them

The aim is 60 s and 2 GB: for the edges, the quadrature of their lengths and the shortest paths together. The peak is
that of the whole process, with torch and scipy loaded, so each density has a process of its own.
Where the processor time is far below the other, the machine was busy.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
from record import Row, record

DENSITIES = ("exact", "kernel", "flow")


def measure(kind, args):
    import torch

    from hessgeo.densities.flow import fit_flow
    from hessgeo.densities.mixtures import kernel_density
    from hessgeo.densities.toys import moons
    from hessgeo.geodesics.graphs import connecting_radius, epsilon_edges, geodesic_graph

    torch.set_num_threads(args.threads)
    toy = moons(args.points, 0)
    estimators = {
        "exact": lambda: toy.density,
        # One kernel in ten: the width of so many points would resolve no more than their noise.
        "kernel": lambda: kernel_density(toy.points[::10]),
        "flow": lambda: fit_flow(toy.points, steps=100),
    }
    density = estimators[kind]()
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    start, cpu = time.perf_counter(), time.process_time()
    points = toy.points.numpy()
    edges = epsilon_edges(points, 1.5 * connecting_radius(points))
    joined = time.perf_counter()
    metric = density.metric_of(toy.points[:1000], quantile=0.01)
    graph = geodesic_graph(points, edges, metric, nodes=args.nodes)
    weighed = time.perf_counter()
    distances = graph.distances(np.arange(args.sources))
    end, cpu = time.perf_counter(), time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{kind:7s} {args.points} points, {graph.edge_count} edges, {args.nodes or 'adaptive'} nodes, {args.sources} "
        "sources: "
        f"{joined - start:.1f} s edges + {weighed - joined:.1f} s lengths + {end - weighed:.1f} s paths = "
        f"{end - start:.1f} s ({cpu:.1f} s of processor); peak {peak:.2f} GB "
        f"(before {base:.2f}); unreachable {np.isinf(distances).sum()}"
    )
    print(f"{kind:7s} {'meets' if end - start <= 60 and peak <= 2 else 'MISSES'} 60 s and 2 GB")
    about = f"generative geodesics, {kind}, {args.points} points, {args.sources} sources"
    record([Row(f"{about}: processor", cpu, "s"), Row(f"{about}: peak memory", peak, "GB")])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("densities", nargs="*", help=f"of {', '.join(DENSITIES)}")
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--sources", type=int, default=100)
    parser.add_argument(
        "--nodes", type=int, help="Gauss-Legendre nodes on each edge, instead of adaptive quadrature"
    )
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if len(args.densities) == 1:
        measure(args.densities[0], args)
        return
    options = [
        f"--{name}={getattr(args, name)}"
        for name in ("points", "sources", "nodes", "threads")
        if getattr(args, name)
    ]
    for kind in args.densities or DENSITIES:
        subprocess.run([sys.executable, __file__, kind, *options], check=True)


if __name__ == "__main__":
    main()
