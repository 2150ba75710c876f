"""The posterior of a trained network (Lobashev et al. 2025, App. B.3): a bundle in, a grid of cells out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from hessgeo import store
from hessgeo.grids import Extent, Grid
from hessgeo.posteriors.base import Posterior, row_moments
from hessgeo.posteriors.bundles import candidates, draw_bundles
from hessgeo.posteriors.u2net import Size, U2Net

KERNEL = "network"


@dataclass(frozen=True)
class NetworkConfig:
    """Everything about a trained network but its weights.

    Attributes:
        size: of the U^2-Net.
        extent: the box of parameters.
        shape: nodes of the posterior along ``a`` and ``b``, also the size that images are brought to.
        bundle: images read at once, ``K``.
        neighbours: samples that a bundle is drawn from.
        sigma: standard deviation of the smoothed targets along ``a`` and ``b``, parameter units.
        mean: of each image channel over the training images, of 255.
        deviation: the same for the standard deviation.
        samples: number of samples it was trained on and tested with.
        held_out: share of them kept for tests.
        seed: of the split, the weights and the batches.
        training: settings and course of the training.
    """

    size: Size
    extent: Extent
    shape: tuple[int, ...]
    bundle: int
    neighbours: int
    sigma: tuple[float, float]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    samples: int
    held_out: float
    seed: int
    training: dict[str, Any]

    @property
    def grid(self) -> Grid:
        """The nodes that carry the posterior."""
        return Grid(self.extent, self.shape)

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return self.bundle * len(self.mean)

    @property
    def largest_metric(self) -> tuple[float, float]:
        """``1 / (K sigma^2)`` along ``a`` and ``b``: what the smoothing leaves of an infinite metric.

        The posterior's covariance is about ``(K g)^-1 + sigma^2``, so no metric read from it is larger.
        """
        a, b = self.sigma
        return 1 / (self.bundle * a**2), 1 / (self.bundle * b**2)


@dataclass(frozen=True)
class PosteriorNetwork:
    """A U^2-Net that reads ``K`` images, stacked in its channels, as a distribution over the nodes of a grid."""

    net: U2Net
    config: NetworkConfig

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.net.parameters()).device

    def prepare(self, bundles: UInt8[np.ndarray, "n k a b c"]) -> Float[Tensor, "n kc a b"]:
        """Bundles of images at the grid's size, standardised by channel, as the input of the network.

        Raises:
            ValueError: if they have another shape than the network reads.
        """
        config = self.config
        item = (config.bundle, *config.shape, len(config.mean))
        if bundles.shape[1:] != item:
            raise ValueError(f"bundles have shape {bundles.shape}, the network reads {('n', *item)}")
        x = torch.from_numpy(bundles).to(self.device).float() / 255
        mean, deviation = (x.new_tensor(values) for values in (config.mean, config.deviation))
        x = ((x - mean) / deviation).permute(0, 1, 4, 2, 3).flatten(1, 2)
        return x.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def log_posterior(self, bundles: UInt8[np.ndarray, "n k a b c"]) -> Float[Tensor, "n node"]:
        """``log P(t_g | x_1 .. x_K)`` of each bundle, with the running statistics of batch normalisation."""
        self.net.eval()
        logits, _ = self.net(self.prepare(bundles))
        return torch.log_softmax(logits.flatten(1).double(), dim=1)


def network_posterior(
    network: PosteriorNetwork,
    images: UInt8[np.ndarray, "n a b c"],
    t: Float[np.ndarray, "n 2"],
    *,
    draws: int = 4,
    rows: int = 1024,
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = False,
) -> Posterior:
    """The posterior of every sample over the nodes of the network's grid, at the resolution ``N = K``.

    The row of a source is the normalised geometric mean of the posteriors of ``draws`` bundles around it. In an
    exponential family a bundle's log-posterior is ``K (<f, t> - F(t))`` with ``f`` the mean of the bundle's
    statistics, so this is the posterior (Eq. 21) with ``f`` nearer to its expectation ``grad F(t_i)``; averaging
    probabilities would widen the row by the scatter of ``f`` instead. ``log_normaliser``, zero for one draw, is
    lower the more the draws contradict each other.

    Args:
        network: the trained network.
        images: of every sample, at the size of its grid (``resize_images``).
        t: their parameters.
        draws: bundles a source.
        rows: number of sources, spread evenly over all, whose whole rows are kept.
        batch_size: bundles at once.
        seed: of the bundles.
        progress: show a progress bar of sources.

    Raises:
        ValueError: if the images are not those of ``t`` at the size of the grid, or a number is not positive.
    """
    check_images(network.config, images, t)
    if min(draws, batch_size) < 1 or rows < 0:
        raise ValueError(
            f"draws and batch_size must be positive, rows not negative: {draws}, {batch_size}, {rows}"
        )
    config, n = network.config, len(t)
    everyone = np.arange(n)
    near = {"bundle": config.bundle, "neighbours": config.neighbours}
    offered = candidates(t, everyone, everyone, config.grid, **near)
    rng, nodes = np.random.default_rng(seed), config.grid.points
    kept = np.unique(np.linspace(0, n - 1, min(rows, n)).astype(np.int64))
    parts, whole, marginal = [], [], np.zeros(len(nodes))
    step = max(1, batch_size // draws)
    for start in tqdm(range(0, n, step), desc="posterior", unit="batch", disable=not progress):
        block = offered[start : start + step]
        members = draw_bundles(np.repeat(block, draws, axis=0), config.bundle, rng)
        log_p, log_z = _geometric_mean(network.log_posterior(images[members]), draws)
        p = np.exp(log_p)
        parts.append(np.column_stack([*row_moments(p, nodes), -np.vecdot(p, np.maximum(log_p, -1e3)), log_z]))
        marginal += p.sum(axis=0)
        here = kept[(kept >= start) & (kept < start + step)]
        whole.append(p[here - start].astype(np.float32))
    moments = np.concatenate(parts)
    return Posterior(
        t=np.asarray(t, dtype=float), mean=moments[:, :2], central_moment=moments[:, 2:5], marginal=marginal,
        entropy=moments[:, 5], log_normaliser=moments[:, 6], resolution=float(config.bundle), kernel=KERNEL,
        exclude_self=False, support=nodes,
        rows=np.concatenate(whole) if rows else None, row_sources=kept if rows else None,
    )  # fmt: skip


def _geometric_mean(
    log_p: Float[Tensor, "bundle node"], draws: int
) -> tuple[Float[np.ndarray, "s node"], Float[np.ndarray, "s"]]:
    """Normalised log-mean over the draws of each source, and the logarithm of its norm."""
    mean = log_p.unflatten(0, (-1, draws)).mean(dim=1)
    log_z = mean.logsumexp(dim=1, keepdim=True)
    return (mean - log_z).cpu().numpy(), log_z[:, 0].cpu().numpy()


def check_images(
    config: NetworkConfig, images: UInt8[np.ndarray, "n a b c"], t: Float[np.ndarray, "n 2"]
) -> None:
    """Refuse images that the network cannot read, or parameters outside its box.

    Raises:
        ValueError: if the images are not ``uint8``, one for each ``t``, at the size of the network's grid.
    """
    expected = (len(t), *config.shape, len(config.mean))
    if images.shape != expected or images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 of shape {expected}, not {images.dtype} {images.shape}")
    low, high = np.array(config.extent).T
    near = (1e-9 + config.grid.rounding) * config.grid.spacing
    if np.shape(t) != (len(t), 2) or not np.all((t >= low - near) & (t <= high + near)):
        raise ValueError(f"t must have shape (n, 2) and lie in the network's box {config.extent}")


def save_network(folder: str | Path, network: PosteriorNetwork) -> None:
    """Write the weights as ``model.safetensors`` and everything else as ``config.json``."""
    store.write_network(folder, network.net.state_dict(), asdict(network.config))


def load_network(folder: str | Path, *, device: str = "cpu") -> PosteriorNetwork:
    """Read a network that ``save_network`` wrote.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the configuration or the weights are not of such a network.
    """

    def build(weights: dict[str, Tensor], entries: Any) -> PosteriorNetwork:
        entries["extent"] = tuple(map(tuple, entries["extent"]))
        for name in ("shape", "sigma", "mean", "deviation"):
            entries[name] = tuple(entries[name])
        config = NetworkConfig(**entries)
        net = U2Net(config.channels, size=config.size)
        net.load_state_dict(weights)
        return PosteriorNetwork(net.to(device).to(memory_format=torch.channels_last).eval(), config)

    return store.load_network(folder, build, kind="posterior network")
