"""Map the affinity of the points of each toy set to one of them, by Euclidean and by geodesic distance."""

from hessgeo import store
from hessgeo.densities.experiments import affinity_maps
from hessgeo.densities.toys import TOYS
from hessgeo.pipeline import script_context


def main(output, points, quantile, radius, seed):
    toys = {name: draw(points, seed) for name, draw in TOYS.items()}
    store.write_dataset(output, affinity_maps(toys, quantile=quantile, radius=radius))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.output.affinity, **step.params.affinity)
