"""Train the embedded diffusion model on handwritten digits."""

from pathlib import Path

from hessgeo import store
from hessgeo.models.digit_diffusion import train_diffusion
from hessgeo.models.digits import load_digits
from hessgeo.pipeline import script_context


def main(folder, held_out, seed, training):
    digits = load_digits(held_out=held_out, seed=seed)
    pipeline = train_diffusion(digits, **training, seed=seed, progress=True)
    with store.whole_files(folder) as partial:
        pipeline.save_pretrained(partial, safe_serialization=True)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        folder = Path(step.output.index).parent
        main(folder, step.params.held_out, step.params.seed, step.params.training)
