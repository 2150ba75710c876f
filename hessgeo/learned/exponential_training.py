"""Training of the exponential-family network on exchanged pairs of samples, in which the free energy cancels."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import softplus
from torch.optim.lr_scheduler import OneCycleLR

from hessgeo.learned.encoder import as_input
from hessgeo.learned.exponential import ROWS, ExponentialConfig, ExponentialNetwork
from hessgeo.learned.exponential_convex import CellDraws, fit_normaliser
from hessgeo.learned.samples import Samples
from hessgeo.numerics.factor import in_words
from hessgeo.numerics.training import descend, seeded
from hessgeo.posteriors.calibration import LEVELS, region_mass

_FIRST = 4096  # samples that the features are standardised and the first linear map is found with
_RIDGE = 1e-3  # of that map, in variances of a feature
_SMALL = 128  # states a step that need no more samples
_NEIGHBOURS = 16  # samples of a batch that come from one place of the box


def train_exponential(
    samples: Samples,
    *,
    statistics: int = 2,
    nodes: tuple[int, int] = (24, 24),
    splines: tuple[int, int] = (12, 12),
    eta_splines: tuple[int, int] = (8, 8),
    width: int = 16,
    layers: int = 2,
    hidden: int = 64,
    steps: int = 600,
    passes: float = 12.0,
    batch_size: int = 512,
    learning_rate: float = 3e-3,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> ExponentialNetwork:
    r"""Train statistics whose law is exponential in the natural parameters, ``p(x|t) ~ exp(<f, eta> - A)``.

    Given two samples and their two parameters, but not which belongs to which, the odds of the pairing that was seen
    are

        p(x_i|t_i) p(x_j|t_j) / (p(x_i|t_j) p(x_j|t_i)) = exp <f_i - f_j, eta_i - eta_j>:

    ``A`` cancels, whatever it is: kinks and all. The loss is the mean of ``-log sigma`` of these logits over all pairs
    of a batch (conditional likelihood; the pairwise pseudolikelihood of Liang and Qin 2000), and is least at the true
    statistics up to a constant, in their own units. A batch holds groups of neighbours, so that there are pairs at all
    distances. The linear map starts as Fisher's discriminant of the first features, which are random. Adam follows a
    one-cycle schedule that ends at zero. At last ``A``, which only posteriors need, is fitted to ``f``
    (``fit_normaliser``).

    On a CPU, at one number of threads, the weights are a function of the arguments alone.

    Args:
        samples: states at parameters that are uniform over the box.
        statistics: ``d``, their number; 2 for the natural family, more for families that are not exponential in ``t``.
        nodes: cells along each parameter of posteriors.
        splines: of ``A`` along each parameter.
        eta_splines: of ``eta`` where ``d > 2``.
        width: channels of the convolutions.
        layers: of convolutions.
        hidden: width of the perceptron.
        steps: of Adam, at most.
        passes: through the samples, at most: few samples are learned by heart in more.
        batch_size: states a step, at most; and a sixteenth of the samples, or 128 if that is less.
        learning_rate: of Adam, the largest.
        seed: of the weights, the batches and the nodes.
        device: where to train; the convex problem is solved on the CPU.
        progress: show the loss on a progress bar.

    Raises:
        ValueError: on a number out of range, or parameters outside the box.
        FloatingPointError: if the loss is no longer finite.
    """
    if steps < 1 or batch_size < 2 or not passes > 0 or not learning_rate > 0:
        raise ValueError(
            "steps must be at least 1, batch_size at least 2, passes and learning_rate positive, "
            f"not {steps}, {batch_size}, {passes} and {learning_rate}"
        )
    low, high = np.array(samples.grid.extent).T
    near = (1e-9 + samples.grid.rounding) * np.array(samples.grid.spacing)
    if not np.all((samples.t >= low - near) & (samples.t <= high + near)):
        raise ValueError(f"t must lie in the box {samples.grid.extent}")
    config = ExponentialConfig(
        state_shape=tuple(samples.states.shape[1:]), geometry=samples.geometry, extent=samples.grid.extent,
        nodes=nodes, statistics=statistics, splines=splines, eta_splines=eta_splines, width=width, layers=layers,
        hidden=hidden, samples=len(samples.t), seed=seed,
        training=course_of(len(samples.t), steps, passes, batch_size) | {"learning_rate": learning_rate},
    )  # fmt: skip
    with seeded(seed):
        network = ExponentialNetwork(config, samples.coordinates.natural)
    start = time.perf_counter()
    course = _Training(network, samples, device).run(progress)
    config.training.update(course, seconds=time.perf_counter() - start, device=device)
    return network


def course_of(samples: int, steps: int, passes: float, batch_size: int) -> dict[str, int]:
    """Steps and states a step that a number of samples allows, see ``train_exponential``."""
    batch_size = min(batch_size, max(_SMALL, samples // 16), samples)
    return {"steps": min(steps, math.ceil(passes * samples / batch_size)), "batch_size": batch_size}


class _Training:
    """One training: the network, its samples and the draw of batches."""

    def __init__(self, network: ExponentialNetwork, samples: Samples, device: str) -> None:
        self.network, self.device = network, device
        self.x, self.t = as_input(samples.states), torch.from_numpy(samples.t)
        self.natural = torch.from_numpy(samples.natural)
        self.strata = CellDraws(network.config.cells, samples.coordinates.natural)
        extent = np.array(samples.grid.extent, dtype=float)
        self.place = (samples.t - extent[:, 0]) / np.ptp(extent, axis=1)

    def run(self, progress: bool) -> dict[str, Any]:
        """Train in place; the course of the training."""
        network = self.network.train()
        first = slice(0, _FIRST)
        with torch.no_grad():
            features = network.encoder.features(self.x[first])  # standardises them
            eta = network.standardised_eta(self.t[first], self.natural[first])
        _set_linear(network, discriminant(features.double(), eta.double()))
        network.to(self.device)
        losses = self._adam(progress)
        network.eval()
        with torch.no_grad():
            f = torch.cat([network.encoder(x.to(self.device)).cpu() for x in self.x.split(ROWS)])
        network.cpu()
        normaliser = fit_normaliser(
            network, f, self.t.numpy(), self.strata, tolerance=1e-6, seed=network.config.seed
        )
        network.to(self.device)
        return {"losses": losses, "normaliser": normaliser}

    def _adam(self, progress: bool) -> list[float]:
        """Mean loss of each tenth of the steps, in nats a pair; log 2 is that of a guess."""
        network, settings = self.network, self.network.config.training
        steps, rate = settings["steps"], settings["learning_rate"]
        rng = np.random.default_rng([network.config.seed, 1])
        trained = [p for name, p in network.named_parameters() if name != "potential"]
        optimiser = torch.optim.Adam(trained, lr=rate, fused=True)
        schedule = OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1, cycle_momentum=False)
        losses = descend(
            self._loss, self._batches(rng), optimiser, schedule, steps=steps, label="Adam", progress=progress
        )
        return [float(np.mean(part)) for part in np.array_split(losses, min(10, steps))]

    def _batches(self, rng: np.random.Generator) -> Iterator[Int[np.ndarray, "b"]]:
        while True:
            yield from deal(self.place, self.network.config.training["batch_size"], rng)

    def _loss(self, rows: Int[np.ndarray, "b"]) -> Float[Tensor, ""]:
        f = self.network.encoder(self.x[rows].to(self.device))
        eta = self.network.standardised_eta(self.t[rows].to(self.device), self.natural[rows].to(self.device))
        return pair_loss(f, eta.to(f))


def pair_loss(f: Float[Tensor, "n d"], eta: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean over pairs of samples of ``-log sigma(<f_i - f_j, eta_i - eta_j>)``, nats."""
    product = f @ eta.T
    own = product.diagonal()
    logits = own[:, None] + own - product - product.T
    n = len(f)
    # The diagonal, log 2 each, is no pair.
    return (softplus(-logits).sum() - n * math.log(2)) / (n * (n - 1))


