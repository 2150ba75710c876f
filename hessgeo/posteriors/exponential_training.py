"""Training of the exponential-family network: the likelihood of parameters, by Adam and, at the end, by Newton."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from hessgeo.estimators.base import Samples
from hessgeo.estimators.encoder import as_input
from hessgeo.posteriors.bundles import split_samples
from hessgeo.posteriors.calibration import LEVELS, region_mass
from hessgeo.posteriors.exponential import ROWS, ExponentialConfig, ExponentialNetwork
from hessgeo.posteriors.exponential_convex import Strata, fit_last_layer

_FIRST = 4096  # samples that the features are standardised and the last layer is started with
_FIRST_RIDGE, _FIRST_TOLERANCE = 10.0, 1e-3  # of the start: times the ridge, and nats a sample


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
    epochs: int = 6,
    batch_size: int = 256,
    learning_rate: float = 3e-3,
    ridge: float = 1.0,
    held_out: float = 0.1,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> ExponentialNetwork:
    r"""Train statistics whose posterior over the box is exponential in the natural parameters.

    Each step draws a batch and one point in each cell of the box; a state's own parameter stands in for its cell's
    point, and the loss is the cross-entropy of the right choice among them, which is consistent however wide the
    cells are (see ``Strata``). The last linear maps and ``A`` start at the minimum that they have for the first
    features, which are random, and end at the minimum for the last ones: both are convex problems. In between Adam
    follows a one-cycle schedule that ends at zero.

    On a CPU, at one number of threads, the weights are a function of the arguments alone.

    Args:
        samples: states at parameters that are uniform over the box.
        statistics: ``d``, their number; 2 for the natural family, more for families that are not exponential in ``t``.
        nodes: cells along each parameter; finer ones tell more where posteriors are narrower than a cell.
        splines: of ``A`` along each parameter.
        eta_splines: of ``eta`` where ``d > 2``.
        width: channels of the convolutions.
        layers: of convolutions.
        hidden: width of the perceptron.
        epochs: passes through the training samples.
        batch_size: states a step.
        learning_rate: of Adam, the largest.
        ridge: prior on the last linear maps, nats over all samples; features are standardised.
        held_out: share of the samples kept for calibration.
        seed: of the split, the weights, the batches and the nodes.
        device: where to train; the convex problems are solved on the CPU.
        progress: show the loss on a progress bar.

    Raises:
        ValueError: on a number out of range, or parameters outside the box.
        ArithmeticError: if the loss is no longer finite.
    """
    if epochs < 0 or batch_size < 2 or not learning_rate > 0 or not ridge > 0:
        raise ValueError(
            "epochs must not be negative, batch_size at least 2, learning_rate and ridge positive, "
            f"not {epochs}, {batch_size}, {learning_rate} and {ridge}"
        )
    low, high = np.array(samples.grid.extent).T
    if not np.all((samples.t >= low - 1e-9) & (samples.t <= high + 1e-9)):
        raise ValueError(f"t must lie in the box {samples.grid.extent}")
    train, test = split_samples(len(samples.t), held_out=held_out, seed=seed)
    config = ExponentialConfig(
        state_shape=tuple(samples.states.shape[1:]), geometry=samples.geometry, extent=samples.grid.extent,
        nodes=nodes, statistics=statistics, splines=splines, eta_splines=eta_splines, width=width, layers=layers,
        hidden=hidden, samples=len(samples.t), held_out=held_out, seed=seed,
        training={"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "ridge": ridge},
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ExponentialNetwork(config, samples.coordinates.natural)
    start = time.perf_counter()
    course = _Training(network, samples, train, device).run(progress)
    config.training.update(course, seconds=time.perf_counter() - start, device=device)
    config.calibration.update(calibrate(network, samples, test))
    return network


class _Training:
    """One training: the network, its samples and the draw of nodes."""

    def __init__(
        self, network: ExponentialNetwork, samples: Samples, train: Int[np.ndarray, "train"], device: str
    ) -> None:
        self.network, self.samples, self.train, self.device = network, samples, train, device
        self.strata = Strata(network.config.cells, samples.coordinates.natural)
        self.x, self.natural = as_input(samples.states), samples.natural
        self.cell = torch.from_numpy(self.strata.cell(samples.t))

    def run(self, progress: bool) -> dict[str, Any]:
        """Train in place; the course of the training."""
        network, config = self.network, self.network.config
        ridge = config.training["ridge"]
        network.train()
        with torch.no_grad():
            network.encoder(self.x[self.train[:_FIRST]])  # standardises the features
        first = self.train[:_FIRST]
        self._last_layer(first, ridge=_FIRST_RIDGE * ridge, tolerance=_FIRST_TOLERANCE)
        network.to(self.device)
        losses = self._adam(progress)
        network.cpu().eval()
        last = self._last_layer(self.train, ridge=ridge, tolerance=1e-6)
        network.to(self.device)
        return {"losses": losses, "last_layer": last}

    def _last_layer(self, rows: Int[np.ndarray, "n"], *, ridge: float, tolerance: float) -> dict[str, Any]:
        with torch.no_grad():
            features = [
                self.network.encoder.features(self.x[rows[k : k + ROWS]]) for k in range(0, len(rows), ROWS)
            ]
        return fit_last_layer(
            self.network, torch.cat(features), self.samples.t[rows], self.strata, ridge=ridge,
            tolerance=tolerance, seed=self.network.config.seed,
        )  # fmt: skip

    def _adam(self, progress: bool) -> list[float]:
        """Mean loss of each epoch, in nats."""
        network, settings = self.network, self.network.config.training
        epochs = settings["epochs"]
        rng = np.random.default_rng([network.config.seed, 1])
        batches = max(1, len(self.train) // settings["batch_size"])
        losses: list[float] = []
        if not epochs:
            return losses
        optimiser = torch.optim.Adam(network.parameters(), lr=settings["learning_rate"], fused=True)
        schedule = OneCycleLR(
            optimiser, settings["learning_rate"], total_steps=epochs * batches, pct_start=0.1,
            cycle_momentum=False,
        )  # fmt: skip
        with tqdm(total=epochs * batches, desc="Adam", unit="step", disable=not progress) as bar:
            for epoch in range(epochs):
                total = 0.0
                for rows in np.array_split(rng.permutation(self.train), batches):
                    loss = self._loss(rows, rng)
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()
                    optimiser.step()
                    schedule.step()
                    total += float(loss.detach()) * len(rows)
                    bar.update()
                losses.append(total / len(self.train))
                if not math.isfinite(losses[-1]):
                    raise ArithmeticError(
                        f"the loss is {losses[-1]} after epoch {epoch + 1}: lower learning_rate"
                    )
                bar.set_postfix(epoch=epoch + 1, nats=f"{losses[-1]:.3f}")
        return losses

    def _loss(self, rows: Int[np.ndarray, "b"], rng: np.random.Generator) -> Float[Tensor, ""]:
        nodes, image = self.strata.draw(rng)
        f = self.network.encoder(self.x[rows].to(self.device))
        logits = choice_logits(
            self.network, f, (nodes, image), (self.samples.t[rows], self.natural[rows]), self.cell[rows]
        )
        return torch.nn.functional.cross_entropy(logits, self.cell[rows].to(self.device))


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
def calibrate(
    network: ExponentialNetwork, samples: Samples, rows: Int[np.ndarray, "m"], *, seed: int = 0
) -> dict[str, float]:
    """Likelihood and coverage of the posteriors of single states that the training has not seen.

    All are of the choice among one point a cell, of which the state's own is one, so that they are exact for the
    true posterior however wide the cells are:

    - ``nll``: mean negative logarithm of the probability of the right point, nats; ``nll_uniform``: that of the
      uniform posterior; ``skill``: ``1 - nll / nll_uniform``;
    - ``coverage_50``, ``coverage_90``: share of the states whose own point lies within the region of highest
      density of that mass; ``calibration_error``: the mean distance from nominal over masses of 5 % to 95 %.

    Args:
        network: the trained network.
        samples: those it was trained and tested with.
        rows: the ones to judge it by.
        seed: of the points.
    """
    network.eval()
    strata = Strata(network.config.cells, samples.coordinates.natural)
    rng, x, natural = np.random.default_rng([seed, 3]), as_input(samples.states[rows]), samples.natural[rows]
    t, cell = samples.t[rows], torch.from_numpy(strata.cell(samples.t[rows]))
    nll, inside = 0.0, np.zeros(len(LEVELS))
    for k in range(0, len(rows), ROWS):
        part = slice(k, k + ROWS)
        f = network.encoder(x[part].to(network.device))
        logits = choice_logits(network, f, strata.draw(rng), (t[part], natural[part]), cell[part])
        log_p = torch.log_softmax(logits.double(), dim=1).cpu()
        nll -= float(log_p.gather(1, cell[part, None]).sum())
        right = torch.zeros_like(log_p).scatter_(1, cell[part, None], 1.0)
        inside += region_mass(log_p.exp().numpy(), right.numpy(), LEVELS).sum(axis=0)
    nll, inside, uniform = nll / len(rows), inside / len(rows), math.log(strata.cells.size)
    at = {level: int(np.abs(LEVELS - level / 100).argmin()) for level in (50, 90)}
    return {
        "states": len(rows),
        "nll": nll,
        "nll_uniform": uniform,
        "skill": 1 - nll / uniform,
        **{f"coverage_{level}": float(inside[k]) for level, k in at.items()},
        "calibration_error": float(np.abs(inside - LEVELS).mean()),
    }
