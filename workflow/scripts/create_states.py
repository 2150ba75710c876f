"""Create the sample store of a solvable system: its group, its parameter points, the metadata of its states."""

from pathlib import Path

from hessgeo import store
from hessgeo.grids import Grid, parameter_points
from hessgeo.workflow import script_context
from hessgeo.workflow.solvable import grid_of, load_system


def main(path, system, sampling, seed, about):
    points = parameter_points("uniform", Grid(**grid_of(system)), system["samples"], seed)
    sites = 1
    for length in load_system(system).sample_shape:
        sites *= length
    store.create_samples(
        path,
        points=points,
        arrays={"state": ((sites,), "i1")},
        shard=system["shard"],
        attributes={"study": about, "seed": seed, "settings": sampling},
    )


if __name__ == "__main__":
    with script_context(snakemake) as step:
        seed, params = int(step.wildcards.seed), step.params
        main(Path(step.output.group).parent, params.system, params.sampling, seed, step.wildcards.system)
