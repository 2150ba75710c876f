"""Training of the posterior network by maximum likelihood of smoothed positions (Eqs. 125-128)."""

from __future__ import annotations

import time
from operator import mul

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from hessgeo.grids import Grid
from hessgeo.numerics.training import descend, seeded, split_samples
from hessgeo.posteriors.bundles import (
    candidates,
    draw_bundles,
    smoothed_targets,
    smoothing_width,
)
from hessgeo.posteriors.network import NetworkConfig, PosteriorNetwork, check_images
from hessgeo.posteriors.u2net import Size, U2Net

_STATISTICS = 4096  # training images, evenly spread, that give the channels' mean and deviation


def train_posterior_network(
    images: UInt8[np.ndarray, "n a b c"],
    t: Float[np.ndarray, "n 2"],
    grid: Grid,
    *,
    size: Size = "tiny",
    bundle: int = 4,
    neighbours: int = 8,
    smoothing: float = 0.02,
    epochs: int = 200,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    held_out: float = 0.2,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> PosteriorNetwork:
    """Train a U^2-Net to name the parameter that a bundle of images comes from.

    Each epoch goes once through the training samples in a new order. A sample is the source of a bundle of
    ``bundle`` images out of the ``neighbours`` training samples nearest to it, and its target is the source's
    position smoothed by a Gaussian. The loss is the cross-entropy of the fused map and of the six side maps.
    On a CPU, at one number of threads, the weights are a function of the arguments alone.

    PAPER: says nothing of the side maps; their loss is that of Qin et al. (2020), all weights one. Its learning
    rate, 1e-6 and constant, belongs to 44 M parameters and 1.7e5 steps; the small networks here take 1e-3, and the
    rate falls to zero by a cosine, so that the averages of batch normalisation settle.

    Args:
        images: of every sample, at the size of the grid (``resize_images``).
        t: their parameters.
        grid: the nodes of the posterior.
        size: of the U^2-Net; the paper's is ``full``.
        bundle: images read at once, ``K``: the resolution ``N`` of the posterior.
        neighbours: samples that a bundle is drawn from, at least ``bundle``.
        smoothing: standard deviation of the targets, share of each side of the box.
        epochs: passes through the training samples.
        batch_size: bundles a step, at least two.
        learning_rate: of Adam, at the start.
        held_out: share of the samples kept for tests.
        seed: of the split, the weights, the batches and the bundles.
        device: where to train.
        progress: show the loss on a progress bar.

    Raises:
        ValueError: on images that are not those of ``t`` at the grid's size, or a number out of range.
        FloatingPointError: if the loss is no longer finite.
    """
    if epochs < 1 or batch_size < 2 or not learning_rate > 0:
        raise ValueError(
            "epochs must be at least 1, batch_size at least 2 and learning_rate positive, "
            f"not {epochs}, {batch_size} and {learning_rate}"
        )
    train, _ = split_samples(len(images), held_out=held_out, seed=seed)
    mean, deviation = _channel_statistics(images[train[:: -(-len(train) // _STATISTICS)]])
    config = NetworkConfig(
        size=size, extent=grid.extent, shape=grid.shape, bundle=bundle, neighbours=neighbours,
        sigma=smoothing_width(grid, smoothing), mean=mean, deviation=deviation, samples=len(images),
        held_out=held_out, seed=seed,
        training={"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate},
    )  # fmt: skip
    check_images(config, images, t)
    with seeded(seed):
        net = U2Net(config.channels, size=size)
    network = PosteriorNetwork(net.to(device).to(memory_format=torch.channels_last), config)
    start = time.perf_counter()
    order = np.random.default_rng([seed, 1])
    losses = _fit(network, images, np.asarray(t, dtype=float), train, order, progress=progress)
    config.training.update(losses=losses, seconds=time.perf_counter() - start, device=device)
    return network


def _channel_statistics(images: UInt8[np.ndarray, "n a b c"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, of 255; a constant channel keeps its scale."""
    values = images.astype(np.float32) / 255
    mean, deviation = values.mean(axis=(0, 1, 2), dtype=float), values.std(axis=(0, 1, 2), dtype=float)
    return tuple(mean.tolist()), tuple(np.where(deviation > 1e-3, deviation, 1.0).tolist())


def _fit(
    network: PosteriorNetwork,
    images: UInt8[np.ndarray, "n a b c"],
    t: Float[np.ndarray, "n 2"],
    train: Int[np.ndarray, "train"],
    rng: np.random.Generator,
    *,
    progress: bool,
) -> list[float]:
    """Train in place; the mean cross-entropy of the fused map in each epoch, in nats."""
    config, net = network.config, network.net.train()
    epochs, batch_size = config.training["epochs"], config.training["batch_size"]
    near = {"bundle": config.bundle, "neighbours": config.neighbours}
    offered = candidates(t, train, train, config.grid, **near)
    targets = smoothed_targets(config.grid, config.sigma)
    batches = max(1, len(train) // batch_size)  # of nearly equal size, so that none is too small to normalise
    optimiser = torch.optim.Adam(net.parameters(), lr=config.training["learning_rate"], fused=True)
    schedule = CosineAnnealingLR(optimiser, epochs * batches)

    def epoch() -> list[Int[np.ndarray, "b"]]:
        return np.array_split(rng.permutation(len(train)), batches)

    def loss(rows: Int[np.ndarray, "b"]) -> tuple[Tensor, Tensor]:
        x = network.prepare(images[draw_bundles(offered[rows], config.bundle, rng)])
        target = torch.from_numpy(targets(t[train[rows]])).to(x)
        fused, sides = net(x)
        found = cross_entropy(fused, target)
        return found, torch.stack([found, *(cross_entropy(side, target) for side in sides)]).sum()

    course = descend(
        loss, (rows for _ in range(epochs) for rows in epoch()), optimiser, schedule,
        steps=epochs * batches, label="Adam", progress=progress,
    )  # fmt: skip
    net.eval()
    sizes = [len(rows) for rows in np.array_split(train, batches)]
    parts = (course[k : k + batches] for k in range(0, len(course), batches))
    return [sum(map(mul, part, sizes)) / len(train) for part in parts]


def cross_entropy(logits: Float[Tensor, "n 1 a b"], target: Float[Tensor, "n node"]) -> Float[Tensor, ""]:
    """Mean over a batch of ``-sum_g target_g log softmax(logits)_g``, in nats (Eq. 127 up to a constant)."""
    return -(target * torch.log_softmax(logits.flatten(1), dim=1)).sum(dim=1).mean()
