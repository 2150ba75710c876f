"""The score by classification: which of two nearby parameters made a state (as in ClassiFIM, arXiv 2408.03323).

The log-odds of ``t + dt/2`` against ``t - dt/2`` are ``<score(x, t), dt>`` up to third order in ``dt``. A network
whose logit is linear in ``dt`` therefore learns the score, and the Fisher metric is its second moment.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from scipy.optimize import minimize_scalar
from scipy.spatial import cKDTree
from scipy.special import expit
from torch import Tensor, nn
from torch.nn import functional

from hessgeo.estimators.base import Run, TrainedModule
from hessgeo.estimators.estimate import Estimate
from hessgeo.estimators.integration import Smoothness, conditional_mean
from hessgeo.grids import Extent
from hessgeo.learned.encoder import StateEncoder, as_input
from hessgeo.learned.samples import Samples
from hessgeo.learned.training import Loss, minimise
from hessgeo.numerics.training import in_blocks, seeded, split_samples

_PAIRINGS = 8  # of the held-out samples, for the calibration
_NEIGHBOURS = 64  # that tell the size of a score
_ATTEMPTS = 10  # at a partner; in a corner of the box one in four succeeds


class ScoreNetwork(nn.Module):
    """``s(x, t) = W(t) h(x) + b(t)``: features of a state, read by a matrix and a shift that depend on ``t``.

    In an exponential family ``h`` can be the sufficient statistics, ``W`` one, and ``b`` minus their mean.

    Args:
        encoder: states to features ``h``.
        features: number of them.
        hidden: width of both hidden layers of the perceptron that, beside a linear map, gives ``W`` and ``b``.
    """

    def __init__(self, encoder: StateEncoder, features: int, hidden: int) -> None:
        super().__init__()
        self.encoder, self.features = encoder, features
        self.matrix = nn.Parameter(torch.randn(2, features) / math.sqrt(features))
        self.linear = nn.Linear(2, 2 * features + 2, bias=False)
        nn.init.zeros_(self.linear.weight)
        last = nn.Linear(hidden, 2 * features + 2)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.embedding = nn.Sequential(
            nn.Linear(2, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), last
        )

    def forward(self, x: Float[Tensor, "n *shape"], t: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """The score by ``t``, where the box is ``[-1, 1]^2``."""
        weights, shift = (self.linear(t) + self.embedding(t)).split([2 * self.features, 2], dim=1)
        matrix = self.matrix + weights.unflatten(1, (2, self.features))
        return (matrix @ self.encoder(x)[:, :, None])[:, :, 0] + shift


class ScoreClassifier(TrainedModule[nn.ModuleList]):
    """Trained estimates of the score ``d log p(x|t) / dt``: one, or two that have seen different samples.

    Attributes:
        module: its members, networks in units in which the box is ``[-1, 1]^2``.
        config: the state's shape and geometry, the box, settings, and the held-out ``calibration``.
    """

    kind = "score classifier"

    @staticmethod
    def build(config: dict[str, Any]) -> nn.ModuleList:
        """See ``TrainedModule``."""
        shape, features = tuple(config["shape"]), config["features"]
        return nn.ModuleList(
            ScoreNetwork(
                StateEncoder(shape, config["geometry"], features, **config["encoder"]),
                features,
                config["hidden"],
            )
            for _ in range(2 if config["halves"] else 1)
        )

    def __call__(
        self, states: Shaped[np.ndarray, "n *sample"], t: Float[np.ndarray, "n 2"]
    ) -> Float[np.ndarray, "member n 2"]:
        """The score of each state at a parameter, by each member, in nats per unit of ``t``."""
        x, unit = as_input(states), torch.from_numpy(to_square(t, self.config["extent"])).float()
        scores = [in_blocks(member, x, unit, device=self.device).numpy() for member in self.module]
        return np.stack(scores) * 2 / np.ptp(np.array(self.config["extent"], dtype=float), axis=1)


def train_score_classifier(
    samples: Samples,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    encoder: dict[str, int],
    features: int,
    hidden: int,
    distance: float,
    halves: bool = False,
    held_out: float = 0.1,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> ScoreClassifier:
    """Train the classifier by maximum likelihood on pairs of scattered samples.

    A pair ``(t1, t2)`` shows the state of one, chosen by a fair coin; with ``dt`` from the other to the state's own,
    the loss is ``-log sigmoid <s(x, (t1 + t2) / 2), dt>``. Of the error that a finite ``dt`` makes the first order
    vanishes by symmetry; in an exponential family it is ``dt^2 / 24`` times a third derivative of ``F``, in the mean
    of the score alone.

    Args:
        samples: states and their parameters.
        steps: of the optimiser.
        batch_size: pairs a step.
        learning_rate: of AdamW at the start.
        encoder: ``width``, ``layers`` and ``hidden`` of the ``StateEncoder``.
        features: its outputs.
        hidden: width of the embedding of ``t``.
        distance: the largest between the parameters of a pair, share of the sides of the box.
        halves: train two networks, each on every other training sample, whose errors are then independent.
        held_out: share of the samples kept for calibration.
        seed: of the split, the weights and the pairs.
        device: where to train.
        progress: show a progress bar.

    Raises:
        ValueError: on settings out of range, or samples too few for pairs.
        FloatingPointError: if the loss is no longer finite.
    """
    start = time.perf_counter()
    if not 0 < distance <= 1 or features < 1:
        raise ValueError(f"distance={distance} must lie in 0..1 and features={features} be at least 1")
    train, test = split_samples(len(samples.t), held_out=held_out, seed=seed)
    states, unit = samples.states, to_square(samples.t, samples.grid.extent)
    config: dict[str, Any] = {
        "shape": list(states.shape[1:]), "geometry": samples.geometry, "encoder": dict(encoder),
        "features": features, "hidden": hidden, "extent": [list(side) for side in samples.grid.extent],
        "distance": distance, "halves": halves, "seed": seed, "samples": len(unit), "held_out": held_out,
        "steps": steps, "batch_size": batch_size, "learning_rate": learning_rate,
    }  # fmt: skip
    with seeded(seed):
        members = ScoreClassifier.build(config).to(device)
    course = []
    for k, member in enumerate(_networks(members)):
        part = train[k :: len(members)]
        pairs = Pairs(as_input(states[part]), unit[part], 2 * distance, seed + k)
        losses = minimise(
            member, _loss(member, pairs, device), len(pairs.anchors),
            steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed + k, progress=progress,
        )  # fmt: skip
        course.append(losses)
    tested = Pairs(as_input(states[test]), unit[test], 2 * distance, seed + len(members))
    calibration = [_calibrate(member, tested, torch.device(device)) for member in members]
    config.update(losses=course, calibration=calibration, seconds=time.perf_counter() - start)
    return ScoreClassifier(members, config)


def to_square(t: Float[np.ndarray, "n 2"], extent: Any) -> Float[np.ndarray, "n 2"]:
    """Parameters in units in which the box is ``[-1, 1]^2``."""
    low, high = np.array(extent, dtype=float).T
    return (2 * t - low - high) / (high - low)


class Pairs:
    """Pairs of samples at nearby parameters, drawn anew whenever they are asked for.

    The partner of a sample is the one nearest to a random point at half to the whole of ``distance``, or its own
    nearest where that is too far in a few attempts. Pairs are chosen by parameters alone; so whichever of the two gives
    its state, each did so with probability one half.

    Attributes:
        anchors: samples that have a partner at all.

    Args:
        x: states.
        t: their parameters, where the box is ``[-1, 1]^2``.
        distance: the largest of a pair, in the same units.
        seed: of the pairs.

    Raises:
        ValueError: if no two samples are near enough.
    """

    def __init__(self, x: Tensor, t: Float[np.ndarray, "n 2"], distance: float, seed: int) -> None:
        self.x, self.t, self.distance = x, t, distance
        self._tree, self._rng = cKDTree(t), np.random.default_rng([seed, 2])
        between, nearest = self._tree.query(t, k=2)
        self._nearest = nearest[:, 1]
        self.anchors = np.nonzero((between[:, 1] > 0) & (between[:, 1] <= distance))[0]
        if len(self.anchors) == 0:
            raise ValueError(f"no two of {len(t)} samples lie within a distance of {distance:g}")

    def _partners(self, anchors: Int[np.ndarray, "m"]) -> Int[np.ndarray, "m"]:
        partner, missing = self._nearest[anchors], np.arange(len(anchors))
        for _ in range(_ATTEMPTS):
            here = self.t[anchors[missing]]
            angle = 2 * np.pi * self._rng.random(len(missing))
            radius = self.distance * (0.5 + 0.5 * self._rng.random(len(missing)))
            aim = here + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            _, found = self._tree.query(aim)
            between = np.linalg.norm(self.t[found] - here, axis=1)
            near = (between > 0) & (between <= self.distance)
            partner[missing[near]] = found[near]
            missing = missing[~near]
            if len(missing) == 0:
                break
        return partner

    def draw(self, anchors: Int[np.ndarray, "m"]) -> tuple[Tensor, Tensor, Tensor]:
        """States, middles of their pairs, and steps from the other parameter to the state's own.

        Args:
            anchors: one sample of each pair, out of ``anchors``.
        """
        pairs = np.stack([anchors, self._partners(anchors)])
        own, other = np.where(self._rng.random(len(anchors)) < 0.5, pairs, pairs[::-1])
        step, middle = self.t[own] - self.t[other], (self.t[own] + self.t[other]) / 2
        return self.x[own], torch.from_numpy(middle).float(), torch.from_numpy(step).float()


def score_covariance(
    samples: Samples, trained: ScoreClassifier, settings: Mapping[str, Any], run: Run
) -> Estimate:
    """The Fisher metric as the covariance of a learned score; it says nothing of a potential.

    The error of a learned score adds to its covariance. With the debias ``none``, as published, it stays. ``slope``
    multiplies by the held-out calibration slope, which takes off what the error adds where it is independent of the
    score. A network of two ``halves`` has no such excess, since errors of one do not meet themselves.
    """
    metric = score_metric(
        trained(samples.states, samples.t), samples.t, samples.grid.extent, samples.grid.points,
        splines=tuple(settings["splines"]), smoothness=settings["smoothness"],
    )  # fmt: skip
    calibration = trained.config["calibration"]
    return Estimate(
        metric=metric * _slope(settings["debias"], calibration), numbers={"calibration": calibration}
    )


def _slope(debias: str, calibration: list[dict[str, float]]) -> float:
    """What a covariance of scores is multiplied by."""
    if debias not in ("none", "slope"):
        raise ValueError(f"debias is {debias!r}, must be none or slope")
    if debias == "slope" and len(calibration) > 1:
        raise ValueError("debias is 'slope', must be none where the score is of two halves")
    return calibration[0]["slope"] if debias == "slope" else 1.0


def score_metric(
    scores: Float[np.ndarray, "member n 2"],
    t: Float[np.ndarray, "n 2"],
    extent: Extent,
    points: Float[np.ndarray, "node 2"],
    *,
    splines: tuple[int, int] = (12, 12),
    smoothness: Smoothness = "auto",
) -> Float[np.ndarray, "node 2 2"]:
    """The Fisher metric as the covariance of the score, ``Cov[s | t]``, regressed on ``t`` in splines.

    The mean of a score is zero; that of an estimate is taken off. Of two members the product of one with the other
    is taken: their errors are independent where they have seen different samples, and do not add to the metric.
    Products scatter as much as they are large, so each counts by the inverse of the metric's size around it.

    Args:
        scores: of each sample at its own parameter, by one or two members.
        t: the parameters.
        extent: the box.
        points: where the metric is wanted.
        splines: numbers of cubic B-splines along ``a`` and ``b``, for mean and covariance.
        smoothness: weight of the penalty, or ``auto``.

    Returns:
        The metric, symmetric but not repaired where it is indefinite.

    Raises:
        ValueError: on another number of members, or samples that cannot be regressed on.
    """
    if scores.shape != (len(scores), len(t), 2) or len(scores) not in (1, 2):
        raise ValueError(f"scores have shape {scores.shape}, must be (1 or 2, {len(t)}, 2)")
    smooth: dict[str, Any] = {"splines": splines, "smoothness": smoothness}
    scale = _local_scale(scores, t, extent)
    centred = [s - conditional_mean(s, t, extent, noise=scale, **smooth)(t) for s in scores]
    first, second = centred[0], centred[-1]
    cross = (first[:, 0] * second[:, 1] + first[:, 1] * second[:, 0]) / 2
    products = np.stack([first[:, 0] * second[:, 0], cross, first[:, 1] * second[:, 1]], axis=1)
    noise = scale[:, [0, 0, 1]] * scale[:, [0, 1, 1]]
    return conditional_mean(products, t, extent, noise=noise, **smooth)(points)[:, [[0, 1], [1, 2]]]


def _local_scale(
    scores: Float[np.ndarray, "member n 2"], t: Float[np.ndarray, "n 2"], extent: Extent
) -> Float[np.ndarray, "n 2"]:
    """Root mean square of the score among a sample's neighbours, itself left out: no weight follows its own value."""
    count = min(_NEIGHBOURS, len(t) - 1)
    scaled = t / np.ptp(np.array(extent, dtype=float), axis=1)
    _, nearest = cKDTree(scaled).query(scaled, k=count + 1)
    square = (scores**2).mean(axis=0)
    local = np.sqrt(square[nearest[:, 1:]].mean(axis=1))
    return np.maximum(local, np.maximum(1e-6 * local.max(axis=0), np.finfo(float).tiny))


