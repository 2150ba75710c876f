"""Check the embedded models: accuracy on held-out digits, confidence on images from random latents."""

from pathlib import Path

import numpy as np

from hessgeo import store
from hessgeo.embeddings.open_clip import load_open_clip
from hessgeo.models.digit_classifier import accuracy, load_classifier, recognise
from hessgeo.models.digit_clip import zero_shot_accuracy
from hessgeo.models.digits import load_digits
from hessgeo.systems.diffusion import latent_shape, load_diffusion
from hessgeo.systems.slices import LatentSlice, random_anchors
from hessgeo.workflow import pick_device, script_context

IMAGES, STEPS = 256, 25


def main(folder, numbers, held_out, seed):
    digits = load_digits(held_out=held_out, seed=seed)
    classifier = load_classifier(folder / "classifier")
    shape = latent_shape(folder / "diffusion")
    plane = LatentSlice(random_anchors(seed, shape), ((0.0, 1.0), (0.0, 1.0)))
    system = load_diffusion(folder / "diffusion", plane, steps=STEPS, batch_size=256, device=pick_device())
    # Unlike the samples of a slice, these latents are independent: a fair draw from the whole model.
    latents = np.random.default_rng(seed).standard_normal((IMAGES, *shape))
    label, confidence = recognise(classifier, system.generate(latents, np.arange(IMAGES), seed))
    result = {
        "classifier_accuracy": accuracy(classifier, digits.test),
        "zero_shot_accuracy": zero_shot_accuracy(load_open_clip(folder / "clip").clip, digits.test),
        "held_out_digits": len(digits.test),
        "held_out_mean_confidence": recognise(classifier, digits.test.images)[1].mean(),
        "generated_images": IMAGES,
        "generated_mean_confidence": confidence.mean(),
        "generated_share_above_0.9": np.mean(confidence > 0.9),
        "generated_per_digit": np.bincount(label, minlength=10),
    }
    store.write_json(numbers, result)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        numbers = Path(step.output.numbers)
        main(numbers.parent, numbers, step.params.held_out, step.params.seed)
