"""Segment the phases of a study: labels, boundaries, triple points, typical samples, Lipschitz field."""

import numpy as np
from scipy.spatial import cKDTree

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.phases.lipschitz import lipschitz_field
from hessgeo.phases.segment import boundary_lines, boundary_strengths, medoids, triple_points
from hessgeo.pipeline import script_context
from hessgeo.pipeline.chain import nearest_node, to_grid
from hessgeo.pipeline.phase_chain import phase_map


def describe(label, gradient, embedding, t, grid):
    """Area, typical sample and mean gradient of each phase, largest first."""
    of_sample = label.ravel()[nearest_node(t, grid)]
    typical, tree = medoids(embedding, of_sample), cKDTree(grid.frame.into(t))
    for phase in range(1, label.max() + 1):
        inside = label == phase
        # A small phase of a scattered design may hold no sample: the one nearest to it stands for it.
        distance, nearest = tree.query(grid.unit.points[inside.ravel()])
        medoid = typical.get(phase, int(nearest[np.argmin(distance)]))
        counts = {"area": inside.mean(), "samples": int(np.sum(of_sample == phase)), "medoid": medoid}
        yield {"label": phase, **counts, "mean_gradient": gradient[inside].mean(axis=0)}


def describe_boundaries(phases, grid):
    """Each line with the strength of its boundary, at the lowest place and the median, and that over noise's."""
    strengths = boundary_strengths(phases)
    for line in boundary_lines(phases.label, grid):
        lowest, median = strengths[line.phases]
        over = {"over_noise": lowest / phases.noise_persistence} if phases.noise_persistence else {}
        yield {"phases": line.phases, "points": line.points, "lowest": lowest, "strength": median, **over}


def main(metric, free_energy, embedding, t, grid, design, settings, output):
    phases = phase_map(metric["largest_eigenvalue"].to_numpy(), grid, settings)
    nodes = {"grid": grid if design == "grid" else None, "neighbours": settings["neighbours"]}
    lipschitz = lipschitz_field(embedding, t, **nodes)
    fields = {"label": phases.label, "ridge": phases.ridge, "lipschitz": to_grid(lipschitz, t, grid)}
    dataset = metric[["largest_eigenvalue"]].assign(
        {key: (("a", "b"), field) for key, field in fields.items()}
    )
    store.write_dataset(output.fields, dataset)
    lines, corners = list(describe_boundaries(phases, grid)), triple_points(phases.label, grid)
    found = {
        "phases": list(describe(phases.label, free_energy["gradient"].to_numpy(), embedding, t, grid)),
        "boundaries": lines,
        "triple_points": [{"phases": corner.phases, "point": corner.point} for corner in corners],
    }
    store.write_json(output.phases, {**found, "verdict": metric.attrs["verdict"]})
    noise = {name: getattr(phases, name) for name in ("persistence", "noise", "noise_persistence")}
    shown = [{key: value for key, value in line.items() if key != "points"} for line in lines]
    slopes = {"lipschitz_median": np.median(lipschitz), "lipschitz_99": np.quantile(lipschitz, 0.99)}
    store.write_json(
        output.numbers,
        {**{key: len(value) for key, value in found.items()}, **slopes, **noise, "strengths": shown},
    )


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, grid = step.params, Grid(**step.params.grid)
        metric, free_energy = map(store.read_dataset, (step.input.metric, step.input.free_energy))
        embedding, t = (store.read_array(params.store, name) for name in (params.array, "t"))
        main(metric, free_energy, embedding, t, grid, params.design, params.phases, step.output)
