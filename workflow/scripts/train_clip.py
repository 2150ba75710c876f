"""Train the embedded CLIP on captioned handwritten digits."""

from pathlib import Path

from hessgeo.models.digit_clip import save_clip, train_clip
from hessgeo.models.digits import load_digits
from hessgeo.pipeline import script_context


def main(folder, held_out, seed, training):
    digits = load_digits(held_out=held_out, seed=seed)
    save_clip(folder, train_clip(digits, **training, seed=seed, progress=True))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        folder = Path(step.output.weights).parent
        main(folder, step.params.held_out, step.params.seed, step.params.training)
