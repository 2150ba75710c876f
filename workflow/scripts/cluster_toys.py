"""Find the clusters of toy sets by Euclidean distances, and by those of estimated densities."""

import logging

import pandas as pd

from hessgeo import store
from hessgeo.densities.clustering import cluster_scores, summarise
from hessgeo.densities.flow import fit_flow
from hessgeo.densities.mixtures import kernel_density
from hessgeo.densities.toys import TOYS
from hessgeo.pipeline import script_context


def main(output, points, replicates, densities, flow_steps, seed, **options):
    fits = {"kernel": kernel_density, "flow": lambda data: fit_flow(data, steps=flow_steps, seed=seed)}
    parts = []
    for name, draw in TOYS.items():
        for k in range(seed, seed + replicates):
            toy = draw(points, k)
            estimates = {kind: fits[kind](toy.points) for kind in densities}
            scores = cluster_scores(toy.points, toy.labels, estimates, **options, seed=k)
            parts.append(scores.assign(dataset=name, seed=k))
            logging.info("%s, seed %d: best %.3f", name, k, scores["ari"].max())
    scores = pd.concat(parts)
    store.write_table(output.scores, scores)
    store.write_table(output.table, summarise(scores))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.output, **step.params.clustering)