def _networks(members: nn.ModuleList) -> list[ScoreNetwork]:
    return [member for member in members if isinstance(member, ScoreNetwork)]


def _loss(network: nn.Module, pairs: Pairs, device: str) -> Loss:
    def loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        x, middle, step = (part.to(device) for part in pairs.draw(pairs.anchors[batch.numpy()]))
        return functional.softplus(-(network(x, middle) * step).sum(dim=1)).mean()

    return loss


def _calibrate(network: nn.Module, pairs: Pairs, device: torch.device) -> dict[str, float]:
    """Figures of held-out pairs.

    ``slope`` is the factor of the logits of least ``nll``. Below one they are too sure: a score whose error is
    independent of the truth has the slope ``E[s s] / E[s^ s^]``, and its second moment times the slope is the metric.
    """
    anchors = np.tile(pairs.anchors, _PAIRINGS)
    x, middle, step = pairs.draw(anchors)
    logit = (in_blocks(network, x, middle, device=device).numpy() * step.numpy()).sum(axis=1)

    def nll(factor: float) -> float:
        return float(np.logaddexp(0, -factor * logit).mean())

    slope = minimize_scalar(nll, bounds=(0, 10), method="bounded").x
    return {
        "pairs": len(logit),
        "accuracy": float((logit > 0).mean()),
        "expected_accuracy": float(expit(np.abs(logit)).mean()),
        "nll": nll(1.0),
        "nll_chance": math.log(2),
        "slope": float(slope),
    }
