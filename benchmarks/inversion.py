"""How well images come back from the latents found for them, on the diffusion model of handwritten digits.

Two sets of images, those that the model made itself from standard normal latents and real digits held out of its
training, are inverted twice: by DDIM inversion as usually done (one evaluation of the network a step), and by the
iterated one. The error is the mean squared difference of pixels over the variance of the image's pixels; the radius
is the root mean square of a latent, one for noise. Seconds are those of the whole call, which also tries the latents.

The model is that of the digits study, ``results/models/digits/diffusion``, and trained first where there is none.

    python benchmarks/inversion.py                        # a minute or two on two cores, training included
    python benchmarks/inversion.py --model /models/ddim   # another unconditional model of 8 x 8 grey images
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from diffusers.utils import logging
from record import record_table

from hessgeo.models.digit_diffusion import train_diffusion
from hessgeo.models.digits import load_digits
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.inversion import invert
from hessgeo.systems.diffusion.system import load_denoiser

REPOSITORY = Path(__file__).parents[1]
MODEL = REPOSITORY / "results" / "models" / "digits" / "diffusion"


def train(folder, settings):
    """The model of the digits study."""
    digits = load_digits(held_out=settings["held_out"], seed=settings["seed"])
    pipeline = train_diffusion(digits, **settings["diffusion"], seed=settings["seed"], progress=True)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def made_by(denoiser, count):
    """Images from standard normal latents."""
    latents = np.random.default_rng(0).standard_normal((count, *denoiser.latent_shape))
    return denoiser.decode(denoiser.denoise(torch.from_numpy(latents)))


def measure(denoiser, images, iterations):
    """One row of the table."""
    begin = time.perf_counter()
    found = invert(denoiser, images, iterations=iterations)
    seconds = time.perf_counter() - begin
    low, middle, high = np.quantile(found.radius, [0.05, 0.5, 0.95])
    return {
        "iterations": iterations,
        "mean error": found.error.mean(),
        "median": np.median(found.error),
        "largest": found.error.max(),
        "below 1e-3": np.mean(found.error < 1e-3),
        "radius 5 %": low,
        "50 %": middle,
        "95 %": high,
        "largest residual": found.residual.max(),
        "seconds": seconds,
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="folder of a pipeline; else that of the digits study")
    parser.add_argument("--images", type=int, default=64, help="of each set")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--iterations", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    logging.disable_progress_bar()
    settings = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))["models"]["digits"]
    with tempfile.TemporaryDirectory() as place:
        folder = options.model or (MODEL if MODEL.is_dir() else train(Path(place) / "model", settings))
        denoiser = load_denoiser(
            describe_checkpoint(folder),
            steps=options.steps,
            device="cuda" if torch.cuda.is_available() else "cpu",
        )
    held_out = load_digits(held_out=settings["held_out"], seed=settings["seed"]).test.images
    sets = {"its own": made_by(denoiser, options.images), "held-out digits": held_out[: options.images]}
    table = pd.DataFrame(
        {"images": name, **measure(denoiser, images, count)}
        for name, images in sets.items()
        for count in options.iterations
    )
    print(f"{options.images} images of each set, {options.steps} steps, {options.threads} threads")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.2g}"))
    record_table(
        f"inversion at {options.steps} steps", table, labels=["images", "iterations"], units={"seconds": "s"}
    )
    return table


if __name__ == "__main__":
    main()
