"""Join points of two moons by epsilon-graphs, connected and in pieces."""

from hessgeo import store
from hessgeo.densities.experiments import epsilon_graphs
from hessgeo.densities.toys import moons
from hessgeo.pipeline import script_context


def main(output, points, factors, seed):
    store.write_dataset(output, epsilon_graphs(moons(points, seed), factors))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.output.graphs, **step.params.graphs)
