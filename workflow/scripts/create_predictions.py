"""Create the metadata of what is kept of a sampler's steps: predicted images, states and predicted latents."""

from hessgeo import store
from hessgeo.pipeline import script_context


def main(path, names, params):
    kept = len(params.steps)
    items = {
        "prediction": ((kept, *params.image_shape), "u1"),
        "trajectory": ((kept, 2, *params.latent_shape), "f4"),
    }
    for array, (item, dtype) in items.items():
        store.create_array(
            path, names[array], samples=params.size, item=item, dtype=dtype, shard=params.shard
        )


if __name__ == "__main__":
    with script_context(snakemake) as step:
        key = step.wildcards.history
        names = {array: f"{array}-{key}" for array in ("prediction", "trajectory")}
        main(step.params.store, names, step.params)
