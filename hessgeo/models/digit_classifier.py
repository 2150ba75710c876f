"""A small classifier of the digits, the judge of what the diffusion model draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional

from hessgeo.models.digits import Digits, DigitSet, as_ink, jitter
from hessgeo.numerics.training import descend, drawn
from hessgeo.store import load_network, write_network


class DigitClassifier(nn.Module):
    """Two convolutions, a pooling and a hidden layer: (n, 1, 8, 8) in [0, 1] to ten logits.

    Args:
        channels: widths of the two convolutions.
        hidden: width of the hidden layer.
    """

    def __init__(self, channels: Sequence[int] = (32, 64), hidden: int = 128) -> None:
        super().__init__()
        self.config = {"channels": list(channels), "hidden": hidden}
        first, second = channels
        self.layers = nn.Sequential(
            nn.Conv2d(1, first, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(first, second, 3, padding=1),
            nn.GELU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(second * 16, hidden),
            nn.GELU(),
            nn.Dropout(0.3),
            nn.Linear(hidden, 10),
        )

    def forward(self, x: Float[Tensor, "n 1 8 8"]) -> Float[Tensor, "n 10"]:
        """Logits of the ten digits."""
        return self.layers(x)


def train_classifier(
    digits: Digits,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    device: str = "cpu",
    progress: bool = False,
) -> DigitClassifier:
    """Train the classifier on the training digits, jittered.

    AdamW on the plain cross-entropy with a one-cycle learning rate; no label smoothing and no temperature, so
    the confidence is the softmax as trained, and is to be read beside the held-out accuracy.

    Args:
        digits: the images and labels; only the training set is used.
        steps: optimiser steps.
        batch_size: images a step, drawn with replacement.
        learning_rate: peak learning rate.
        seed: seed of the initial weights, the batches, the dropout and the jitter.
        device: where to train.
        progress: show a progress bar.

    Raises:
        ValueError: on less than one step.
        FloatingPointError: if the loss is no longer finite.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, must be at least 1")
    images = as_ink(digits.train.images).to(device)
    labels = torch.from_numpy(digits.train.labels).to(device)
    generator = torch.Generator().manual_seed(seed)

    def loss(rows: Int[Tensor, "n"]) -> Float[Tensor, ""]:
        rows = rows.to(device)
        logits = model(jitter(images[rows], generator, shift=0.4, noise=0.08))
        return functional.cross_entropy(logits, labels[rows])

    # Dropout draws from torch's global stream, which is seeded here and put back afterwards.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DigitClassifier().to(device)
        optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
        descend(
            loss, drawn(len(images), batch_size, generator), optimiser, schedule,
            steps=steps, label="classifier", progress=progress,
        )  # fmt: skip
    return model.eval()


def save_classifier(folder: str | Path, model: DigitClassifier) -> None:
    """Write ``config.json`` and ``model.safetensors`` into a folder."""
    write_network(folder, model.state_dict(), model.config)


def load_classifier(folder: str | Path, *, device: str = "cpu") -> DigitClassifier:
    """Read a classifier that ``save_classifier`` wrote.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the files are not those of such a classifier.
    """

    def build(weights: dict[str, Tensor], config: Any) -> DigitClassifier:
        model = DigitClassifier(**config)
        model.load_state_dict(weights)
        return model.to(device).eval()

    return load_network(folder, build, kind="digit classifier")


@torch.inference_mode()
def recognise(
    model: DigitClassifier, images: UInt8[np.ndarray, "n 8 8 1"]
) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """The most likely digit of each image and its softmax probability, the confidence."""
    device = next(model.parameters()).device
    blocks = [model(block.to(device)).softmax(dim=1).max(dim=1) for block in as_ink(images).split(4096)]
    confidence = torch.cat([block.values for block in blocks]).double().cpu().numpy()
    return torch.cat([block.indices for block in blocks]).cpu().numpy(), confidence


@torch.inference_mode()
def perceptual_features(
    model: DigitClassifier, images: UInt8[np.ndarray, "n 8 8 1"]
) -> Float[np.ndarray, "n d"]:
    """Features whose Euclidean distance is perceptual in the sense of LPIPS (Zhang et al. 2018), weights all one.

    The activations after both convolutions, of unit length over the channels at each pixel, divided by the root of the
    number of pixels: the squared distance is the sum over layers of the mean over pixels of ``|y - y'|^2``.
    """
    device = next(model.parameters()).device
    blocks = []
    for block in as_ink(images).split(4096):
        x, layers = block.to(device), []
        for layer in model.layers[:4]:
            x = layer(x)
            if isinstance(layer, nn.GELU):
                unit = functional.normalize(x, dim=1, eps=1e-6)
                layers.append(unit.flatten(1) / (x.shape[2] * x.shape[3]) ** 0.5)
        blocks.append(torch.cat(layers, dim=1))
    return torch.cat(blocks).double().cpu().numpy()


def accuracy(model: DigitClassifier, digit_set: DigitSet) -> float:
    """Share of images whose digit is recognised."""
    return float(np.mean(recognise(model, digit_set.images)[0] == digit_set.labels))
