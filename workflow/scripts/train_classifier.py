"""Train the classifier that judges generated digits."""

from pathlib import Path

from hessgeo.models.digit_classifier import save_classifier, train_classifier
from hessgeo.models.digits import load_digits
from hessgeo.pipeline import script_context


def main(folder, held_out, seed, training):
    digits = load_digits(held_out=held_out, seed=seed)
    save_classifier(folder, train_classifier(digits, **training, seed=seed, progress=True))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        folder = Path(step.output.weights).parent
        main(folder, step.params.held_out, step.params.seed, step.params.training)