@in_words("discriminant of the features")
def discriminant(features: Float[Tensor, "n p"], eta: Float[Tensor, "n d"]) -> Float[Tensor, "d p"]:
    """The linear statistics ``W phi`` that are conjugate to ``eta`` where features are normal and their mean linear.

    ``W = S' C^-1`` with the slope ``S`` of ``E[phi|eta]`` and the covariance ``C`` about it (Fisher 1936).
    """
    phi, x = features - features.mean(dim=0), eta - eta.mean(dim=0)
    slope = torch.linalg.lstsq(x, phi).solution
    rest = phi - x @ slope
    covariance = rest.T @ rest / len(rest)
    covariance.diagonal().add_(_RIDGE * phi.var(dim=0).mean() + torch.finfo(phi.dtype).tiny)
    return torch.linalg.solve(covariance, slope.T).T


def _set_linear(network: ExponentialNetwork, weight: Float[Tensor, "d p"]) -> None:
    encoder = network.encoder
    wide = encoder.linear.in_features
    with torch.no_grad():
        encoder.linear.weight.copy_(weight[:, :wide])
        encoder.last.weight.copy_(weight[:, wide:])
        # Constants in f change nothing.
        encoder.linear.bias.zero_()
        encoder.last.bias.zero_()


def deal(
    place: Float[np.ndarray, "n 2"], batch_size: int, rng: np.random.Generator
) -> list[Int[np.ndarray, "b"]]:
    """All samples once, in batches of groups of neighbours.

    Args:
        place: parameters in the unit square.
        batch_size: samples a batch, up to rounding.
        rng: of the groups, which lie about the cells of a grid that is shifted at random, and of their order.
    """
    n = len(place)
    side = max(1, round(math.sqrt(n / _NEIGHBOURS)))
    row, column = (place * side + rng.random(2)).astype(np.int64).clip(0, side).T
    cell = rng.permutation((side + 1) ** 2)[row * (side + 1) + column]
    groups = np.array_split(np.lexsort((rng.random(n), cell)), math.ceil(n / _NEIGHBOURS))
    order = np.concatenate([groups[k] for k in rng.permutation(len(groups))])
    return np.array_split(order, max(1, n // batch_size))


def choice_logits(
    network: ExponentialNetwork,
    f: Float[Tensor, "n d"],
    nodes: tuple[Float[np.ndarray, "cell 2"], Float[np.ndarray, "cell 2"]],
    own: tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]],
    cell: Int[Tensor, "n"],
) -> Float[Tensor, "n cell"]:
    """``<f, eta> - A`` at one point in each cell, each state's own in its cell; points with natural parameters."""
    t, natural = (torch.from_numpy(np.concatenate(pair)).to(f) for pair in zip(nodes, own, strict=True))
    eta, a, g = network.standardised_eta(t, natural).to(f), network.value(t), len(nodes[0])
    logits = torch.addmm(-a[:g], f, eta[:g].T)
    return logits.scatter(1, cell[:, None].to(f.device), ((f * eta[g:]).sum(dim=1) - a[g:])[:, None])


