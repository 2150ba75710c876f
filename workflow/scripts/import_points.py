"""Create the sample store of a study of samples of one's own: its group, their points, the metadata of the images."""

from pathlib import Path

from hessgeo import store
from hessgeo.pipeline import script_context
from hessgeo.pipeline.own import own_samples


def main(path, own, shard, attributes):
    arrays = {"image": (own.images.shape, "u1")}
    store.create_samples(path, points=own.t, arrays=arrays, shard=shard, attributes=attributes)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, source = step.params, step.params.own
        attributes = {"study": step.wildcards.study, "settings": params.sampling}
        with source.reading(step.output.group):
            main(Path(step.output.group).parent, own_samples(source.settings), params.shard, attributes)
