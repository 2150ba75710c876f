"""How near the boundaries that the pipeline draws come to the exact ones of planar flows of Gaussian mixtures.

    python benchmarks/flow_boundaries.py                    # three and four modes, 32 x 32 nodes
    python benchmarks/flow_boundaries.py --nodes 48 64 --cases three-uneven

Samples of the deterministic flow are their own embeddings; posterior, dual fit, metric and phases are those of a study
with its defaults, through the functions that the workflow calls. Lines half-way between unlike nodes (``nodes``) and
lines through the places that embeddings tell (``embedding``) are held against the exact ones: the distance that nine
places in ten keep, both ways, and that of the triple points, in grid steps. ``--metric measured`` takes the metric of
the embeddings in place of the fit, which is much quicker. Every number goes into ``benchmarks/results.csv``.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from record import Row, record

from hessgeo.evaluation.flow_boundaries import drawn_errors, exact_boundaries
from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import eigenvalues
from hessgeo.metrics.measured import embedding_metric
from hessgeo.phases import boundary_lines, triple_points
from hessgeo.phases.crossings import refined_boundaries
from hessgeo.pipeline.chain import fit_free_energy, metric_fields
from hessgeo.pipeline.estimation import distance_posterior
from hessgeo.pipeline.phase_chain import phase_height, phase_map, refined_phases
from hessgeo.study.settings import study_settings
from hessgeo.systems.solvable.mixture_flow import MixtureFlow

BOX = ((-2.0, 2.0), (-2.0, 2.0))
TRIANGLE = np.array([[1.0, 0.0], [-0.5, 0.866], [-0.5, -0.866]])
QUADRANGLE = np.array([[1.0, 0.2], [-0.7, 1.0], [-0.6, -0.8], [0.5, -1.1]])
CROSS = 1.3 * np.array([[0.955, 0.296], [-0.296, 0.955], [-0.955, -0.296], [0.296, -0.955], [0.0, 0.0]])
CASES = {
    "three": MixtureFlow(TRIANGLE, sigma=0.3),
    "three-uneven": MixtureFlow(TRIANGLE, [0.5, 0.3, 0.2], sigma=0.3),
    "four-uneven": MixtureFlow(QUADRANGLE, [1.0, 0.6, 0.8, 0.5], sigma=0.3),
    "five-uneven": MixtureFlow(CROSS, [1.0, 0.8, 1.0, 0.7, 0.6], sigma=0.3),
}


def largest_eigenvalue(embedding, grid, settings, metric):
    """Of the Fisher metric of the dual fit, or of the metric of the embeddings."""
    if metric == "measured":
        return eigenvalues(embedding_metric(embedding.reshape(*grid.shape, -1), grid))[..., -1]
    posterior, _ = distance_posterior(
        embedding, grid.points, grid, settings["posterior"], seed=0, progress=False
    )
    fit = fit_free_energy(posterior, embedding, grid, settings["free_energy"], seed=0, progress=False)
    return metric_fields(free_energy_dataset(fit, grid, attributes={}))["largest_eigenvalue"].to_numpy()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES)[:3])
    parser.add_argument("--nodes", nargs="+", type=int, default=[32])
    parser.add_argument("--metric", choices=("fit", "measured"), default="fit")
    parser.add_argument("--no-record", dest="record", action="store_false", help="leave results.csv as it is")
    args = parser.parse_args()
    for case in args.cases:
        flow = CASES[case]
        exact = exact_boundaries(flow, Grid(BOX, (2, 2)))
        for nodes in args.nodes:
            grid, start = Grid(BOX, (nodes, nodes)), time.perf_counter()
            settings = study_settings({"slice": {"extent": BOX}, "sampling": {"grid": [nodes, nodes]}})
            embedding = flow.map(grid.points, tolerance=1e-8)
            eigenvalue = largest_eigenvalue(embedding, grid, settings, args.metric)
            phases, on_nodes = (
                phase_map(eigenvalue, grid, settings["phases"]),
                embedding.reshape(nodes, nodes, 2),
            )
            label = refined_phases(phases, phase_height(eigenvalue, settings["phases"]), on_nodes).label
            drawn = {
                "nodes": (boundary_lines(phases.label, grid), triple_points(phases.label, grid)),
                "embedding": refined_boundaries(label, on_nodes, grid),
            }
            name = f"drawn boundaries, flow of {case} modes, {nodes} x {nodes}, {args.metric}"
            rows = []
            for lines, what in drawn.items():
                errors = drawn_errors(*what, flow, grid, exact=exact)
                rows += [
                    Row(f"{name}, lines by {lines}: {key}", value, "steps") for key, value in errors.items()
                ]
            rows.append(Row(f"{name}: phases found", phases.count))
            for row in rows:
                print(f"{row.name}: {row.value:.3g} {row.unit}", flush=True)
            print(f"{time.perf_counter() - start:.0f} s", flush=True)
            if args.record:
                record(rows)


if __name__ == "__main__":
    main()
