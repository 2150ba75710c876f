"""Create the sample store of a solvable system: its group, its parameter points, the metadata of its states."""

from math import prod
from pathlib import Path

from hessgeo import store
from hessgeo.grids import Grid, parameter_points
from hessgeo.pipeline import script_context
from hessgeo.pipeline.solvable_systems import solvable_system


def main(path, sampling, seed, about):
    box = Grid(sampling["extent"], (2, 2))
    points = parameter_points("uniform", box, sampling["samples"], seed)
    system = solvable_system(sampling)
    store.create_samples(
        path,
        points=points,
        arrays={"state": ((prod(system.sample_shape),), system.dtype.str[1:])},
        shard=sampling["shard"],
        attributes={"study": about, "seed": seed, "settings": sampling},
    )


if __name__ == "__main__":
    with script_context(snakemake) as step:
        seed, params = int(step.wildcards.seed), step.params
        main(Path(step.output.group).parent, params.sampling, seed, step.wildcards.system)
