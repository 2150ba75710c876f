"""Check the embedded models: accuracy on held-out digits, confidence on images from random latents."""

from pathlib import Path

import numpy as np
import torch

from hessgeo import store
from hessgeo.features import describe_embedding
from hessgeo.models.digit_classifier import accuracy, load_classifier, recognise
from hessgeo.models.digit_clip import zero_shot_accuracy
from hessgeo.models.digits import load_digits
from hessgeo.pipeline import pick_device, script_context
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.denoisers import sample_generators
from hessgeo.systems.diffusion.system import load_denoiser

IMAGES, STEPS = 256, 25


def main(folder, numbers, held_out, seed):
    digits = load_digits(held_out=held_out, seed=seed)
    classifier = load_classifier(folder / "classifier")
    denoiser = load_denoiser(describe_checkpoint(folder / "diffusion"), steps=STEPS, device=pick_device())
    # Unlike the samples of a slice, these latents are independent: a fair draw from the whole model.
    latents = np.random.default_rng(seed).standard_normal((IMAGES, *denoiser.latent_shape))
    noise = sample_generators(np.arange(IMAGES), seed)
    images = denoiser.decode(denoiser.denoise(torch.from_numpy(latents), noise=noise))
    label, confidence = recognise(classifier, images)
    clip = describe_embedding("open_clip", folder / "clip").load()
    result = {
        "classifier_accuracy": accuracy(classifier, digits.test),
        "zero_shot_accuracy": zero_shot_accuracy(clip.network, digits.test),
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