@torch.no_grad()
def calibrate(network: ExponentialNetwork, samples: Samples, *, seed: int = 0) -> dict[str, float]:
    """Likelihood and coverage of the posteriors of single states, which should be none of the training's.

    All are of the choice among one point a cell, of which the state's own is one, so that they are exact for the
    true posterior however wide the cells are:

    - ``nll``: mean negative logarithm of the probability of the right point, nats; ``nll_uniform``: that of the
      uniform posterior; ``skill``: ``1 - nll / nll_uniform``;
    - ``coverage_50``, ``coverage_90``: share of the states whose own point lies within the region of highest
      density of that mass; ``calibration_error``: the mean distance from nominal over masses of 5 % to 95 %.

    Args:
        network: the trained network.
        samples: those to judge it by.
        seed: of the points.
    """
    network.eval()
    strata = CellDraws(network.config.cells, samples.coordinates.natural)
    rng, x, natural = np.random.default_rng([seed, 3]), as_input(samples.states), samples.natural
    t, cell = samples.t, torch.from_numpy(strata.cell(samples.t))
    nll, inside = 0.0, np.zeros(len(LEVELS))
    for k in range(0, len(t), ROWS):
        part = slice(k, k + ROWS)
        f = network.encoder(x[part].to(network.device))
        logits = choice_logits(network, f, strata.draw(rng), (t[part], natural[part]), cell[part])
        log_p = torch.log_softmax(logits.double(), dim=1).cpu()
        nll -= float(log_p.gather(1, cell[part, None]).sum())
        right = torch.zeros_like(log_p).scatter_(1, cell[part, None], 1.0)
        inside += region_mass(log_p.exp().numpy(), right.numpy(), LEVELS).sum(axis=0)
    nll, inside, uniform = nll / len(t), inside / len(t), math.log(strata.cells.size)
    at = {level: int(np.abs(LEVELS - level / 100).argmin()) for level in (50, 90)}
    return {
        "states": len(t),
        "nll": nll,
        "nll_uniform": uniform,
        "skill": 1 - nll / uniform,
        **{f"coverage_{level}": float(inside[k]) for level, k in at.items()},
        "calibration_error": float(np.abs(inside - LEVELS).mean()),
    }
