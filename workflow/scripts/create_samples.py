"""Create the sample store of a study: its group, its parameter points, the metadata of its images."""

from pathlib import Path

from hessgeo import store
from hessgeo.grids import Grid, parameter_points
from hessgeo.pipeline import script_context


def main(path, grid, params, study):
    points = parameter_points(params.design, grid, params.size, params.seed)
    store.create_samples(
        path,
        points=points,
        arrays={"image": (tuple(params.image_shape), "u1")},
        shard=params.shard,
        attributes={"study": study, "settings": params.sampling},
    )


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(Path(step.output.group).parent, Grid(**step.params.grid), step.params, step.wildcards.study)
