"""Measure how fast graph distances come to the true ones, and lengths of segments with their quadrature."""

import math

import torch

from hessgeo import store
from hessgeo.densities.convergence import compare_draws, node_convergence
from hessgeo.densities.experiments import reference_geodesic
from hessgeo.densities.toys import HORSESHOE_BOX, HORSESHOE_ENDS, UNIFORM_BOX, horseshoe
from hessgeo.pipeline import script_context

SEGMENTS = 32  # over which errors of the quadrature are averaged


def main(output, lam, p0, counts, replicates, factor, panels, nodes, seed):
    density = horseshoe()
    metric = density.metric(log_p0=math.log(p0), log_lam=math.log(lam))
    ends = torch.tensor(HORSESHOE_ENDS, dtype=torch.float64)
    _, exact, _ = reference_geodesic(metric, ends, HORSESHOE_BOX)
    sizes = {"counts": counts, "replicates": replicates, "factor": factor}
    points = compare_draws(density, metric, ends, exact, box=UNIFORM_BOX, **sizes, seed=seed)
    store.write_table(output.points, points)
    # Between points of the ridge: across all densities that there are.
    drawn = density.sample(2 * SEGMENTS, torch.Generator().manual_seed(seed)).reshape(SEGMENTS, 2, 2)
    store.write_table(output.nodes, node_convergence(metric, drawn, panels=panels, nodes=nodes))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.output, **step.params.convergence)
